"""What stages cost here. Times differ from run to run, so that costs are in no output of a stage.

Costs name the result that they belong to. Results from DVC's cache may be another machine's, and have none.
"""

from __future__ import annotations

from pathlib import Path

from stages.common.files import sha256
from stages.common.paths import CACHE
from stages.common.records import Metrics, MetricsT, read_metrics, write_metrics
from stages.common.results.finetune import HISTORY
from stages.common.results.judge import VERDICTS
from stages.running import bookkeeping
from stages.running.stage_results import RESULTS

#: The costs of the last fine-tuning and of the last judging on this machine.
TRAINING_COSTS = CACHE / "finetune" / "ledger.json"
JUDGING_COSTS = CACHE / "judge" / "ledger.json"
#: The costs of each stage's last success on this machine; `RESULTS` has the file that names what they belong to.
STAGE_COSTS = CACHE / "stages"


class StageCosts(Metrics):
    """The costs of a stage's last success.

    Args:
        result: SHA-256 of the result of the stage that these costs belong to.
        seconds: seconds from the start of its program to its end, tracking included; of one that went on from a
            checkpoint, since then.
        peak_memory_bytes: peak resident memory of its program; of several processes, that of the first.
    """

    result: str
    seconds: float
    peak_memory_bytes: int


class TrainingCosts(Metrics):
    """The costs of a fine-tuning; None for what it was too short to tell.

    Steps, tokens and operations are those since the process began: of a run resumed from a checkpoint, what came after
    it. With several processes they are the sums over all. Rates leave out the first step, evaluations and checkpoints.

    Args:
        history: SHA-256 of the history.jsonl that these costs belong to.
        device: cpu or cuda.
        precision: dtype of the matrix products.
        steps: optimiser steps.
        evaluations: evaluations.
        useful_tokens: tokens of the rows, without padding.
        computed_tokens: tokens that went through the network; a shared prefix counts once.
        padded_tokens: padding in the [rows, longest row] of attention.
        evaluation_tokens: tokens of the evaluations.
        training_tflop: operations done in training, in 10^12.
        plain_training_tflop: operations of the same rows one by one, with logits of every token.
        evaluation_tflop: operations done in evaluations.
        peak_tflop_per_second: rate of matrix products on the device: the larger of that before and that after training.
        hfu: HFU (hardware FLOPs utilisation): operations done a second, over that peak; at most 1. None too where
            training was faster than the peak: then the device was busier whenever that was measured.
        tokens_per_second: useful tokens a second.
        seconds: duration of the stage; of a resumed run that since it went on.
        steps_before: steps that a resumed run had done before; 0 for one that was never stopped.
        seconds_before: seconds that these took, with the starts of their programs; None where that is not known.
        estimated_seconds: the duration that the stage announced after its first steps.
        seconds_to_first_step: seconds from the program's start to the end of the first step.
        evaluation_seconds: seconds in evaluations.
        checkpoint_seconds: seconds in which training waited for checkpoints.
        peak_memory_bytes: peak memory.
        estimated_memory_bytes: the memory estimated before training.
    """

    history: str
    device: str
    precision: str
    steps: int
    evaluations: int
    useful_tokens: int
    computed_tokens: int
    padded_tokens: int
    evaluation_tokens: int
    training_tflop: float
    plain_training_tflop: float
    evaluation_tflop: float
    peak_tflop_per_second: float
    hfu: float | None
    tokens_per_second: float | None
    seconds: float
    steps_before: int = 0
    seconds_before: float | None = None
    estimated_seconds: float | None
    seconds_to_first_step: float | None
    evaluation_seconds: float
    checkpoint_seconds: float
    peak_memory_bytes: int
    estimated_memory_bytes: int


class JudgingCosts(Metrics):
    """The costs of asking a judge; what its server does not count is None.

    Args:
        verdicts: SHA-256 of the verdicts.jsonl that these costs belong to; None where the stage did not get that far.
        replies: replies that came.
        seconds: their sum from request to reply; with several at a time, more than has passed.
        prompt_tokens: tokens read.
        reply_tokens: tokens written.
        load_seconds: seconds to load the model.
        prompt_seconds: seconds to read the prompts.
        reply_seconds: seconds to write the replies.
        size_vram: GPU memory that the model takes, in bytes.
        context_length: context with which the server loaded it, in tokens.
    """

    verdicts: str | None = None
    replies: int
    seconds: float
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    load_seconds: float | None = None
    prompt_seconds: float | None = None
    reply_seconds: float | None = None
    size_vram: int | None = None
    context_length: int | None = None

    def plus(self, other: JudgingCosts) -> JudgingCosts:
        """The costs of two judges together; what one of them does not count is None. Memory and context are its own."""
        summed: dict[str, float | None] = {}
        for name in ("prompt_tokens", "reply_tokens", "load_seconds", "prompt_seconds", "reply_seconds"):
            a, b = getattr(self, name), getattr(other, name)
            summed[name] = None if a is None or b is None else a + b
        both = {"replies": self.replies + other.replies, "seconds": self.seconds + other.seconds}
        return self.model_copy(update=summed | both)


def of_training(root: Path) -> TrainingCosts | None:
    """The costs of the training whose results are under a folder; None where they are not known.

    Raises:
        DataError: the file is not what it should be.
    """
    found = _read(root, TRAINING_COSTS, TrainingCosts)
    return found if found and _is_of(root, HISTORY, found.history) else None


def of_judging(root: Path) -> JudgingCosts | None:
    """The costs of the judging whose results are under a folder; None and errors as `of_training`."""
    found = _read(root, JUDGING_COSTS, JudgingCosts)
    return found if found and _is_of(root, VERDICTS, found.verdicts) else None


def of_stage(root: Path, stage: str) -> StageCosts | None:
    """The costs of a stage whose results are under a folder; None and errors as `of_training`."""
    found = _read(root, STAGE_COSTS / f"{stage}.json", StageCosts)
    return found if found and _is_of(root, RESULTS[stage], found.result) else None


def keep(stage: str, seconds: float, peak_memory_bytes: int) -> None:
    """Keep the costs of a stage that has succeeded in the working directory.

    Args:
        stage: name of the stage; of another program nothing is kept.
        seconds: duration of its program.
        peak_memory_bytes: peak resident memory of its program.
    """
    result = RESULTS.get(stage)
    if result is None or not result.exists():
        return
    path = STAGE_COSTS / f"{stage}.json"
    with bookkeeping.optional(path):
        costs = StageCosts(result=sha256(result), seconds=round(seconds, 2), peak_memory_bytes=peak_memory_bytes)
        write_metrics(path, costs)


def _read(root: Path, path: Path, kind: type[MetricsT]) -> MetricsT | None:
    return read_metrics(root / path, kind, made_by=f"rm {path}") if (root / path).exists() else None


def _is_of(root: Path, path: Path, digest: str | None) -> bool:
    """Whether a file is there and has this SHA-256."""
    return (root / path).exists() and digest == sha256(root / path)
