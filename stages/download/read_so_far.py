"""A text file of which is known how far it is read."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from stages.running import counting

Item = TypeVar("Item")

_CHUNK = 1 << 20


class ReadSoFar:
    """A text file in UTF-8 of which is known how far it is read, so that its rows need not be counted before.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._raw: io.FileIO | None = None

    def open(self, newline: str = "\n") -> io.TextIOWrapper:
        """Open it; a byte order mark is left out.

        Args:
            newline: what ends a line, as `open` takes it.
        """
        self._raw = open(self._path, "rb", buffering=0)  # noqa: SIM115 closed with the text
        return io.TextIOWrapper(io.BufferedReader(self._raw, _CHUNK), encoding="utf-8-sig", newline=newline)

    @property
    def bytes(self) -> int:
        """The bytes that are read; all of them once it is closed."""
        if self._raw is None:
            return 0
        return self._path.stat().st_size if self._raw.closed else self._raw.tell()

    def told(self, rows: Iterable[Item], *, what: str) -> Iterator[Item]:
        """The rows of the file as they are given, while a bar tells how far it is read.

        Args:
            rows: the rows.
            what: name of the work.
        """
        return counting.told_in_bytes(rows, total=self._path.stat().st_size, read=lambda: self.bytes, what=what)
