"""JSON as data has it: objects remember keys that were given twice, and a mistake is said by line and column."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


class Object(dict[str, Any]):
    """A JSON object that remembers which of its keys were given more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated: list[str] = []
        if len(self) < len(pairs):
            self.repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]


def parse(text: str, line: int | None = None) -> tuple[Any, str | None]:
    """A JSON text as (value, None), or as (None, what is wrong with it).

    Args:
        text: the JSON.
        line: number of the text's only line in its file, from 1; None: the text is the whole file.
    """
    try:
        return json.loads(text, object_pairs_hook=Object), None
    except json.JSONDecodeError as error:
        where = f"line {line or error.lineno}, column {error.colno}"
        return None, f"not valid JSON at {where}: {error.msg.removesuffix(' at')}"
    except RecursionError:
        return None, "not JSON that can be read: lists or objects are nested too deeply"
    except ValueError:
        return None, "not JSON that can be read: a number has thousands of digits"


def repeated_keys(value: Any) -> list[str]:
    """The keys that are given more than once, with those above them, at any depth of a value: ``meta.source``."""
    found: list[str] = []
    left = [("", value)]
    while left:  # no recursion: a value may be nested as deeply as the parser allows
        path, inner = left.pop()
        if isinstance(inner, Object):
            found += [path + key for key in inner.repeated]
            left += [(f"{path}{key}.", item) for key, item in inner.items()]
        elif isinstance(inner, list):
            left += [(f"{path}{number}.", item) for number, item in enumerate(inner, 1)]
    return found
