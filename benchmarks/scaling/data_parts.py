"""More rows through the stages up to a training, and more answers for a judge."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import alpaca_like
from benchmarks import judge as stand_in
from benchmarks.scaling import stage_runs
from benchmarks.scaling.figures import Point
from stages.common.records import read_records
from stages.common.results.generate import RESPONSES, Response
from stages.common.results.split import Example, split_file

SEED = 17
#: Rows for validation and for test, whatever the number of rows: evaluations then cost the same at each.
SPARE_ROWS = 50
#: Steps of the training after the rows are there.
STEPS = 5
STAGES = ("download", "split", "tokenize", "finetune")

#: Train rows beside the answers that are judged: the built-in judge learns from them.
TRAIN_ROWS = 1000
#: The stand-in for Ollama: verdicts that it works on at a time, and seconds a verdict.
SLOTS, SERVICE_SECONDS = 8, 0.01
REFERENCE, OLLAMA = "reference judge", "Ollama stand-in"


def rows(folder: Path, counts: Sequence[int]) -> tuple[list[Point], list[str]]:
    """Run the stages up to a training of `STEPS` steps on made rows.

    Args:
        folder: a folder that is not there yet.
        counts: numbers of rows.
    """
    found = []
    for count in counts:
        spare = min(SPARE_ROWS, count // 10)
        values = {
            "split": shares(train=count - 2 * spare, test=spare, val=spare),
            "finetune": {"max_steps": STEPS, "warmup_steps": 0, "precision": stage_runs.PRECISION},
        }
        made = stage_runs.make_folder(folder / str(count), alpaca_like.rows(count, SEED), values)
        for stage in STAGES:
            run = stage_runs.run(stage, made)
            found.append(Point(stage, count, run.seconds, run.peak_bytes))
    return _by_series(found, STAGES), []


def judging(folder: Path, counts: Sequence[int]) -> tuple[list[Point], list[str]]:
    """Judge made answers, with the built-in judge and with a stand-in for Ollama on this machine.

    Args:
        folder: a folder that is not there yet.
        counts: numbers of answers.
    """
    found = []
    with stand_in.server(SLOTS, SERVICE_SECONDS) as address:
        for count in counts:
            split = {"split": shares(train=TRAIN_ROWS, test=count, val=1)}
            made_rows = alpaca_like.rows(TRAIN_ROWS + count + 1, SEED)
            made = stage_runs.make_folder(folder / str(count), made_rows, split)
            for stage in ("download", "split"):
                stage_runs.run(stage, made)
            answer(made)
            # The stand-in gives every answer the same score, which a self-test refuses.
            asked = {"backend": "ollama", "model": stand_in.MODEL, "parallel": SLOTS, "on_refusal": "warn"}
            judges: dict[str, dict[str, Any]] = {REFERENCE: {}, OLLAMA: asked}
            for series, judge in judges.items():
                stage_runs.set_params(made, split | {"judge": judge})
                run = stage_runs.run("judge", made, variables={"OLLAMA_HOST": address, "NO_PROXY": "127.0.0.1"})
                found.append(Point(series, count, run.seconds, run.peak_bytes))
    return _by_series(found, (REFERENCE, OLLAMA)), []


def answer(folder: Path) -> None:
    """Answer a folder's test rows as the stage generate does: every second one rightly, others with the next row's."""
    examples = list(read_records(folder / split_file("test"), Example, made_by="python -m stages.split"))
    following = itertools.cycle(examples)
    next(following)
    (folder / RESPONSES).parent.mkdir(parents=True)
    with open(folder / RESPONSES, "w", encoding="utf-8") as stream:
        for number, (example, other) in enumerate(zip(examples, following, strict=False)):
            text = example.output if number % 2 == 0 else other.output
            made = Response(id=example.id, model="tuned", text=text, stop_reason="end_of_text", tokens=1)
            stream.write(made.model_dump_json() + "\n")


def shares(*, train: int, test: int, val: int) -> dict[str, float]:
    """The values of the section split that give these numbers of rows."""
    total = train + test + val
    return {"train": train / total, "test": test / total}


def _by_series(points: Sequence[Point], order: Sequence[str]) -> list[Point]:
    """The points of one series after those of another."""
    return sorted(points, key=lambda point: order.index(point.series))
