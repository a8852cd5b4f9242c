"""What a flow adds to its stages: `python -m benchmarks.overhead --repeats 3`.

In a clone of the last commit, with a training of a few steps, all six stages run again and again in turn: by one run of
the flow, and as bare processes one after the other, which have no DVC, no Prefect and no MLflow. A first run of the
flow, which is not counted, makes what stays from run to run: the databases, and the answers of the base model.

A median of more than `MOST_SECONDS` ends the benchmark with exit code 1.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

from benchmarks import child
from benchmarks.arguments import at_least
from benchmarks.report import head, line
from flows import profiles
from stages.common import paths
from stages.common.errors import PipelineError
from stages.running import git, program, temporary
from stages.running.tracking.live import NO_RUN, RUN_ID_VARIABLE

STAGES = ("download", "split", "tokenize", "finetune", "generate", "judge")
#: A training of five steps: what a flow adds does not grow with them.
VALUES = {"finetune": {"max_steps": 5, "warmup_steps": 2, "eval_every": 5}}
#: The most seconds that a flow may add to the bare stages.
MOST_SECONDS = 15.0
_FIX = "run it in a clone of the project"
#: How Prefect tells what a task has taken.
TASK = re.compile(r"Task run '(\w+)' .*'ran in ([0-9.]+) s")


@dataclass
class Measured:
    """What was measured, a figure for each repeat, all in seconds.

    Args:
        flow: whole runs of the flow.
        tasks: its tasks, each a stage with a DVC of its own, by stage.
        bare: the bare stages, by stage.
    """

    flow: list[float] = field(default_factory=list)
    tasks: dict[str, list[float]] = field(default_factory=dict)
    bare: dict[str, list[float]] = field(default_factory=dict)

    @property
    def added(self) -> list[float]:
        """What the flow took more than all bare stages of the same repeat."""
        whole = [sum(of_repeat) for of_repeat in zip(*self.bare.values(), strict=True)]
        return [flow - bare for flow, bare in zip(self.flow, whole, strict=True)]


def main() -> None:
    """Measure, and print the table.

    Raises:
        PipelineError: a run failed, or the flow adds too much.
    """
    arguments = _arguments()
    with temporary.folder() as folder:
        clone = _clone(folder / "clone")
        _flow(clone)
        found = Measured()
        for _ in range(arguments.repeats):
            _add(found, clone)
    print("\n".join(told(found, os.cpu_count() or 1, psutil.getloadavg()[0])))
    if median(found.added) > MOST_SECONDS:
        raise PipelineError(f"the flow adds more than {MOST_SECONDS:g} s to its stages", "see the table")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--repeats", type=at_least(1), default=3)
    return parser.parse_args()


def told(found: Measured, processors: int, load: float) -> list[str]:
    """The table.

    Args:
        found: what was measured.
        processors: how many processors the machine has.
        load: its load at the end.
    """
    bare = [sum(of_repeat) for of_repeat in zip(*found.bare.values(), strict=True)]
    rows = [line(stage, _text(found.bare[stage]), _text(found.tasks[stage])) for stage in STAGES]
    return [
        f"{processors} processors, load {load:.1f} at the end; a training of {VALUES['finetune']['max_steps']} steps",
        "",
        *head("stage", "bare, s", "task of the flow, s"),
        *rows,
        line("all six", _text(bare), ""),
        line("the whole flow", "", _text(found.flow)),
        "",
        f"The flow adds {_text(found.added)} s",
    ]


def _text(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"


def _clone(folder: Path) -> Path:
    """A clone of the last commit whose own last commit trains for a few steps."""
    git.do(child.ROOT, "clone", "--quiet", str(child.ROOT), str(folder), fix=_FIX)
    tree = profiles.overlaid(folder, profiles.CURRENT, VALUES)
    (folder / paths.PARAMS).write_text(profiles.to_text(tree), encoding="utf-8")
    who = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
    git.do(folder, *who, "commit", "--quiet", "--all", "--message", "A training of few steps", fix=_FIX)
    return folder


def _add(found: Measured, clone: Path) -> None:
    """Measure a run of the flow, and the bare stages."""
    seconds, said = _flow(clone)
    found.flow.append(seconds)
    for stage, taken in TASK.findall(said):
        if stage in STAGES:
            found.tasks.setdefault(stage, []).append(float(taken))
    for stage in STAGES:
        seconds, _ = _timed(clone, ["-m", f"stages.{stage}"], {RUN_ID_VARIABLE: NO_RUN})
        found.bare.setdefault(stage, []).append(seconds)


def _flow(clone: Path) -> tuple[float, str]:
    return _timed(clone, ["-m", "flows.run", "--force"], {})


def _timed(folder: Path, command: Sequence[str], variables: Mapping[str, str]) -> tuple[float, str]:
    """The seconds of a Python program from its start to its end, and what it printed."""
    # A server that runs already would not have to be started.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_"))}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise PipelineError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}", "see above")
    return time.perf_counter() - began, done.stdout


if __name__ == "__main__":
    program.run("overhead", main)
