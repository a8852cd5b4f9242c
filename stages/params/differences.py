"""Two trees of params.yaml beside each other: the values that differ, and how a value is shown. Knows no section."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

#: What `differences` gives where a tree has no such key.
ABSENT = object()


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The values that differ between two trees of params.yaml: dotted key, value before and now; `ABSENT` without one.

    Where only one of the trees has a mapping, as with finetune.lora, the mapping is one value.
    """
    for key in [*before, *(key for key in now if key not in before)]:
        a, b = before.get(key, ABSENT), now.get(key, ABSENT)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differences(a, b, f"{prefix}{key}.")
        elif a != b or isinstance(a, bool) != isinstance(b, bool):
            yield f"{prefix}{key}", a, b


def shown(value: Any) -> str:
    """A value as it can be written after `--set KEY=`, on one line."""
    if value is ABSENT:
        return "absent"
    plain = isinstance(value, str) and value and value not in ("null", "true", "false") and " " not in value
    return value if plain else json.dumps(value, ensure_ascii=False)
