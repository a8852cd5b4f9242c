"""What a reader of a file format gives: one value a row, each with its place in the user's file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from stages.download.read_so_far import ReadSoFar


@dataclass(frozen=True)
class Value:
    """One row of a file.

    Args:
        number: number of the row, from 1.
        line: number of its first line in the file, from 1; None where a row has no line of its own.
        value: what the file holds there.
        broken: what is wrong, if the file format does not even give a value; else None.
        file: the name of its file, where there are several; else None.
    """

    number: int
    line: int | None
    value: Any
    broken: str | None = None
    file: str | None = None

    @property
    def where(self) -> str:
        """The row's place in the words of messages: ``row 3 (line 5)``."""
        row = f"row {self.number}" if self.line is None else f"row {self.number} (line {self.line})"
        return row if self.file is None else f"{self.file}, {row}"

    def holding(self, value: Any) -> Value:
        """Another value at the same place."""
        return replace(self, value=value)


@dataclass(frozen=True)
class Contents:
    """The rows of a file.

    Args:
        kind: the file format in words, such as ``CSV``.
        keys: word for the keys of its rows: columns or keys.
        values: the rows, read as they are asked for.
        file: the file, of which is known how far it is read; None where it is read otherwise.
    """

    kind: str
    keys: str
    values: Iterator[Value]
    file: ReadSoFar | None = None
