"""The project's own stages, each run in a process of its own in a folder of its own, with their seconds and memory.

The process that measures stays small: Linux counts the memory of the process that starts a program to the program's
peak. So nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from benchmarks import child
from stages.common.errors import PipelineError
from stages.common.files import write_json
from stages.common.records import read_metrics
from stages.params import reading, whole
from stages.running.costs import TRAINING_COSTS, TrainingCosts

#: Seconds between two looks at the memory of several processes, and between two looks whether one has ended.
LOOK_SECONDS, WAIT_SECONDS = 0.1, 0.01
#: The dtype of trainings that are compared with one another: `auto` measures, and could choose another one for one.
PRECISION = "fp32"
#: Seconds that a stage has to end after each signal.
END_SECONDS = 3.0
#: No checkpoint is due before this many seconds: writing one is no part of a step.
NO_CHECKPOINT_SECONDS = 1e6


@dataclass(frozen=True)
class StageRun:
    """A run of a stage.

    Args:
        stage: the stage's name.
        seconds: seconds from the start of its program to its end, imports included.
        peak_bytes: most resident memory of its program; of several processes, the most of all together, in which a
            page that several of them share counts once (PSS).
    """

    stage: str
    seconds: float
    peak_bytes: int


def make_folder(folder: Path, rows: Iterable[Mapping[str, str]], values: Mapping[str, Any]) -> Path:
    """Make a folder in which stages run: params.yaml, and data/rows.jsonl.

    Args:
        folder: the folder, which is not there yet.
        rows: rows of the dataset; they are written one at a time.
        values: values over those of the profile quick, as `set_params` takes them.
    """
    (folder / "data").mkdir(parents=True)
    with open(folder / "data" / "rows.jsonl", "w", encoding="utf-8") as stream:
        for row in rows:
            write_line(stream, row)
    set_params(folder, values)
    return folder


def write_line(stream: IO[str], value: object) -> None:
    """Write a value as a line of JSON."""
    stream.write(json.dumps(value) + "\n")


def set_params(folder: Path, values: Mapping[str, Any]) -> None:
    """Write params.yaml: the profile quick with the folder's rows as its dataset, and other values over that.

    Args:
        folder: the folder.
        values: a tree of sections, such as {"finetune": {"devices": 2}}.

    Raises:
        ConfigError: a value is wrong.
    """
    tree = reading.read_values(child.ROOT / "params.yaml")
    reading.merge(tree, reading.read_values(child.ROOT / "profiles" / "quick.yaml"))
    reading.merge(tree, {"download": {"data": {"source": "data/rows.jsonl"}}})
    reading.merge(tree, values)
    whole.check(tree)
    write_json(folder / "params.yaml", tree)


def run(stage: str, folder: Path, *, variables: Mapping[str, str] | None = None, processes: int = 1) -> StageRun:
    """Run a stage in a folder to its end.

    Args:
        stage: the stage's name.
        folder: folder with its params.yaml and with what earlier stages wrote.
        variables: environment variables for it.
        processes: how many processes it makes of itself.

    Raises:
        ChildFailed: it failed.
    """
    added = {
        "PYTHONPATH": str(child.ROOT),
        "CUDA_VISIBLE_DEVICES": "",
        "PIPELINE_MLFLOW_RUN_ID": "none",  # the stage's own seconds, not those of its record
        "PIPELINE_CHECKPOINT_SECONDS": str(NO_CHECKPOINT_SECONDS),
    }
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", f"stages.{stage}"],
            cwd=folder,
            env={**os.environ, **added, **(variables or {})},
            stdout=said,
            stderr=said,
        )
        try:
            status, alone, together = _waited(process.pid, several=processes > 1)
        except BaseException:
            _end(process)
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise child.ChildFailed(f"stages.{stage}", process.returncode, [line.rstrip() for line in said])
    return StageRun(stage, seconds, together if processes > 1 else alone)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a stage: a first signal lets a training save its work, a second one ends it at once."""
    for end in (process.terminate, process.terminate, process.kill):
        end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
            return
    process.wait()


def _waited(pid: int, *, several: bool) -> tuple[int, int, int]:
    """The exit status of a process, its own peak memory, and with ``several`` that of it and its descendants."""
    most = 0
    pause = LOOK_SECONDS if several else WAIT_SECONDS
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            # In KiB but on macOS.
            return status, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), most
        if several:
            most = max(most, memory_of_all(pid))
        time.sleep(pause)


def memory_of_all(pid: int) -> int:
    """Memory of a process and its descendants in bytes; pages that they share count once, where the system tells."""
    try:
        first = psutil.Process(pid)
        found = [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in found:
        try:
            memory = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has ended meanwhile
            continue
        total += getattr(memory, "pss", memory.uss)
    return total


def training_costs(folder: Path) -> TrainingCosts:
    """What the stage finetune has kept of its costs in a folder."""
    return read_metrics(folder / TRAINING_COSTS, TrainingCosts, made_by="python -m stages.finetune")


def seconds_a_step(costs: TrainingCosts) -> float:
    """Seconds of a step: the mean tokens of a step over the tokens a second of the steps after the first.

    Raises:
        PipelineError: the training was too short to tell.
    """
    if costs.tokens_per_second is None:
        raise PipelineError(f"a training of {costs.steps} steps tells no speed", "measure more steps")
    return costs.useful_tokens / costs.steps / costs.tokens_per_second
