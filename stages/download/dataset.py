"""The instruction dataset as stages hand it on: a JSON list or JSON lines, of objects with text in known fields.

A user's own file may be in other formats: `stages.download.formats`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from stages.common.errors import DataError
from stages.common.plurals import counted
from stages.download.json_values import ListReader, Object, parse, repeated_keys
from stages.download.read_so_far import ReadSoFar

#: One row: a string for each of `FIELDS`, which can be written as UTF-8.
Row = dict[str, str]

FIELDS = ("instruction", "input", "output", "category")
#: What a row of the stage download may have besides: the name of its split, and that of its source in a mix.
EXTRA = ("split", "source")
NO_CATEGORY = "uncategorised"

#: The fewest rows of a dataset: each of the three splits needs one.
FEWEST_ROWS = 3

_REQUIRED = ("instruction", "output")
_DEFAULTS = {"input": "", "category": NO_CATEGORY}
_SHOWN = 10


@dataclass(frozen=True)
class Dataset:
    """The rows of a file.

    Args:
        rows: the rows in the file's order.
        unknown: number of rows with each key that is not one of `FIELDS`.
    """

    rows: list[Row]
    unknown: dict[str, int]


def read(path: Path, *, name: str, fix: str) -> Dataset:
    """All rows of a dataset in main memory; arguments and errors are those of `each`."""
    keys: Counter[str] = Counter()
    rows = list(each(path, name=name, fix=fix, keys=keys))
    return Dataset(rows, {key: keys[key] for key in sorted(keys.keys() - set(FIELDS))})


def each(path: Path, *, name: str, fix: str, keys: Counter[str] | None = None, extra: bool = False) -> Iterator[Row]:
    """Yield the rows of a dataset, each checked. What is wrong with any is told at the end, in one error.

    A file whose first character is ``[`` is one JSON list; any other holds one JSON object a line. A byte order
    mark, blank lines and CRLF are accepted. ``instruction`` and ``output`` are texts with something in them;
    ``input`` and ``category`` may be missing, null or empty. Other keys are left out. No key may be given twice, at
    any depth of a row: nothing says which of the two values is meant.

    Args:
        path: path of the file.
        name: the user's name for the file, for messages.
        fix: what the user can do about a mistake in the file.
        keys: counter of the rows with each key.
        extra: whether a row may have `EXTRA`, which are texts.

    Raises:
        DataError: the file is not UTF-8 or not JSON, has too few rows, or has wrong ones (the message names ten).
    """
    keys = Counter() if keys is None else keys
    problems = Problems()
    count = 0
    try:
        file = ReadSoFar(path)
        for where, value, broken in file.told(_values(file, name, fix), what=f"read {name}"):
            row, wrong = ({}, [broken]) if broken else check(value)
            if extra and not wrong:
                row |= {key: value[key] for key in EXTRA if key in value}
                wrong = [f"{key}: {what}" for key in EXTRA if (what := mistake(row.get(key, " -"), required=True))]
            count += 1
            problems.add(where, wrong)
            keys.update(list(value) if isinstance(value, dict) else ())
            if not wrong:
                yield row
    except UnicodeDecodeError:
        raise DataError(f"{name}: {_not_utf8(path)}", fix) from None
    if problems.count:
        raise DataError(problems.listing(name, count), fix)
    if count < FEWEST_ROWS:
        raise DataError(f"{name}: expected at least {FEWEST_ROWS} rows, one for each split, found {count}", fix)


def _values(file: ReadSoFar, name: str, fix: str) -> Iterator[tuple[str, Any, str | None]]:
    """Yield (where, value, what is wrong with its JSON) for every row."""
    with file.open() as stream:
        # Lines end at line feeds alone: a JSON string may hold U+2028 and other line separators.
        beginning = first_character(stream)
        if not beginning:
            raise DataError(f"{name}: expected rows, found an empty file", fix)
        if beginning == "[":
            reader = ListReader(stream)
            for number, value in enumerate(reader, 1):
                yield f"row {number}", value, None
            if reader.broken:
                raise DataError(f"{name}: {reader.broken}", fix)
            return
        lines = ((number, line) for number, line in enumerate(stream, 1) if line.strip())
        for number, (line_number, line) in enumerate(lines, 1):
            value, broken = parse(line.removesuffix("\n"), line_number)
            yield f"row {number} (line {line_number})", value, broken


def first_character(stream: IO[str]) -> str:
    """The first character of a text that is no white space; empty if there is none. The stream is at 0 again."""
    while (found := stream.read(4096)) and not found.strip():
        pass
    stream.seek(0)
    return found.lstrip()[:1]


def _not_utf8(path: Path) -> str:
    """What is wrong with a file that is not UTF-8, and at which byte."""
    try:
        path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return f"not UTF-8 ({error.reason} at byte {error.start})"
    return "not UTF-8"


def check(value: Any, keys: Mapping[str, str | None] = MappingProxyType({})) -> tuple[Row, list[str]]:
    """One row as read, and what is wrong with it.

    Args:
        value: the row as its file has it.
        keys: the key that holds a field, where that is not the field's own name; None: no key does.
    """
    if not isinstance(value, dict):
        needed = (keys.get(field) or field for field in _REQUIRED)
        return {}, [f"expected an object with {', '.join(needed)}; found {describe(value)}"]
    row: dict[str, Any] = {}
    problems = of_repeated_keys(value)
    for field in FIELDS:
        key = keys.get(field, field)
        found = None if key is None else value.get(key)
        if field in _DEFAULTS and (found is None or found == ""):
            found = _DEFAULTS[field]
        if problem := mistake(found, required=field in _REQUIRED, present=key in value):
            problems.append(f"{key}: {problem}")
        row[field] = found
    return row, problems


def of_repeated_keys(value: Any) -> list[str]:
    """What is wrong with a row whose objects give a key twice; nothing says which value is meant."""
    return [f"{key!r}: expected one value; the key is there twice or more" for key in repeated_keys(value)]


def mistake(found: Any, *, required: bool, present: bool = True) -> str | None:
    """What is wrong with the value of a field: it is no text, empty, or cannot be written as UTF-8; None if nothing is.

    Args:
        found: the value.
        required: whether it must be a text with something in it.
        present: whether the row has it.
    """
    expected = "expected a text that is not empty" if required else "expected a text, or nothing"
    if not present and required:
        return f"{expected}; the field is missing"
    if not isinstance(found, str) or (required and not found.strip()):
        return f"{expected}; found {describe(found)}"
    try:
        found.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"expected Unicode text; found half a surrogate pair at character {error.start}"
    return None


def describe(value: Any) -> str:
    """A value in a message, by its kind and beginning: ``a number, 5``."""
    kinds = {
        Object: "an object",
        dict: "an object",
        list: "a list",
        bool: "a truth value",
        int: "a number",
        float: "a number",
    }
    if value is None:
        return "null"
    if isinstance(value, str):
        return "an empty text" if not value.strip() else f"the text {value[:40]!r}"
    shown = repr(value)
    return f"{kinds.get(type(value), 'a value')}, {shown if len(shown) <= 40 else shown[:40] + '…'}"


class Problems:
    """What is wrong with the rows of a file: the first ten, the number of all, and that of the rows that have any."""

    def __init__(self) -> None:
        self.count = self.rows = 0
        self._first: list[str] = []

    def add(self, where: str, wrong: Sequence[str]) -> None:
        """Add what is wrong with a row.

        Args:
            where: the row's place.
            wrong: what is wrong, if anything is.
        """
        self.count += len(wrong)
        self.rows += bool(wrong)
        self._first += [f"{where}: {problem}" for problem in wrong[: max(_SHOWN - len(self._first), 0)]]

    def listing(self, name: str, total: int) -> str:
        """The message for wrong rows, which names ten problems and counts all.

        Args:
            name: the user's name for the file.
            total: number of rows.
        """
        count, rows = counted(self.count, "problem"), counted(total, "row")
        lines = [f"{name}: {count} in {rows}:", *(f"  - {problem}" for problem in self._first)]
        if self.count > _SHOWN:
            lines.append(f"  - and {self.count - _SHOWN:,} more")
        return "\n".join(lines)
