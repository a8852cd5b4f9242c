"""Which keys of a file hold which field: what is proposed where nothing is recognised, and how that is said."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from stages.common import proposals
from stages.common.errors import ConfigError, DataError
from stages.common.plurals import word
from stages.download.dataset import FIELDS
from stages.download.formats import chats

KEY = "download.data.fields"
REQUIRED = ("instruction", "output")
#: The number of rows by whose keys a dataset is recognised.
LOOKED_AT = 1000

#: What other datasets call our fields, in small letters, the commonest first.
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
#: What they call the category, which may be other things too, so that the values are looked at.
_CATEGORIES = (
    *("category", "categories", "categoryname", "topic", "topics", "subject", "subjects", "theme", "domain", "field"),
    *("area", "skill", "capability", "tasktype", "taskname", "task", "questiontype", "type", "kind", "genre", "class"),
    *("classification", "label", "labels", "tag", "tags", "group", "section", "chapter", "unit", "intent"),
    *("difficulty", "level", "language", "lang"),
)
#: The fewest rows that a value of a category has on average, and the longest such value, in characters.
_ROWS_OF_ONE = 3
_LONGEST = 60
_SHOWN = 12


def are_known(keys: Sequence[str]) -> bool:
    """Whether a key among these is one of our fields, or is known to stand for one."""
    known = {*FIELDS, *chats.KEYS, *(one for words in _SYNONYMS.values() for one in words)}
    return any(key.lower() in known for key in keys)


def likely(keys: Sequence[str], mapped: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """The key that most likely stands for each field that no key names: a known word for it, or one spelt alike.

    No key stands for two fields, so that `stages.params.download.DataFields` takes what is found.

    Args:
        keys: keys of the rows.
        mapped: keys that are given already, by field.

    >>> likely(["Input", "Output"])
    {'instruction': 'Input', 'output': 'Output'}
    """
    found = dict(mapped)
    for ours, synonyms in _SYNONYMS.items():
        if _has_key(ours, found, keys):
            continue
        free = _plain([key for key in keys if key not in found.values()])
        if near := next((free[one] for one in (ours, *synonyms) if one in free), None):
            found[ours] = near
        elif ours in REQUIRED and (alike := difflib.get_close_matches(ours, free, n=1, cutoff=0.7)):
            found[ours] = free[alike[0]]
    return found


def likely_input(keys: Sequence[str]) -> str | None:
    """The key that most likely stands for the input, where instruction and output have theirs; None if there is none.

    Args:
        keys: the keys that are not read. One that is called input is passed over: another key was chosen for it.
    """
    free = _plain([key for key in keys if key != "input"])
    return next((free[one] for one in ("input", *_SYNONYMS["input"]) if one in free), None)


def _has_key(ours: str, found: Mapping[str, str], keys: Sequence[str]) -> bool:
    """Whether a key is known for a field: one that was found, or one of its name that stands for no other field."""
    others = (key for field, key in found.items() if field != "split")  # the key of the split may hold a field too
    return ours in found or (ours in keys and ours not in others)


def category(rows: Sequence[Mapping[str, Any]], used: Sequence[str]) -> str | None:
    """The key that is likely a category: named so, and with few short values for many rows; None if there is none.

    Args:
        rows: the first rows.
        used: keys that stand for another field.
    """
    plain = _plain(list(dict.fromkeys(key for row in rows for key in row)))
    candidates = [plain[one] for one in _CATEGORIES if one in plain]
    return next((key for key in candidates if key not in used and _has_few_values(rows, key)), None)


def _has_few_values(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    values = [value for row in rows if (value := row.get(key)) not in (None, "")]
    if not all(isinstance(value, str) and len(value) <= _LONGEST for value in values):
        return False
    return 1 < len(set(values)) <= len(values) / _ROWS_OF_ONE


def _plain(keys: Sequence[str]) -> dict[str, str]:
    """Each key by its letters and digits alone, in small letters."""
    return {re.sub(r"[\W_]+", "", key).lower(): key for key in reversed(keys)}


def _nearest(rows: Sequence[Mapping[str, Any]], keys: Sequence[str], mapped: Mapping[str, str]) -> dict[str, str]:
    """The nearest mapping."""
    found = likely(keys, mapped)
    if not _has_key("category", found, keys) and (key := category(rows, list(found.values()))):
        found["category"] = key
    return found


def of_absent(
    absent: Mapping[str, str],
    mapped: Mapping[str, str],
    keys: Sequence[str],
    *,
    name: str,
    in_a_mix: bool,
) -> ConfigError:
    """The error for a mapping to keys that no row has.

    Args:
        absent: those keys, by field.
        mapped: all keys that are given, by field.
        keys: all keys of the first rows.
        name: the user's name for the file.
        in_a_mix: whether it is one of several sources.
    """
    right = {ours: key for ours, key in mapped.items() if ours not in absent}
    for ours, key in absent.items():
        # The key of the split may hold another field too.
        taken = [one for other, one in right.items() if "split" not in (ours, other)]
        if alike := difflib.get_close_matches(key, [one for one in keys if one not in taken], n=1):
            right[ours] = alike[0]
    right = likely(keys, right)
    named = ", ".join(f"{ours}: {key!r}" for ours, key in absent.items())
    what = f"{KEY}: {named}: no row of {name} has {word(len(absent), 'that key', 'these keys')}; {_there(keys)}"
    if absent.keys() <= right.keys():
        return ConfigError(what, proposal(right, in_a_mix=in_a_mix))
    return ConfigError(what, f"set {KEY} to keys that are there, in params.yaml")


def unknown(
    rows: Sequence[Mapping[str, Any]],
    keys: Sequence[str],
    mapped: Mapping[str, str],
    *,
    missing: Sequence[str],
    name: str,
    fix: str,
    in_a_mix: bool,
) -> DataError:
    """The error for rows of no kind that is known, with the nearest mapping where there is one.

    Args:
        rows: the first rows.
        keys: all keys of these rows.
        mapped: all keys that are given, by field.
        missing: the fields that no key holds.
        name: the user's name for the file.
        fix: what the user can do about a mistake in the file.
        in_a_mix: whether it is one of several sources.
    """
    which = f"none of the first {LOOKED_AT:,} rows" if len(rows) >= LOOKED_AT else "no row"
    what = f"{name}: {which} has {' or '.join(missing)}; {_there(keys)}"
    nearest = _nearest(rows, keys, mapped)
    if all(_has_key(ours, nearest, keys) for ours in REQUIRED):
        said = ", ".join(f"{key!r} for {ours}" for ours, key in _in_order(nearest).items())
        return DataError(f"{what}\n  did you mean {said}?", proposal(nearest, in_a_mix=in_a_mix))
    how = f"set {KEY} to the keys of the instruction and of the output, {_example(keys, nearest)}"
    return DataError(what, f"{how}; or {fix}")


def _example(keys: Sequence[str], found: Mapping[str, str]) -> str:
    """An option with keys of the file: of two keys, the first is as likely as not what is asked.

    Args:
        keys: all keys.
        found: those that are given or found, by field.
    """
    # A column without a name cannot be given. Where the file has too few keys, a word stands for one.
    free = (key for key in keys if key and key not in found.values() and key not in REQUIRED)
    named = {ours: ours if _has_key(ours, found, keys) else next(free, f"{ours.upper()}_KEY") for ours in REQUIRED}
    return f"such as {proposals.option(KEY, _in_order({**named, **found}))}"


def _in_order(mapping: Mapping[str, str]) -> dict[str, str]:
    """A mapping in the order of the fields in params.yaml."""
    return {ours: mapping[ours] for ours in (*FIELDS, "split") if ours in mapping}


def _there(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _SHOWN:,} more" if len(keys) > _SHOWN else ""
    return f"the rows have {', '.join(map(repr, keys[:_SHOWN]))}{more}"


def proposal(mapping: Mapping[str, str], *, in_a_mix: bool = False) -> str:
    """How to set a mapping, in forms that can be pasted.

    Args:
        mapping: the key of each field.
        in_a_mix: whether it is that of one of several sources, which are a list.
    """
    ordered = _in_order(mapping)
    if in_a_mix:
        return f"set {KEY} to {proposals.flow(ordered)} in params.yaml"
    return proposals.fix({KEY: ordered})
