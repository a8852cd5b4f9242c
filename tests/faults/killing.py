"""Training runs that are killed at a moment of one's choice, and where that was.

The run is the stage's own program in a process of its own, which writes a line to a pipe when a part of the work begins
and when it ends; nothing else is added to it. The processes are forks of one that has torch loaded, since loading it
takes longer than these runs do.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.root import ROOT

#: What the work is made of: the forward pass of a step or of an evaluation, all of both, and the rest of a step.
PARTS = ("step", "forward", "update", "evaluation", "save", "model")


@dataclass(frozen=True)
class Life:
    """One run: the signal that ended it or its exit code, the part that it was in, and what it said."""

    code: int
    where: str
    said: str

    @property
    def went_on_from(self) -> int:
        """The step of the checkpoint that it began with, 0 for none."""
        lines = [line for line in self.said.splitlines() if line.startswith("going on from")]
        return int(lines[0].rpartition("-")[2]) if lines else 0


class Runs:
    """Runs of finetune in a folder, one at a time."""

    def __init__(self, folder: Path, process: subprocess.Popen[str], pipe: int) -> None:
        self._folder = folder
        self._process = process
        self._marks = os.fdopen(pipe, buffering=1)

    def run(self, aim: str = "", occurrence: int = 1, delay: float = 0.0) -> Life:
        """Run finetune; kill it so many seconds after a part has begun for the n-th time.

        Args:
            aim: the part, or "" to let it be.
            occurrence: n, from 1.
            delay: the seconds.
        """
        process = self._process
        assert process.stdin
        assert process.stdout
        process.stdin.write("\n")
        process.stdin.flush()
        pid = int(process.stdout.readline())
        inside: list[str] = []
        for mark in self._marks:
            sign, part = mark[0], mark[1:].strip()
            if sign == "=":  # the process has ended; the line comes from the one that waits for it
                said = (self._folder / "said").read_text()
                return Life(int(part), " in ".join(reversed(inside)) or "between", said)
            if sign == "-":
                inside.remove(part)
                continue
            inside.append(part)
            if part == aim:
                occurrence -= 1
                if occurrence == 0:
                    time.sleep(delay)
                    os.kill(pid, signal.SIGKILL)
        raise AssertionError(process.stdout.read())


@contextlib.contextmanager
def runs(folder: Path) -> Iterator[Runs]:
    """Runs of finetune in a folder that `tests.small_pipeline` has made."""
    reader, writer = os.pipe()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PIPELINE_MLFLOW_RUN_ID": "none",
        "PIPELINE_CHECKPOINT_SECONDS": "0",
        "PIPE": str(writer),
    }
    command = [sys.executable, "-m", "tests.faults.killing"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=environment, pass_fds=[writer], **pipes) as process:
        os.close(writer)
        made = Runs(folder, process, reader)
        yield made
        made._marks.close()


def _marked(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        _tell(f"+{part}")
        try:
            return function(*arguments, **named)
        finally:
            _tell(f"-{part}")

    return wrapped


def _tell(mark: str) -> None:
    os.write(int(os.environ["PIPE"]), f"{mark}\n".encode())


def main() -> None:
    """Run finetune in a fork for each line that comes, and tell its number and its end."""
    from stages.running import program

    os.environ |= program.torch_settings("finetune")
    from stages.finetune import __main__ as finetune
    from stages.finetune import checkpoint, optimizer, outputs, passes

    passes.backward = _marked("step", passes.backward)
    passes.summed_loss = _marked("forward", passes.summed_loss)
    passes.Evaluation.__call__ = _marked("evaluation", passes.Evaluation.__call__)  # type: ignore[method-assign]
    optimizer.MasterWeights.step = _marked("update", optimizer.MasterWeights.step)  # type: ignore[method-assign]
    checkpoint.Checkpoints.save = _marked("save", checkpoint.Checkpoints.save)  # type: ignore[method-assign]
    outputs.write = _marked("model", outputs.write)
    checkpoint.SHARE = 1.0  # of a second's training a twenty-fifth would hardly ever hold one
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            program.run("finetune", finetune.main)
        print(pid, flush=True)
        _tell(f"={os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")


if __name__ == "__main__":
    main()
