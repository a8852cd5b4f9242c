"""Which answers are graded, and in which order: at random, from every category in its share, of both models alike."""

from __future__ import annotations

import random
from collections.abc import Sequence

from flows.grading.answers import Item


def drawn(items: Sequence[Item], rows: int, seed: str) -> list[Item]:
    """The answers to ``rows`` rows, shuffled.

    All answers to a drawn row are graded, so that each model has as many grades and a row's difference is known. The
    rows of a category are evenly spread over one order of all rows, of which the first ones are taken (systematic
    sampling, Cochran, Sampling Techniques, 1977, chapter 8). So each row is nearly as likely as any other, each
    category has its share, and the rows of a smaller sample are in a larger one.

    The order is that of all answers, whether the judge has scored them or not: one invalid verdict, or another judge,
    draws no other sample, of which nothing is graded. Answers without a score are then left out, as they are in no
    mean; a row of which all are without one gives its place to the next.

    Args:
        items: all answers of the run.
        rows: number of rows; all that have a scored answer if they are fewer.
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
    shown = {item.id for item in items if item.scored}
    chosen = set([id for _, id in sorted(places) if id in shown][:rows])
    mixed = list(items)
    order.shuffle(mixed)
    return [item for item in mixed if item.id in chosen and item.scored]
