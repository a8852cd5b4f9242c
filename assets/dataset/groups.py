"""classification, odd_one_out, sorting: questions about lists of words (and, for sorting, numbers)."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

from assets.dataset.rows import Ask, RngFor, Row, capitalised, deal, take, with_article
from assets.dataset.vocabulary import GROUPS

SINGLES_PER_GROUP = 4
TRIOS_PER_GROUP = 30
ODD_ONES = 100
SORTED_WORDS, SORTED_UP, SORTED_DOWN = 18, 12, 10

ASK_KIND_OF_ONE = (
    Ask("What kind of thing is {thing}?"),
    Ask("Say what kind of thing this word names.", "{word}"),
    Ask("Complete the sentence: {Thing} is ..."),
    Ask("Which category does the word '{word}' belong to?"),
)
ASK_KIND_OF_THREE = (
    Ask("What are all of these?", "{list}"),
    Ask("Name the group that these words belong to.", "{list}"),
    Ask("Classify these words.", "{list}"),
)
ASK_ODD = (
    Ask("Which word is the odd one out?", "{list}"),
    Ask("Find the word that does not belong with the others.", "{list}"),
    Ask("Pick the odd one out: {list}."),
    Ask("One of these words is not like the others. Which one?", "{list}"),
)
ASK_ALPHABETICAL = (
    Ask("Sort these words in alphabetical order.", "{list}"),
    Ask("Put the words into alphabetical order.", "{list}"),
    Ask("Arrange these words from A to Z: {list}."),
)
ASK_ASCENDING = (
    Ask("Sort these numbers from smallest to largest.", "{list}"),
    Ask("Put the numbers into ascending order.", "{list}"),
)
ASK_DESCENDING = (
    Ask("Sort these numbers from largest to smallest.", "{list}"),
    Ask("Put the numbers into descending order.", "{list}"),
)


def classification(rng: random.Random) -> list[Row]:
    ones, threes = [], []
    for group in GROUPS:
        for word in take(group.words, SINGLES_PER_GROUP, rng):
            thing = with_article(word)
            ones.append(
                {
                    "word": word,
                    "thing": thing,
                    "Thing": capitalised(thing),
                    "answer": f"{capitalised(thing)} is {with_article(group.singular)}.",
                }
            )
        for trio in take(list(combinations(group.words, 3)), TRIOS_PER_GROUP, rng):
            threes.append({"list": ", ".join(trio), "answer": f"These are all {group.plural}."})
    return [
        *deal("classification", ASK_KIND_OF_ONE, ones, rng),
        *deal("classification", ASK_KIND_OF_THREE, threes, rng),
    ]


def odd_one_out(rng: random.Random) -> list[Row]:
    items = []
    for number in range(ODD_ONES):
        group = GROUPS[number % len(GROUPS)]
        odd = rng.choice(rng.choice([other for other in GROUPS if other != group]).words)
        four = [*take(group.words, 3, rng), odd]
        rng.shuffle(four)
        items.append(
            {
                "list": ", ".join(four),
                "answer": f"The odd one out is '{odd}', because the others are {group.plural}.",
            }
        )
    return deal("odd_one_out", ASK_ODD, items, rng)


def sorting(rng: random.Random) -> list[Row]:
    every_word = [word for group in GROUPS for word in group.words]
    words = [_sorting_item(take(every_word, 4, rng), rng) for _ in range(SORTED_WORDS)]
    up = [_sorting_item(take(range(2, 100), 4, rng), rng) for _ in range(SORTED_UP)]
    down = [_sorting_item(take(range(2, 100), 4, rng), rng, reverse=True) for _ in range(SORTED_DOWN)]
    return [
        *deal("sorting", ASK_ALPHABETICAL, words, rng),
        *deal("sorting", ASK_ASCENDING, up, rng),
        *deal("sorting", ASK_DESCENDING, down, rng),
    ]


def _sorting_item(values: list[Any], rng: random.Random, reverse: bool = False) -> dict[str, str]:
    """The list to sort and its sorted form; a list that came out sorted is shuffled again."""
    in_order = sorted(values, reverse=reverse)
    while values == in_order:
        rng.shuffle(values)
    return {"list": ", ".join(map(str, values)), "answer": ", ".join(map(str, in_order))}


def rows(rng_for: RngFor) -> list[Row]:
    return [
        *classification(rng_for("classification")),
        *odd_one_out(rng_for("odd_one_out")),
        *sorting(rng_for("sorting")),
    ]
