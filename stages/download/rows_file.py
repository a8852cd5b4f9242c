"""Rows in files: the dataset as it is written row by row, and rows kept aside on disk while a mix is drawn."""

from __future__ import annotations

import json
import os
from array import array
from json.encoder import encode_basestring
from pathlib import Path
from typing import IO, Protocol

from stages.download.dataset import Row


class RowSink(Protocol):
    """Takes rows one by one: a list, a file."""

    def append(self, row: Row, /) -> None:
        """Take a row."""
        ...

    def __len__(self) -> int:
        """How many it has taken."""
        ...


class DatasetWriter:
    """Writes rows as one JSON list, as `stages.common.files.write_json` writes it, without holding them.

    Args:
        stream: the text file, to which `close` writes the end of the list.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._count = 0

    def append(self, row: Row) -> None:
        """Write a row."""
        # By hand: json is some ten times slower with an indent.
        fields = ",\n".join(f"    {encode_basestring(key)}: {encode_basestring(text)}" for key, text in row.items())
        self._stream.write(f"{',' if self._count else '['}\n  {{\n{fields}\n  }}")
        self._count += 1

    def __len__(self) -> int:
        """How many rows are written."""
        return self._count

    def close(self) -> None:
        """Write the end of the list."""
        self._stream.write("\n]\n" if self._count else "[]\n")


class RowsOnDisk:
    """Rows in a file of their own, each of which can be read again; main memory has 8 bytes of each.

    Args:
        path: path of the file, which is made here.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "w+b")  # noqa: SIM115 as long as this object
        self._ends = array("q", [0])

    def append(self, row: Row) -> None:
        """Keep a row."""
        line = json.dumps(row, ensure_ascii=False).encode("utf-8")
        self._file.write(line)
        self._ends.append(self._ends[-1] + len(line))

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> Row:
        """A row by its number from 0."""
        self._file.flush()
        start, end = self._ends[number : number + 2]
        row: Row = json.loads(os.pread(self._file.fileno(), end - start, start))
        return row

    def close(self) -> None:
        """Close the file."""
        self._file.close()
