"""Tables: CSV and TSV by Python's csv module, which knows the line of every row, and Parquet by pyarrow."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stages.common.errors import DataError
from stages.common.plurals import counted
from stages.download.formats.values import Contents, Value
from stages.download.read_so_far import ReadSoFar

#: What separates columns, and the name of a table that has it.
SEPARATORS = {",": "CSV", "\t": "TSV", ";": "CSV with semicolons", "|": "CSV with vertical bars"}
#: Longest field in characters that csv reads; one that is longer than a row may be is told by row and field later.
_LONGEST = 1 << 30
#: Rows of Parquet that are in memory at a time.
_BATCH = 1024


def header(path: Path) -> tuple[str, list[str]]:
    """The separator and the names of the columns of a text file that may be a table: the split with the most names."""
    found = {separator: _first(path, separator) for separator in SEPARATORS}
    separator = max(found, key=lambda one: len(found[one]))
    return separator, found[separator]


def _first(path: Path, separator: str) -> list[str]:
    with _opened(path) as stream:
        try:
            return [name.strip() for name in next((row for row in _reader(stream, separator) if row), [])]
        except csv.Error:
            return []


def read_text(path: Path, *, name: str, fix: str) -> Contents:
    """The rows of a CSV or TSV file in UTF-8, whose first line names the columns.

    A field with the separator, a quotation mark or a line end in it stands in quotation marks, and a quotation mark in
    it is doubled (RFC 4180). Blank lines are skipped. Line ends within a field become line feeds.

    Raises:
        DataError: the file names a column twice. A row of another length is a `Value` that says so.
    """
    separator, names = header(path)
    if twice := [column for column, count in Counter(names).items() if count > 1]:
        raise DataError(f"{name}: column {twice[0]!r}: expected one column of that name; found two or more", fix)
    file = ReadSoFar(path)
    return Contents(SEPARATORS[separator], "columns", _rows(file, separator, names, name, fix), file)


def _rows(file: ReadSoFar, separator: str, names: Sequence[str], name: str, fix: str) -> Iterator[Value]:
    with file.open(newline="") as stream:
        reader = _reader(stream, separator)
        number, line = -1, 1
        try:
            for row in reader:
                start, line = line, reader.line_num + 1
                if not row:
                    continue
                number += 1
                if number:
                    yield Value(number, start, _by_name(names, row), _wrong_length(names, row, separator))
        except csv.Error as error:
            how = f"a field with quotation marks in it stands in quotation marks, and those in it are doubled; {fix}"
            raise DataError(f"{name}: not valid CSV in the row that begins at line {line}: {error}", how) from None


def _opened(path: Path) -> Any:
    return open(path, encoding="utf-8-sig", newline="")


def _reader(stream: Any, separator: str) -> Any:
    csv.field_size_limit(_LONGEST)
    return csv.reader(stream, delimiter=separator, strict=True)


def _by_name(names: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    return {name: text.replace("\r\n", "\n").replace("\r", "\n") for name, text in zip(names, row, strict=False)}


def _wrong_length(names: Sequence[str], row: Sequence[str], separator: str) -> str | None:
    if len(row) == len(names):
        return None
    shown = {"\t": "a tab"}.get(separator, repr(separator))
    why = f"; a text with {shown} in it stands in quotation marks" if len(row) > len(names) else ""
    return f"expected {counted(len(names), 'column')}; found {len(row)}{why}"


def read_parquet(path: Path, *, name: str, fix: str) -> Contents:
    """The rows of a Parquet file, a batch in memory at a time.

    Raises:
        DataError: the file is damaged, or names a column twice.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(name, error, fix) from None
    names = file.schema_arrow.names
    if twice := [column for column, count in Counter(names).items() if count > 1]:
        raise DataError(f"{name}: column {twice[0]!r}: expected one column of that name; found two or more", fix)
    return Contents("Parquet", "columns", _batches(file, name, fix))


def _batches(file: Any, name: str, fix: str) -> Iterator[Value]:
    import pyarrow as pa

    number = 0
    batches = file.iter_batches(batch_size=_BATCH)
    while True:
        try:
            batch = next(batches, None)
            values = [] if batch is None else batch.to_pylist()
        except (pa.ArrowException, OSError, UnicodeDecodeError, ValueError, OverflowError) as error:
            raise _damaged(name, error, fix) from None
        if batch is None:
            return
        for value in values:
            number += 1
            yield Value(number, None, value)


def _damaged(name: str, error: Exception, fix: str) -> DataError:
    return DataError(f"{name}: not a Parquet file that can be read: {str(error).splitlines()[0]}", fix)
