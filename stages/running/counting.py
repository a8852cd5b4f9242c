"""Progress over the rows of a file: a bar on a terminal, elsewhere one line that says how long the rest will take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


def told(rows: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
    """The same rows, while a bar tells how far they are.

    Args:
        rows: the rows.
        total: their number.
        what: name of the work.
    """
    with progress(total=total, unit="row", what=what) as bar:
        forecast = Forecast(bar, unit="rows", what=what)
        forecast.start(total)
        count = 0
        for count, row in enumerate(rows, 1):
            yield row
            if count % _STEP == 0:
                forecast.made(_STEP)
        forecast.made(count % _STEP)
