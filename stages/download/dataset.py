"""The instruction dataset: a JSON list or JSON lines, of objects with text in known fields."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.common.errors import DataError

#: One row: a string for each of `FIELDS`, which can be written as UTF-8.
Row = dict[str, str]

FIELDS = ("instruction", "input", "output", "category")
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
    """Read a dataset and check every row of it.

    A file whose first character is ``[`` is one JSON list; any other holds one JSON object a line. A byte order
    mark, blank lines and CRLF are accepted. ``instruction`` and ``output`` are texts with something in them;
    ``input`` and ``category`` may be missing, null or empty. Other keys are left out.

    Args:
        path: path of the file.
        name: the user's name for the file, for messages.
        fix: what the user can do about a mistake in the file.

    Raises:
        DataError: the file is not UTF-8 or not JSON, has too few rows, or has wrong ones (the message names ten).
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not UTF-8 ({error.reason} at byte {error.start})", fix) from None
    if not text.strip():
        raise DataError(f"{name}: expected rows, found an empty file", fix)
    rows: list[Row] = []
    problems: list[str] = []
    unknown: Counter[str] = Counter()
    total = 0
    for where, value, mistake in _values(text, name, fix):
        total += 1
        row, wrong = ({}, [mistake]) if mistake else _check(value)
        rows.append(row)
        problems += [f"{where}: {problem}" for problem in wrong]
        if isinstance(value, dict):
            unknown.update(value.keys() - set(FIELDS))
    if problems:
        raise DataError(_listing(name, total, problems), fix)
    if total < FEWEST_ROWS:
        raise DataError(f"{name}: expected at least {FEWEST_ROWS} rows, one for each split, found {total}", fix)
    return Dataset(rows, dict(sorted(unknown.items())))


def _values(text: str, name: str, fix: str) -> Iterator[tuple[str, Any, str | None]]:
    """Yield (where, value, what is wrong with its JSON) for every row."""
    if text.lstrip().startswith("["):
        values, mistake = _parse(text)
        if mistake:
            raise DataError(f"{name}: {mistake}", fix)
        for index, value in enumerate(values):
            yield f"row {index} (number {index + 1})", value, None
        return
    # Not splitlines: a JSON string may hold U+2028 and other line separators.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    for index, (number, line) in enumerate(lines):
        value, mistake = _parse(line, number)
        yield f"row {index} (line {number})", value, mistake


def _parse(text: str, line: int | None = None) -> tuple[Any, str | None]:
    try:
        return json.loads(text), None
    except json.JSONDecodeError as error:
        return None, f"not valid JSON at line {line or error.lineno}, column {error.colno}: {error.msg}"
    except (ValueError, RecursionError) as error:  # an integer with thousands of digits, or brackets nested as deeply
        return None, f"not JSON that can be read: {error}"


def _check(value: Any) -> tuple[Row, list[str]]:
    """One row as read, and what is wrong with it."""
    if not isinstance(value, dict):
        return {}, [f"expected an object with {', '.join(_REQUIRED)}; found {_describe(value)}"]
    row: dict[str, Any] = {}
    problems: list[str] = []
    for field in FIELDS:
        found = value.get(field)
        if field in _DEFAULTS and (found is None or found == ""):
            found = _DEFAULTS[field]
        if problem := _mistake(found, required=field in _REQUIRED, present=field in value):
            problems.append(f"{field}: {problem}")
        row[field] = found
    return row, problems


def _mistake(found: Any, *, required: bool, present: bool) -> str | None:
    expected = "expected a text that is not empty" if required else "expected a text, or nothing"
    if not present and required:
        return f"{expected}; the field is missing"
    if not isinstance(found, str) or (required and not found.strip()):
        return f"{expected}; found {_describe(found)}"
    try:
        found.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"expected Unicode text; found half a surrogate pair at character {error.start}"
    return None


def _describe(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", bool: "a truth value", int: "a number", float: "a number"}
    if value is None:
        return "null"
    if isinstance(value, str):
        return "an empty text" if not value.strip() else f"the text {value[:40]!r}"
    shown = repr(value)
    return f"{kinds[type(value)]}, {shown if len(shown) <= 40 else shown[:40] + '…'}"


def _listing(name: str, total: int, problems: list[str]) -> str:
    count = "1 problem" if len(problems) == 1 else f"{len(problems):,} problems"
    lines = [f"{name}: {count} in {total:,} rows:", *(f"  - {problem}" for problem in problems[:_SHOWN])]
    if len(problems) > _SHOWN:
        lines.append(f"  - and {len(problems) - _SHOWN:,} more")
    return "\n".join(lines)
