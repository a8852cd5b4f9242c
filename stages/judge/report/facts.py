"""What the report tells, read from the files of one run: never the files of one with the values of another."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from stages.common.errors import DataError
from stages.common.files import read_json
from stages.common.html_page import Html
from stages.common.metrics.beside import Further
from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.metrics.gate import GateReport
from stages.common.metrics.generate import GenerateMetrics
from stages.common.metrics.judge import JudgeIdentity, JudgeMetrics
from stages.common.metrics.split import SplitMetrics
from stages.common.records import Metrics, read_metrics, read_records
from stages.common.results.download import TOKENIZER
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY, StepRecord
from stages.common.results.generate import GENERATE_METRICS, RESPONSES, Response
from stages.common.results.judge import JUDGE_CACHE, JUDGE_METRICS, VERDICTS, Verdict
from stages.common.results.split import GATE_REPORT, SPLIT_METRICS, Example, split_file
from stages.gpt2.tokenizer import Tokenizer
from stages.judge.report import rows
from stages.judge.report.rows import Row
from stages.judge.runs import references
from stages.params.tokenize import Tokenize
from stages.prompts.styles import STYLES
from stages.running import beside, costs, digests, dropped_rows, dvc_yaml, git, history, lock
from stages.running.costs import JudgingCosts, StageCosts, TrainingCosts
from stages.running.environment import dvc_runs
from stages.running.lock import Recorded
from stages.running.stage_results import FIGURES, RESULTS
from stages.running.summary_parts.origin import Origin
from stages.tokenize import shown

T = TypeVar("T")
M = TypeVar("M", bound=Metrics)

#: The card that tools/judge_check.py makes.
CARD = JUDGE_CACHE / "card" / "judge-card.json"
#: What differs between a judge and the same one as it was asked for its card.
_OF_A_CARD = ("fingerprint", "train_rows", "repeats", "self_test")
#: The stages in their order.
STAGES = tuple(RESULTS)


@dataclass(frozen=True)
class Missing:
    """Why something cannot be told, and what helps."""

    why: str


@dataclass(frozen=True)
class Facts:
    """A run.

    Attributes:
        root: folder with its params.yaml, dvc.lock and artifacts/.
        repository: folder in the git repository of the project.
        commit: a commit with the code that it was made from; the last one where no commit has it; empty without one.
        wrong: files of its code that this commit lacks, or has otherwise.
        environment: what it was made on (`stages.running.made_on.here`); empty where that is not known.
        making: stage that is ending at this moment, which DVC records next; None where none is.
        origin: the values that its results were made with.
        recorded: what dvc.lock holds of it.
        rows_split: the census of the rows.
        dropped: what to say of rows of the user's file that were left out; empty where none was.
        gate: what the checks of the rows found.
        labels: some train rows with what the loss is over.
        training: the figures of the training.
        history: the steps of the training.
        answered: the measures of the answers that need no judge.
        judged: the scores.
        card: the figures of the card that `make judge-check` has made of this judge here; empty without one.
        rows: the test rows with their answers.
        compared: the scores beside those of the last commit, or of the best other run, or why they stand alone.
        further: the scores beside those of further runs, such as the last one of the recipe, and why those of others
            are missing.
        training_costs: what the training cost; None where that is not known on this machine.
        judging_costs: what the judging cost; None as above.
        stage_costs: time and memory of the stages, as far as they are known on this machine.
    """

    root: Path
    repository: Path
    commit: str
    wrong: Sequence[str]
    environment: Mapping[str, Any]
    making: str | None
    origin: Origin
    recorded: Recorded
    rows_split: SplitMetrics | Missing
    dropped: str | Missing
    gate: GateReport | Missing
    labels: list[Html] | Missing
    training: FinetuneMetrics | Missing
    history: list[StepRecord] | Missing
    answered: GenerateMetrics | Missing
    judged: JudgeMetrics | Missing
    card: Mapping[str, Any]
    rows: list[Row] | Missing
    compared: beside.Told
    further: Further
    training_costs: TrainingCosts | None
    judging_costs: JudgingCosts | None
    stage_costs: Mapping[str, StageCosts]

    def made(self, stage: str) -> Mapping[str, Any]:
        """The section of params.yaml that a stage's results were made with; empty where that is not known."""
        # Of another run the files of download, which are large, are not brought here: dvc.lock has their values.
        known = {"download": self.recorded.values.get("download", {}), **self.origin.made}
        section = known.get(stage, {})
        return section if isinstance(section, Mapping) and stage not in self.origin.outdated else {}


def read(
    root: Path = Path(),
    *,
    repository: Path = Path(),
    commit: str | None = None,
    own: bool = True,
    environment: Mapping[str, Any] | None = None,
    further: Further | None = None,
) -> Facts:
    """Read a run.

    Args:
        root: folder with its params.yaml, dvc.lock and artifacts/.
        repository: folder in the git repository of the project.
        commit: the commit that it names; empty where that is not known. None: the last one. Where another one has the
            code that dvc.lock records, and this one has not, that one is taken.
        own: whether it is the run of the working folder, whose costs are known and which can be compared.
        environment: what it was made on, where that is kept with it.
        further: the comparisons with further runs, where they have been made; None: they are made here.

    Raises:
        ConfigError: params.yaml is not what it should be.
    """
    making = next(filter(dvc_runs, FIGURES), None) if own else None
    origin = Origin(root, making=making)
    results = _Results(root, origin)
    judged = results.metrics("judge", JUDGE_METRICS, JudgeMetrics)
    head = git.ask(repository, "rev-parse", "HEAD") if commit is None else commit
    code, wrong = _with_code(root, repository, head, making)
    scored = own and "judge" not in {*origin.outdated, *origin.unrecorded}
    others = _further(root, further) if scored and not isinstance(judged, Missing) else Further()
    return Facts(
        root=root,
        repository=repository,
        commit=code,
        wrong=wrong,
        environment=environment or {},
        making=making,
        origin=origin,
        recorded=Recorded.of(root, making=making),
        rows_split=results.metrics("split", SPLIT_METRICS, SplitMetrics),
        dropped=results.told("download", lambda: dropped_rows.line(root)),
        gate=results.metrics("split", GATE_REPORT, GateReport),
        labels=results.told("tokenize", lambda: _labels(root, origin), split_file("train"), TOKENIZER),
        training=results.metrics("finetune", FINETUNE_METRICS, FinetuneMetrics),
        history=results.told("finetune", lambda: _history(root), HISTORY),
        answered=results.metrics("generate", GENERATE_METRICS, GenerateMetrics),
        judged=judged,
        card={} if isinstance(judged, Missing) else _card(judged.judge),
        rows=results.told("judge", lambda: _rows(root), split_file("test"), RESPONSES, VERDICTS),
        compared=_compared(root, others) if scored else beside.Told(),
        further=others,
        training_costs=_known(lambda: costs.of_training(root)) if own else None,
        judging_costs=_known(lambda: costs.of_judging(root)) if own else None,
        stage_costs=_of_stages(root) if own else {},
    )


@dataclass(frozen=True)
class _Results:
    """The results in a folder.

    Args:
        root: the folder.
        origin: what they were made with.
    """

    root: Path
    origin: Origin

    def told(self, stage: str, read_it: Callable[[], T], *needed: Path) -> T | Missing:
        """What a stage has told, or why it cannot be told."""
        if earlier := self.origin.outdated.get(stage):
            return Missing(f"They are of an earlier {earlier} than the one here: dvc repro {stage}")
        if absent := [path for path in needed if not (self.root / path).exists()]:
            return Missing(f"{absent[0]} is not there: dvc repro {stage}")
        try:
            return read_it()
        except DataError as error:
            return Missing(f"{error.what}; to fix it: {error.fix}")

    def metrics(self, stage: str, path: Path, kind: type[M]) -> M | Missing:
        """The figures in a file of a stage, as `told`."""
        return self.told(stage, lambda: read_metrics(self.root / path, kind, made_by=f"dvc repro {stage}"), path)


def _history(root: Path) -> list[StepRecord]:
    return list(read_records(root / HISTORY, StepRecord, made_by="dvc repro finetune"))


def _with_code(root: Path, repository: Path, commit: str, making: str | None) -> tuple[str, list[str]]:
    """The commit with the code that the results were made from, and the files that it has otherwise, if none has all.

    Of a stage that DVC records next, the code is that in the folder.
    """
    past = history.History(repository)
    if not past.knows(commit):
        return commit, []
    stages = lock.entries(root)
    named = history.named_in({name: entry for name, entry in stages.items() if name != making})
    if making is not None and (entry := dvc_yaml.entry_of(making, root)) is not None:
        files = [path for path in entry.deps if path.suffix == ".py" and (root / path).is_file()]
        named |= {path.as_posix(): digests.md5(root / path) for path in files}
    if (found := past.with_code(commit, named)) is not None:
        return found, []
    return commit, past.differing(commit, named)


def _labels(root: Path, origin: Origin) -> list[Html]:
    """The rows of the page that the stage tokenize writes, as it shows them.

    Raises:
        DataError: they cannot be read, or dvc.lock does not say how they were encoded.
    """
    if "tokenize" not in origin.made:
        raise DataError(f"{lock.LOCK} does not say how the rows were encoded", "dvc repro tokenize")
    settings = Tokenize.model_validate(origin.made["tokenize"])
    tokenizer, style = Tokenizer(root / TOKENIZER), STYLES[settings.prompt_style]
    rows = read_records(root / split_file("train"), Example, made_by="dvc repro split")
    found = shown.chosen(rows, tokenizer, style, settings.context_length)
    return list(shown.explained(found, tokenizer, settings))


def _rows(root: Path) -> list[Row]:
    return rows.join(
        read_records(root / split_file("test"), Example, made_by="dvc repro split"),
        read_records(root / RESPONSES, Response, made_by="dvc repro generate"),
        read_records(root / VERDICTS, Verdict, made_by="dvc repro judge"),
    )


def _compared(root: Path, others: Further) -> beside.Told:
    """The scores beside those of the last commit, or why they stand alone."""
    return beside.Told(others.alone) if others.alone else beside.of(root, commit_tried=others.commit_tried)


def _further(root: Path, given: Further | None) -> Further:
    """The scores beside those of further runs: those that are given, or else compared here."""
    return references.further(root) if given is None else given


def _card(judge: JudgeIdentity) -> Mapping[str, Any]:
    """The card of a judge in the working directory; empty where there is none, or it is another judge's."""
    with contextlib.suppress(DataError, KeyError, TypeError, AttributeError):
        card = read_json(CARD, made_by="make judge-check")
        if _code_of(card["judge"]) == _code_of(judge.model_dump()):
            return dict(card)
    return {}


def _code_of(judge: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a judge, but for what a card changes: the rows that it learns from, and how often it is asked."""
    return {name: value for name, value in judge.items() if name not in _OF_A_CARD}


def _of_stages(root: Path) -> dict[str, StageCosts]:
    """The costs of the stages, as far as they are known."""
    found = {name: _known(functools.partial(costs.of_stage, root, name)) for name in STAGES}
    return {name: one for name, one in found.items() if one is not None}


def _known(read_costs: Callable[[], T | None]) -> T | None:
    """Costs; they are no result, so that a file of theirs that cannot be read counts as missing."""
    with contextlib.suppress(DataError):
        return read_costs()
    return None
