"""Which answers are graded, and in which order: at random, from every category in its share, of both models alike."""

from __future__ import annotations

import random
from collections.abc import Sequence

from flows.grading.answers import Item


def drawn(items: Sequence[Item], rows: int, seed: str) -> list[Item]:
    """The answers to ``rows`` rows, shuffled.

    All answers to a drawn row are graded, so that each model has as many grades and a row's difference is known. The
    rows of a category are evenly spread over one order of all rows, of which the first ones are taken (systematic
    sampling, Cochran, Sampling Techniques, 1977, chapter 8). So each row is as likely as any other, each category has
    its share, and the rows of a smaller sample are in a larger one.

    Args:
        items: all answers.
        rows: number of rows; all if there are fewer.
        seed: seed of the draw.
    """
    order = random.Random(seed)  # noqa: S311
    categories: dict[str, list[str]] = {}
    for item in items:
        members = categories.setdefault(item.category, [])
        if item.id not in members[-1:]:
            members.append(item.id)
    places: list[tuple[float, str]] = []
    for category in sorted(categories):
        ids = categories[category]
        order.shuffle(ids)
        start = order.random()
        places += [((number + start) / len(ids), id) for number, id in enumerate(ids)]
    chosen = {id for _, id in sorted(places)[:rows]}
    found = [item for item in items if item.id in chosen]
    order.shuffle(found)
    return found
