"""What the benchmarks' arguments are read with."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable


def at_least(least: int) -> Callable[[str], int]:
    """The type of a whole number that is not below ``least``."""

    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, found {text!r}")
        return int(text)

    return whole


def names_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """The type of names separated by commas, each counted once; an empty text is none."""
    there = list(known)

    def names(text: str) -> list[str]:
        found = [name.strip() for name in text.split(",") if name.strip()]
        if unknown := [name for name in found if name not in there]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(there)}")
        return list(dict.fromkeys(found))

    return names
