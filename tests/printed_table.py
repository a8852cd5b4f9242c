"""The frame of the programs that print a table of runs: `python -m tests.faults` and `python -m tests.every_door`."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

R = TypeVar("R")


def run(
    name: str,
    rows: Callable[[Path], Generator[R, None, None]],
    *,
    told: Callable[[R], str],
    markdown: Callable[[Sequence[R]], str],
    wrong: Callable[[R], bool],
    note: str = "",
) -> int:
    """Print each row to standard error as it comes, and at the end, however it comes, the table to standard output.

    Args:
        name: start of the name of a folder in which the runs work; it is removed.
        rows: function that takes this folder, and yields a row for each run.
        told: function that gives a row in a line.
        markdown: function that gives the table.
        wrong: function that says whether a row is wrong.
        note: what is printed below the table, before the time that it took.

    Returns:
        The exit code: 1 if a row is wrong, or there is none.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # a job in the background would not be asked to clean up
        signal.signal(number, _stop)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    found: list[R] = []
    began = time.monotonic()
    try:
        with closing(rows(folder)) as made:
            for row in made:
                found.append(row)
                print(told(row), file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        print(markdown(found))
        print(f"\n{note}{(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    return int(not found or any(map(wrong, found)))


def _stop(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
