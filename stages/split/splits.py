"""How the dataset's rows get their ids and are divided into train, test and val."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Sequence

from stages.common.errors import ConfigError
from stages.common.results.split import SPLITS, Example
from stages.download.dataset import Row
from stages.params.split import Split

_ID_DIGITS = 12


def with_ids(rows: Sequence[Row]) -> list[Example]:
    """Give every row its id: the first 12 hexadecimal digits of the SHA-256 of instruction, input and output.

    A row keeps its id when other rows are added, removed or reordered. The second row with the same digits gets the
    suffix ``-2``, the third ``-3``, in the order of the rows.
    """
    seen: Counter[str] = Counter()
    examples = []
    for row in rows:
        text = json.dumps([row["instruction"], row["input"], row["output"]], ensure_ascii=False, separators=(",", ":"))
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()[:_ID_DIGITS]
        seen[digest] += 1
        suffix = f"-{seen[digest]}" if seen[digest] > 1 else ""
        examples.append(Example(id=digest + suffix, **row))
    return examples


def divide(examples: Sequence[Example], settings: Split) -> dict[str, list[Example]]:
    """Divide rows into train, test and val, each in the order of its rows.

    With n rows, ``int(n * train)`` train, the next ``int(n * test)`` test and the rest validate, as in the book
    (chapter 7.2: 1,100 rows become 935, 110 and 55).

    Args:
        examples: rows of the dataset.
        settings: section split of params.yaml.

    Returns:
        The rows of each split, by its name, in the order of `SPLITS`.

    Raises:
        ConfigError: a split would have no row.
    """
    ordered = shuffled(examples, settings.seed) if settings.method == "shuffle" else list(examples)
    train = int(len(ordered) * settings.train)
    test = train + int(len(ordered) * settings.test)
    division = dict(zip(SPLITS, (ordered[:train], ordered[train:test], ordered[test:]), strict=True))
    if empty := [name for name, rows in division.items() if not rows]:
        sizes = ", ".join(f"{len(rows)} {name}" for name, rows in division.items())
        raise ConfigError(
            f"{len(ordered)} rows in shares of {settings.train} train and {settings.test} test make {sizes}: "
            f"{' and '.join(empty)} would be empty",
            "change split.train and split.test in params.yaml, or add rows to the dataset",
        )
    return division


def shuffled(examples: Sequence[Example], seed: int) -> list[Example]:
    """The rows in a random order: sorted by a draw of ``random.Random(seed).random()`` for each.

    Python promises that ``random()`` gives the same numbers in later versions, and promises it of no other method
    (https://docs.python.org/3/library/random.html#notes-on-reproducibility). numpy does not promise it of its shuffle.
    """
    generator = random.Random(seed)  # noqa: S311 not a secret
    draws = [generator.random() for _ in examples]
    return [examples[index] for index in sorted(range(len(examples)), key=draws.__getitem__)]
