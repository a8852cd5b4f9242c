"""What the rows of a file hold, recognised by their keys, and how each becomes rows of the pipeline."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from stages.common.errors import ConfigError, DataError
from stages.common.plurals import word
from stages.download import dataset
from stages.download.dataset import FIELDS, Row
from stages.download.formats import chats, hard, message_trees
from stages.download.formats.values import Value
from stages.download.json_values import repeated_keys
from stages.params.download import DataSource

KEY = "download.data.fields"

#: Keys that name our fields without a setting. Each set is whole: `response` alone might be anything.
_KNOWN: tuple[dict[str, str], ...] = (
    {"instruction": "instruction", "output": "output"},  # Stanford Alpaca
    {"instruction": "instruction", "input": "context", "output": "response"},  # Dolly 15k
    {"instruction": "prompt", "output": "completion"},  # OpenAI's completions, Self-Instruct
)
#: What other datasets call our fields, in small letters, the commonest first: to propose a mapping.
_SYNONYMS = {
    "instruction": ("question", "prompt", "query", "inputs", "problem", "task", "user", "human", "q", "input"),
    "input": ("context", "passage", "document", "article"),
    "output": (
        "response",
        "answer",
        "completion",
        "target",
        "targets",
        "reply",
        "solution",
        "chosen",
        "assistant",
        "a",
        "text",
    ),
    "category": (),
}
_REQUIRED = ("instruction", "output")
#: The number of rows by whose keys a dataset is recognised.
LOOKED_AT = 1000
_SHOWN = 12


#: What to do about a word for "nothing".
_PLACEHOLDERS = {
    "input": "; download.data.clean: true makes it empty",
    "output": "; download.data.placeholder_answers: true takes it as an answer",
}


@dataclass
class Made:
    """What became of one value of a file.

    Args:
        rows: the rows; empty where something is wrong.
        problems: what is wrong.
        hard: whether rows of this kind are better left out than corrected, such as those with a prompt's markers.
        cleaned: whether a placeholder was taken out of the input.
        unanswered: number of questions at the end of a conversation.
    """

    rows: list[Row]
    problems: list[str] = field(default_factory=list)
    hard: bool = False
    cleaned: bool = False
    unanswered: int = 0


@dataclass(frozen=True)
class Shape:
    """A kind of rows.

    Args:
        said: what is read as what, for the line that says so; empty for the project's own fields.
        used: the keys that are read.
        make: the function from one value to its rows.
        arrange: the function that first puts the values of a whole file together.
        by_fields: whether each field has a key of its own.
    """

    said: str
    used: frozenset[str]
    make: Callable[[Any], Made]
    arrange: Callable[[Iterable[Value]], Iterator[Value]] = iter
    by_fields: bool = False


def recognise(values: Sequence[Value], settings: DataSource, *, name: str, fix: str) -> Shape:
    """The kind of a file's rows, from its first ones.

    Args:
        values: the first rows.
        settings: how the rows are read; its fields go before what is known.
        name: the user's name for the file, for messages.
        fix: what the user can do about a mistake in the file.

    Raises:
        ConfigError: download.data.fields names a key that no row has.
        DataError: the keys stand for nothing that is known. The message proposes a mapping.
    """
    rows = [value.value for value in values if isinstance(value.value, dict)]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    mapped = {ours: key for ours, key in settings.fields.model_dump().items() if key is not None}
    if absent := {ours: key for ours, key in mapped.items() if rows and key not in keys}:
        raise _of_absent(absent, mapped, keys, name)
    split = mapped.pop("split", None)
    shape = _kind(rows, keys, mapped, settings)
    if shape is None:
        raise _unknown(keys, mapped, name, len(values), fix)
    return shape if split is None else _with_split(shape, split)


def _kind(
    rows: Sequence[Mapping[str, Any]], keys: Sequence[str], mapped: Mapping[str, str], settings: DataSource
) -> Shape | None:
    """The kind of rows with these keys, None if it is not known."""
    for known in _KNOWN if keys else _KNOWN[:1]:
        names = _with(known, mapped)
        if not keys or all(names[ours] in keys for ours in known):
            return _fields(names, settings)
    if not mapped.keys() - {"category"}:
        category = mapped.get("category", "category")
        if (key := _chat(rows)) is not None:
            said = f"a row for each answer in {key!r}, with what was said before as its input"
            return Shape(said, frozenset({key, category}), _conversations(key, category, settings))
        if set(keys) >= message_trees.COLUMNS:
            said = "a row for the best reply to each message, with what was said before as its input"
            used = message_trees.COLUMNS | {"rank"}
            make = _conversations("messages", category, settings)
            return Shape(said, used, make, message_trees.conversations)
        if {"instruction", "instances"} <= set(keys):
            said = "a row for each input and output in 'instances'"
            return Shape(said, frozenset({"instruction", "instances", category}), _instances(category, settings))
    return None


def _with(known: Mapping[str, str], mapped: Mapping[str, str]) -> dict[str, str | None]:
    """The key of each field: a mapped one, else the known one, else the field's own name if no other field has it."""
    taken = {ours: key for ours, key in known.items() if key not in mapped.values()} | dict(mapped)
    return {ours: taken.get(ours, None if ours in taken.values() else ours) for ours in FIELDS}


def _fields(names: Mapping[str, str | None], settings: DataSource) -> Shape:
    """Rows with a key for each field."""
    renamed = [f"{ours} from {key!r}" for ours, key in names.items() if key not in (ours, None)]
    used = frozenset(key for key in names.values() if key is not None)
    return Shape(", ".join(renamed), used, lambda value: _checked(value, names, settings), by_fields=True)


def _with_split(shape: Shape, key: str) -> Shape:
    """The same rows, each with what a key says of its split."""

    def make(value: Any) -> Made:
        made = shape.make(value)
        found = value.get(key) if isinstance(value, dict) else None
        if wrong := dataset.mistake(found, required=True, present=isinstance(value, dict) and key in value):
            return Made([], [*made.problems, f"{key}: {wrong}"], made.hard)
        made.rows = [row | {"split": str(found)} for row in made.rows]
        return made

    return replace(shape, make=make, used=shape.used | {key})


def _checked(value: Any, names: Mapping[str, str | None], settings: DataSource) -> Made:
    """One row by its keys, with what makes it no use to a model among the problems."""
    cleaned = False
    key = names["input"]
    if settings.clean and isinstance(value, dict) and isinstance(found := value.get(key), str):
        cleaned = found != "" and (hard.is_placeholder(found) or not found.strip())
        if cleaned and not repeated_keys(value):
            value = {**value, key: ""}
    row, problems = dataset.check(value, names)
    if problems:
        return Made([], problems)
    for ours in ("instruction", "input", "output"):
        may_be = ours == "instruction" or (ours == "output" and settings.placeholder_answers)
        if problem := hard.mistake(row[ours], may_be_placeholder=may_be):
            how = _PLACEHOLDERS[ours] if "placeholder" in problem else ""
            problems.append(f"{names[ours]}: {problem}{how}")
    return Made([] if problems else [row], problems, bool(problems), cleaned and not problems)


def _chat(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The key under which rows hold conversations: a known one, or one whose values are turns."""
    keys = dict.fromkeys(key for row in rows for key in row)
    ordered = sorted(keys, key=lambda key: chats.KEYS.index(key) if key in chats.KEYS else len(chats.KEYS))
    return next((key for key in ordered if any(chats.is_conversation(key, row.get(key)) for row in rows)), None)


def _conversations(key: str, category: str, settings: DataSource) -> Callable[[Any], Made]:
    shown = key if key.isprintable() else repr(key)

    def make(value: Any) -> Made:
        if not isinstance(value, dict):
            return Made([], [f"expected an object with {shown}; found {dataset.describe(value)}"])
        problems = dataset.of_repeated_keys(value)
        if wrong := dataset.mistake(value.get(category) or "", required=False):
            problems.append(f"{category}: {wrong}")
        rows, of_turns, unanswered = chats.rows_of(
            value.get(key), shown, value.get(category), placeholder_answers=settings.placeholder_answers
        )
        problems += of_turns
        return Made([] if problems else rows, problems, hard=bool(problems), unanswered=unanswered)

    return make


def _instances(category: str, settings: DataSource) -> Callable[[Any], Made]:
    """Self-Instruct's seed tasks: an instruction with a list of inputs and outputs."""

    def make(value: Any) -> Made:
        found = value.get("instances") if isinstance(value, dict) else None
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found) or not found:
            return Made([], ["expected an object with instances, a list of objects with input and output"])
        made = Made([], dataset.of_repeated_keys(value))
        shared = {"instruction": value.get("instruction"), "category": value.get(category)}
        for number, one in enumerate(found, 1):
            part = _checked({**one, **shared}, _with(_KNOWN[0], {}), settings)
            made.rows += part.rows
            made.problems += [f"instances.{number}.{problem}" for problem in part.problems]
            made.hard |= part.hard
            made.cleaned |= part.cleaned
        return Made([], made.problems, made.hard) if made.problems else made

    return make


def _of_absent(absent: Mapping[str, str], mapped: Mapping[str, str], keys: Sequence[str], name: str) -> ConfigError:
    """The error for a mapping to keys that no row has."""
    rest = {ours: key for ours, key in mapped.items() if ours not in absent}
    right = {**likely(keys, rest), **rest}
    for ours, key in absent.items():
        if alike := difflib.get_close_matches(key, [one for one in keys if one not in rest.values()], n=1):
            right[ours] = alike[0]
    named = ", ".join(f"{ours}: {key!r}" for ours, key in absent.items())
    what = f"{KEY}: {named}: no row of {name} has {word(len(absent), 'that key', 'these keys')}; {_there(keys)}"
    wanted = proposal(right) if absent.keys() <= right.keys() else f"{KEY} to keys that are there"
    return ConfigError(what, f"set {wanted} in params.yaml")


def _unknown(keys: Sequence[str], mapped: Mapping[str, str], name: str, looked: int, fix: str) -> DataError:
    """The error for rows of no kind that is known, with the nearest mapping where there is one."""
    names = _with(_KNOWN[0], mapped)
    missing = [ours for ours in _REQUIRED if names[ours] not in keys]
    which = f"none of the first {LOOKED_AT:,} rows" if looked >= LOOKED_AT else "no row"
    what = f"{name}: {which} has {' or '.join(missing)}; {_there(keys)}"
    nearest = likely(keys, mapped)
    if all(ours in nearest or ours in keys for ours in _REQUIRED):
        return DataError(f"{what}\n  did you mean {proposal(nearest)}", f"set {proposal(nearest)} in params.yaml")
    how = f"set {KEY} to the keys of the instruction and of the output, such as {KEY}: {{output: response}}"
    return DataError(what, f"{how}; or {fix}")


def are_known(keys: Sequence[str]) -> bool:
    """Whether a key among these is one of our fields, or is known to stand for one."""
    known = {*FIELDS, *chats.KEYS, *(one for words in _SYNONYMS.values() for one in words)}
    return any(key.lower() in known for key in keys)


def _there(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _SHOWN:,} more" if len(keys) > _SHOWN else ""
    return f"the rows have {', '.join(map(repr, keys[:_SHOWN]))}{more}"


def likely(keys: Sequence[str], mapped: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """The key that most likely stands for each field that no key names: a known word for it, or one spelt alike.

    Args:
        keys: keys of the rows.
        mapped: keys that are given already, by field.
    """
    found = dict(mapped)
    plain = {re.sub(r"[\W_]+", "", key).lower(): key for key in reversed(keys)}
    for ours in FIELDS:
        if ours in found or (ours in keys and not (ours == "input" and "instruction" not in keys)):
            continue
        words = (ours, *_SYNONYMS[ours])
        if near := next((plain[one] for one in words if one in plain and plain[one] not in found.values()), None):
            found[ours] = near
        elif ours in _REQUIRED and (alike := difflib.get_close_matches(ours, plain, n=1, cutoff=0.7)):
            found[ours] = plain[alike[0]]
    if found.get("instruction") == "input":
        found.pop("input", None)
    return found


def proposal(mapping: Mapping[str, str]) -> str:
    """A mapping as it can be pasted: ``download.data.fields: {output: response}``."""
    return f"{KEY}: {{{', '.join(f'{ours}: {_yaml(key)}' for ours, key in mapping.items())}}}"


def _yaml(key: str) -> str:
    """A text as YAML has it within braces; in quotation marks unless it is plainly a name."""
    plain = re.fullmatch(r"[A-Za-z_][\w-]*", key, flags=re.ASCII) and key.lower() not in (
        *("null", "true", "false", "yes", "no", "on", "off", "y", "n"),
    )
    return key if plain else json.dumps(key)
