"""JSON: a list of rows, one row a line, or an object in which one key holds the list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stages.common.errors import DataError
from stages.common.plurals import counted
from stages.download.dataset import first_character
from stages.download.formats.chats import is_turn
from stages.download.formats.values import Contents, Value
from stages.download.json_values import ListReader, Object, may_begin, parse
from stages.download.read_so_far import ReadSoFar

#: The most bytes of an object that is read as a whole. Reading it takes several times as much memory.
LARGEST = 1 << 28


def read(path: Path, *, name: str, fix: str) -> Contents:
    """The rows of a file in UTF-8 that begins with ``[`` or ``{``, but for white space and a byte order mark.

    The rows of a list and JSON lines are read one by one; an object is read as a whole.

    Args:
        path: path of the file.
        name: the user's name for the file, for messages.
        fix: what the user can do about a mistake in the file.

    Raises:
        DataError: a list is not JSON, or an object holds several lists or is larger than `LARGEST`. A wrong line is a
            `Value` that says so.
    """
    with open(path, encoding="utf-8-sig", newline="\n") as stream:
        if first_character(stream) == "[":
            file = ReadSoFar(path)
            return Contents("JSON", "keys", _list(file, name, fix), file)
        lines = (line for line in iter(lambda: stream.readline(LARGEST), "") if line.strip())
        first, second = next(lines), next(lines, "")
    value, broken = parse(first)
    over_lines = broken is not None and _are_of_one_object(first, second)
    if over_lines:
        if path.stat().st_size > LARGEST:
            raise _too_large(name, fix)
        value, broken = parse(path.read_text(encoding="utf-8-sig"))
        if broken and first.strip() == "{":  # no row of JSON lines, but an object such as one that was cut off
            raise DataError(f"{name}: {broken}", fix)
    if not broken and (over_lines or not second):
        if (key := _list_in(value, name, fix)) is not None:
            return Contents(f"JSON with its rows in {key!r}", "keys", _numbered(value[key]))
        if over_lines:
            return Contents("JSON", "keys", _numbered([value]))
    file = ReadSoFar(path)
    return Contents("JSON lines", "keys", _lines(file), file)


def _are_of_one_object(first: str, second: str) -> bool:
    """Whether the first two lines can be those of one object, and are not JSON lines of which the first is wrong.

    Args:
        first: a line that is no JSON.
        second: the next one; empty where there is none.
    """
    if not second:
        return False
    if not first.endswith("\n"):  # a line longer than `LARGEST`, of which the second is the rest
        return True
    return may_begin(first) and (not second.lstrip().startswith("{") or may_begin(first + second))


def _too_large(name: str, fix: str) -> DataError:
    expected = f"expected a list of rows or JSON lines in a file of more than {LARGEST:,} bytes"
    return DataError(
        f"{name}: {expected}; found an object, which is read as a whole",
        f"write its list of rows alone to a file, as jq .KEY FILE > NEW does; {fix}",
    )


def _list(file: ReadSoFar, name: str, fix: str) -> Iterator[Value]:
    with file.open() as stream:
        reader = ListReader(stream)
        yield from _numbered(reader)
    if reader.broken:
        raise DataError(f"{name}: {reader.broken}", fix)


def _numbered(values: Iterable[Any]) -> Iterator[Value]:
    for number, value in enumerate(values, 1):
        yield Value(number, None, value)


def _lines(file: ReadSoFar) -> Iterator[Value]:
    # Lines end at line feeds alone: a JSON string may hold U+2028 and other line separators.
    with file.open() as stream:
        number = 0
        for line, text in enumerate(stream, 1):
            if text.strip():
                number += 1
                value, broken = parse(text.removesuffix("\n"), line)
                yield Value(number, line, value, broken)


def _list_in(value: Any, name: str, fix: str) -> str | None:
    """The key of a lone object that holds the rows; None if the object is itself a row.

    Raises:
        DataError: several keys hold rows, one of them is given twice, or the object holds columns.
    """
    assert isinstance(value, Object), "the text begins with a brace"
    lists = [key for key, inner in value.items() if _is_rows(inner)]
    if len(lists) > 1:
        sizes = ", ".join(f"{key!r} ({counted(len(value[key]), 'row')})" for key in lists)
        raise DataError(f"{name}: expected one list of rows; found {sizes}", f"write one of them to a file; {fix}")
    if lists and lists[0] in value.repeated:
        raise DataError(f"{name}: {lists[0]!r}: expected one value; the key is there twice or more", fix)
    columns = [key for key, inner in value.items() if isinstance(inner, dict | list)]
    if len(columns) > 1 and len(columns) == len(value) and not lists:
        raise DataError(
            f"{name}: expected a list of rows; found columns: {', '.join(map(repr, columns[:10]))}",
            f"write it by rows, as pandas does with to_json(orient='records'); {fix}",
        )
    return lists[0] if lists else None


def _is_rows(value: Any) -> bool:
    """Whether a value is a list of objects, and not the turns of one conversation."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and not is_turn(one) for one in value)
