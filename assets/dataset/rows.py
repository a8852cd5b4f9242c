"""Row, the one shape of an entry, and `deal`, the way a table becomes rows.

Every table module offers `rows(rng_for) -> list[Row]`, where `rng_for(category)` is that category's
own generator: changing one table leaves the rows of every other category as they were.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")
RngFor = Callable[[str], random.Random]
Slots = Mapping[str, str]


class Row(NamedTuple):
    instruction: str
    input: str
    output: str
    category: str


class Ask(NamedTuple):
    """One phrasing of a category's question; both texts may hold `{slot}` fields."""

    instruction: str
    input: str = ""


def deal(category: str, asks: Sequence[Ask], items: Sequence[Slots], rng: random.Random) -> list[Row]:
    """One row per item, its answer in the slot `answer`; the phrasings take turns.

    The items are shuffled first, so that no phrasing belongs to one half of a table.

    asks  = [Ask("What is the plural of '{word}'?"), Ask("Give the plural.", "{word}")]
    items = [{"word": "fox", "answer": "The plural of 'fox' is 'foxes'."}, ...]
    """
    order = list(items)
    rng.shuffle(order)
    dealt = []
    for turn, slots in enumerate(order):
        ask = asks[turn % len(asks)]
        dealt.append(
            Row(
                ask.instruction.format(**slots),
                ask.input.format(**slots),
                slots["answer"],
                category,
            )
        )
    return dealt


def take(items: Sequence[T], count: int, rng: random.Random) -> list[T]:
    """`count` different items, drawn by `rng`."""
    if count > len(items):
        raise ValueError(f"take: count must be at most {len(items)} (got {count})")
    return rng.sample(list(items), count)


def with_article(noun: str) -> str:
    """'fox' -> 'a fox', 'owl' -> 'an owl'; no noun in the tables sounds unlike its first letter."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def capitalised(text: str) -> str:
    """'a fox' -> 'A fox', leaving the rest alone (str.capitalize would lower it)."""
    return text[0].upper() + text[1:]
