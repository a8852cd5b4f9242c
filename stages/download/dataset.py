"""The instruction dataset as stages hand it on: a JSON list or JSON lines, of objects with text in known fields.

A user's own file may be in other formats: `stages.download.formats`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stages.common.errors import DataError
from stages.common.plurals import counted
from stages.download.json_values import Object, parse, repeated_keys

#: One row: a string for each of `FIELDS`, which can be written as UTF-8.
Row = dict[str, str]

FIELDS = ("instruction", "input", "output", "category")
NO_CATEGORY = "uncategorised"

#: The fewest rows of a dataset: each of the three splits needs one.
FEWEST_ROWS = 3

_REQUIRED = ("instruction", "output")
_DEFAULTS = {"input": "", "category": NO_CATEGORY}
_SHOWN = 10
#: What other datasets call our fields (Dolly, Natural Instructions, question-answer lists).
_SYNONYMS = {
    "instruction": ("prompt", "question", "query"),
    "input": ("context",),
    "output": ("response", "answer", "completion", "target"),
}
_CHATS = ("messages", "conversations")


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
    ``input`` and ``category`` may be missing, null or empty. Other keys are left out. No key may be given twice, at
    any depth of a row: nothing says which of the two values is meant.

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
    keys: Counter[str] = Counter()
    objects = 0
    for where, value, broken in _values(text, name, fix):
        row, wrong = ({}, [broken]) if broken else check(value)
        rows.append(row)
        problems += [f"{where}: {problem}" for problem in wrong]
        objects += isinstance(value, dict)
        keys.update(list(value) if isinstance(value, dict) else ())
    if problems:
        of_other_keys = _of_other_keys(name, keys) if objects == len(rows) else None
        raise DataError(of_other_keys or listing(name, len(rows), problems), fix)
    if len(rows) < FEWEST_ROWS:
        raise DataError(f"{name}: expected at least {FEWEST_ROWS} rows, one for each split, found {len(rows)}", fix)
    return Dataset(rows, {key: keys[key] for key in sorted(keys.keys() - set(FIELDS))})


def _values(text: str, name: str, fix: str) -> Iterator[tuple[str, Any, str | None]]:
    """Yield (where, value, what is wrong with its JSON) for every row."""
    if text.lstrip().startswith("["):
        values, broken = parse(text)
        if broken:
            raise DataError(f"{name}: {broken}", fix)
        for number, value in enumerate(values, 1):
            yield f"row {number}", value, None
        return
    # Not splitlines: a JSON string may hold U+2028 and other line separators.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    for number, (line_number, line) in enumerate(lines, 1):
        value, broken = parse(line, line_number)
        yield f"row {number} (line {line_number})", value, broken


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


def _of_other_keys(name: str, keys: Counter[str]) -> str | None:
    """The one message for rows that all lack a required field, since they are of another kind; else None.

    Args:
        name: the user's name for the file.
        keys: number of rows with each key.
    """
    missing = [field for field in _REQUIRED if not keys[field]]
    if not missing or not keys:
        return None
    most = [key for key, _ in keys.most_common(_SHOWN)]
    what = f"{name}: no row has {' or '.join(missing)}; the rows have {', '.join(map(repr, sorted(most)))}"
    if chat := next((key for key in _CHATS if keys[key]), None):
        return f"{what}\n  {chat!r} holds conversations: make one row of each question and its answer"
    rename = likely_names([key for key in keys if keys[key]])
    return f"{what}\n  {rename}" if rename else what


def likely_names(keys: Collection[str]) -> str:
    """What to rename, such as ``rename 'context' to input``; empty if no other key is known to stand for a field.

    Args:
        keys: keys of the rows.
    """
    found = {field: next((other for other in others if other in keys), None) for field, others in _SYNONYMS.items()}
    renamed = [f"{other!r} to {field}" for field, other in found.items() if other is not None and field not in keys]
    return f"rename {', '.join(renamed)}" if renamed else ""


def listing(name: str, total: int, problems: list[str]) -> str:
    """The message for wrong rows, which names ten problems and counts all.

    Args:
        name: the user's name for the file.
        total: number of rows.
        problems: what is wrong, each with its row.
    """
    count, rows = counted(len(problems), "problem"), counted(total, "row")
    lines = [f"{name}: {count} in {rows}:", *(f"  - {problem}" for problem in problems[:_SHOWN])]
    if len(problems) > _SHOWN:
        lines.append(f"  - and {len(problems) - _SHOWN:,} more")
    return "\n".join(lines)
