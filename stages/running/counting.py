"""Progress over the rows of a file: a bar on a terminal, elsewhere one line that says how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from stages.running.console import Forecast, progress

Item = TypeVar("Item")

_CHUNK = 1 << 20
#: Rows that are counted at a time.
_STEP = 1024


def lines_of(path: Path) -> int:
    """The number of lines of a file, each of which ends with a line feed; 0 if there is no such file."""
    if not path.is_file():
        return 0
    with open(path, "rb") as stream:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(_CHUNK), b""))


def told(
    rows: Iterable[Item],
    *,
    total: int,
    what: str,
    unit: str = "row",
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Item]:
    """The same rows, while a bar tells how far they are.

    Args:
        rows: the rows.
        total: their number.
        what: name of the work.
        unit: name of what is counted.
        now: clock, in seconds.
    """
    with progress(total=total, unit=unit, what=what) as bar:
        forecast = Forecast(bar, unit=f"{unit}s", what=what, now=now)
        forecast.start(total)
        count = 0
        for count, row in enumerate(rows, 1):
            yield row
            if count % _STEP == 0:
                forecast.made(_STEP)
        forecast.made(count % _STEP)


def told_in_bytes(
    rows: Iterable[Item],
    *,
    total: int,
    read: Callable[[], int],
    what: str,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Item]:
    """The same rows of a file, while a bar tells how many of its bytes are read: its rows need not be counted before.

    Args:
        rows: the rows.
        total: the size of the file in bytes.
        read: function that gives the number of bytes that are read.
        what: name of the work.
        now: clock, in seconds.
    """
    with progress(total=total, unit="byte", what=what) as bar:
        forecast = Forecast(bar, unit="bytes", what=what, now=now)
        forecast.start(total)
        done = 0
        for count, row in enumerate(rows, 1):
            yield row
            if count % _STEP == 0:
                at = read()
                forecast.made(at - done)
                done = at
        forecast.made(total - done)
