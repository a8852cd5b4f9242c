"""Runs stages' programs, each in a fork of one process that has torch loaded, which takes longer than these runs do.

    PYTHONPATH=CODE python -P tests/stage_forks.py '[{"folder": "/tmp/a", "stages": ["split"], "stop_after": null}]'

``stop_after`` n sends SIGTERM when the progress bar of the last stage moves for the n-th time. Prints the exit codes as
a JSON list. The folder's file ``said`` has what its stages printed.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from typing import Any

# Loaded once, before the forks.
import matplotlib.backends.backend_agg  # noqa: F401
import pandas  # noqa: F401
import requests  # noqa: F401
import sacrebleu  # noqa: F401
import scipy.stats  # noqa: F401
import tiktoken  # noqa: F401
import torch  # noqa: F401
from tqdm import tqdm

from stages.running import console, program


def stop_after(count: int) -> None:
    """Send this process SIGTERM when a progress bar is moved for the ``count``-th time."""
    made = console.progress

    def progress(**named: Any) -> tqdm[Any]:
        bar = made(**named)
        update = bar.update
        moved = 0

        def counted(number: float | None = 1) -> bool | None:
            nonlocal moved
            moved += 1
            if moved == count:
                os.kill(os.getpid(), signal.SIGTERM)
            return update(number)

        bar.update = counted  # type: ignore[method-assign]
        return bar

    console.progress = progress


def work(folder: str, stages: list[str], stop: int | None) -> None:
    """Run stages in a folder, one after the other, and end the process."""
    os.chdir(folder)
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    for stage in stages:
        if stop and stage == stages[-1]:
            stop_after(stop)  # before the stage's modules import the progress bar by name
        try:
            program.run(stage, importlib.import_module(f"stages.{stage}.__main__").main)
        except SystemExit as end:
            if end.code:
                raise
    sys.exit(0)


def main() -> None:
    """Run the jobs in turn."""
    codes = []
    jobs = json.loads(sys.argv.pop())
    for job in jobs:
        pid = os.fork()
        if pid == 0:
            work(job["folder"], job["stages"], job["stop_after"])
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    print(json.dumps(codes))


if __name__ == "__main__":
    main()
