"""Rows in a file, one JSON line each, which are read when they are asked for: any number of them in little memory."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

from stages.common.files import atomic_file
from stages.common.records import line_of
from stages.common.results.split import Example


class Stored(Sequence[Example]):
    """Rows in a file of their own; main memory has 8 bytes of each.

    Args:
        path: path of the file, which is made here.
        rows: the rows.
    """

    def __init__(self, path: Path, rows: Iterable[Example]) -> None:
        self._ends = array("q", [0])
        with open(path, "wb") as stream:
            for row in rows:
                line = line_of(row).encode("utf-8")
                stream.write(line)
                self._ends.append(self._ends[-1] + len(line))
        self._path = path
        self._file = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        """Close the file."""
        if hasattr(self, "_file"):
            os.close(self._file)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Picked: ...
    def __getitem__(self, index: int | slice) -> Example | Picked:
        """A row by its number from 0, or some rows."""
        numbers = range(len(self))[index]
        return Picked(self, array("q", numbers)) if isinstance(numbers, range) else _row(self.line(numbers))

    def __iter__(self) -> Iterator[Example]:
        """All rows in their order."""
        with open(self._path, "rb") as stream:
            yield from map(_row, stream)

    def line(self, number: int) -> bytes:
        """A row by its number from 0, as the file has it."""
        start, end = self._ends[number : number + 2]
        return os.pread(self._file, end - start, start)


class Picked(Sequence[Example]):
    """Some of the rows of a file.

    Args:
        rows: all of them.
        numbers: the numbers of those that are picked, in the order in which they are given.
    """

    def __init__(self, rows: Stored, numbers: array[int]) -> None:
        self.numbers = numbers
        self._rows = rows

    def __len__(self) -> int:
        """How many are picked."""
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Picked: ...
    def __getitem__(self, index: int | slice) -> Example | Picked:
        """A picked row, or some of them."""
        if isinstance(index, slice):
            return Picked(self._rows, self.numbers[index])
        return self._rows[self.numbers[index]]

    def __iter__(self) -> Iterator[Example]:
        """The picked rows, in their order."""
        return (self._rows[number] for number in self.numbers)

    def lines(self) -> Iterator[bytes]:
        """The same, as the file has them."""
        return map(self._rows.line, self.numbers)


def _row(line: bytes) -> Example:
    return Example.model_validate_json(line)


def pick(rows: Sequence[Example], numbers: Iterable[int]) -> Sequence[Example]:
    """The rows with these numbers: of a file they stay there."""
    if isinstance(rows, Stored):
        return Picked(rows, array("q", numbers))
    return [rows[number] for number in numbers]


def numbers_of(part: Sequence[Example], rows: Sequence[Example]) -> Sequence[int]:
    """The numbers of some rows among all rows.

    Args:
        part: some rows, as `pick` gives them.
        rows: all rows.
    """
    if isinstance(part, Picked):
        return part.numbers
    number = {row.id: at for at, row in enumerate(rows)}
    return [number[row.id] for row in part]


def write(path: Path, rows: Sequence[Example]) -> None:
    """Write rows as JSON lines, completely or not at all."""
    lines = rows.lines() if isinstance(rows, Picked) else (line_of(row).encode("utf-8") for row in rows)
    with atomic_file(path, "wb") as stream:
        stream.writelines(lines)
