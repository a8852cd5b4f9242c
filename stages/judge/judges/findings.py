"""What the built-in judge finds of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: The most points of an answer that is not right; the more of what decides is there, the more of them it gets.
MOST_WRONG = 50.0


@dataclass(frozen=True)
class Finding:
    """What was found of an answer.

    Attributes:
        right: whether it is right; None where that cannot be said, for want of a single right answer.
        score: points from 0 to 100; None if and only if ``right`` is.
        why: what decided, for people.
    """

    right: bool | None
    score: float | None
    why: str


def right(why: str, score: float = 100.0) -> Finding:
    """An answer that is right."""
    return Finding(True, score, why)


def wrong(why: str, share: float = 0.0) -> Finding:
    """An answer that is not right, but has a share of what is wanted, from 0 to 1."""
    return Finding(False, round(MOST_WRONG * share, 2), why)


def some(words: Sequence[str], most: int = 5) -> str:
    """The first of some words, for people."""
    return ", ".join(words[:most]) + ("…" if len(words) > most else "")
