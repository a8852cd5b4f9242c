"""What the rows of a file hold, recognised by their keys, and how each becomes rows of the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stages.download import dataset
from stages.download.dataset import FIELDS, Row
from stages.download.formats import chats, hard, mappings, message_trees
from stages.download.formats.mappings import REQUIRED
from stages.download.formats.values import Value
from stages.download.json_values import repeated_keys
from stages.params.download import DataSource

#: Keys that name our fields without a setting. Each set is whole: `response` alone might be anything.
_KNOWN: tuple[dict[str, str], ...] = (
    {"instruction": "instruction", "output": "output"},  # Stanford Alpaca
    {"instruction": "instruction", "input": "context", "output": "response"},  # Dolly 15k
    {"instruction": "prompt", "output": "completion"},  # OpenAI's completions, Self-Instruct
)


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
        cleaned: whether a placeholder was taken out of the input.
        unanswered: number of questions at the end of a conversation.
    """

    rows: list[Row]
    problems: list[str] = field(default_factory=list)
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
        category: a key that is not read and is likely a category; None where there is none.
    """

    said: str
    used: frozenset[str]
    make: Callable[[Any], Made]
    arrange: Callable[[Iterable[Value]], Iterator[Value]] = iter
    by_fields: bool = False
    category: str | None = None


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
        raise mappings.of_absent(absent, mapped, keys, name=name, in_a_mix=settings.in_a_mix)
    fields = {ours: key for ours, key in mapped.items() if ours != "split"}
    split = mapped.get("split")
    shape = _kind(rows, keys, fields, settings)
    if shape is None:
        names = _with(_KNOWN[0], fields)
        missing = [ours for ours in REQUIRED if names[ours] not in keys]
        raise mappings.unknown(rows, keys, mapped, missing=missing, name=name, fix=fix, in_a_mix=settings.in_a_mix)
    if "category" not in keys and "category" not in fields:
        shape = replace(shape, category=mappings.category(rows, [*shape.used, *([split] if split else [])]))
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
            return Made([], [*made.problems, f"{key}: {wrong}"])
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
    return Made([] if problems else [row], problems, cleaned and not problems)


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
        return Made([] if problems else rows, problems, unanswered=unanswered)

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
            made.cleaned |= part.cleaned
        return Made([], made.problems) if made.problems else made

    return make
