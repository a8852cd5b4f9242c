"""How the dataset's rows get their ids and are divided into train, test and val."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from stages.common.errors import ConfigError, DataError
from stages.common.plurals import counted
from stages.common.results.download import DATASET
from stages.common.results.split import SPLITS, Example
from stages.download.dataset import Row
from stages.params.split import Split
from stages.split.digests import digest
from stages.split.groups import Groups
from stages.split.stored import pick

T = TypeVar("T")

_ID_DIGITS = 12
#: What the category of a row may be where it names the row's split.
_NAMES = {"train": "train", "test": "test", "val": "val", "validation": "val", "valid": "val", "dev": "val"}


def named(rows: Iterable[Row], places: list[str] | None = None) -> Iterator[Example]:
    """Give every row its id: the first 12 hexadecimal digits of the SHA-256 of instruction, input and output.

    A row keeps its id when other rows are added, removed or reordered. The second row with the same digits gets the
    suffix ``-2``, the third ``-3``, in the order of the rows.

    Args:
        rows: the rows.
        places: list that takes what each row says of its split: its field ``split``, else its category.
    """
    seen: dict[int, int] = {}
    for row in rows:
        text = json.dumps([row["instruction"], row["input"], row["output"]], ensure_ascii=False, separators=(",", ":"))
        first = hashlib.sha256(text.encode("utf-8")).hexdigest()[:_ID_DIGITS]
        number = int(first, 16)
        seen[number] = seen.get(number, 0) + 1
        suffix = f"-{seen[number]}" if seen[number] > 1 else ""
        if places is not None:
            places.append(sys.intern(row.get("split", row["category"])))
        yield Example(id=first + suffix, **{key: text for key, text in row.items() if key != "split"})


def with_ids(rows: Iterable[Row]) -> list[Example]:
    """All rows of `named` in main memory."""
    return list(named(rows))


def divide(
    examples: Sequence[Example],
    settings: Split,
    groups: Sequence[int] | None = None,
    places: Sequence[str] | None = None,
) -> dict[str, Sequence[Example]]:
    """Divide rows into train, test and val.

    With n rows, ``int(n * train)`` are train, ``int(n * test)`` test, and the rest validate, as in the book (chapter
    7.2: 1,100 rows become 935, 110 and 55). ``order``, ``shuffle`` and ``stratified`` have exactly these sizes.
    ``grouped`` has at most as many test rows and as many validation rows: a group is never divided. The sizes of
    ``hashed`` come close to these the more rows there are, and those of ``predefined`` are the file's.

    Args:
        examples: rows of the dataset.
        settings: section split of params.yaml.
        groups: number of the group of near duplicates (`stages.split.checks.near`) of each row; only ``grouped`` needs
            it.
        places: what each row says of its split, for ``predefined``; None: its category.

    Returns:
        The rows of each split, by its name, in the order of `SPLITS`. Within a split, ``shuffle`` keeps its own order,
        and the other methods that of the file.

    Raises:
        ConfigError: a split would have no row.
        DataError: ``predefined``, and a row does not name a split.
    """
    train, test = int(len(examples) * settings.train), int(len(examples) * settings.test)
    match settings.method:
        case "order":
            names = in_turn(range(len(examples)), train, test)
        case "shuffle":
            order = shuffled(range(len(examples)), settings.seed)
            parts = order[:train], order[train : train + test], order[train + test :]
            division = {name: pick(examples, part) for name, part in zip(SPLITS, parts, strict=True)}
            return _with_rows(division, settings)
        case "stratified":
            names = in_turn(stratified([sys.intern(row.category) for row in examples], settings.seed), train, test)
        case "grouped":
            if groups is None:
                raise ValueError("grouped: expected groups, found None")
            joined = with_equal_instructions(examples, groups)
            names = whole_groups(joined, test, len(examples) - train - test, settings.seed)
        case "hashed":
            names = [hashed(row, settings) for row in examples]
        case "predefined":
            names = predefined([row.category for row in examples] if places is None else places)
    return _with_rows(_by_name(examples, names), settings)


def _by_name(examples: Sequence[Example], names: Sequence[str]) -> dict[str, Sequence[Example]]:
    numbers: dict[str, list[int]] = {name: [] for name in SPLITS}
    for number, name in enumerate(names):
        numbers[name].append(number)
    return {name: pick(examples, part) for name, part in numbers.items()}


def _with_rows(division: dict[str, Sequence[Example]], settings: Split) -> dict[str, Sequence[Example]]:
    """The division itself, if every split has a row."""
    empty = [name for name, rows in division.items() if not rows]
    if not empty:
        return division
    sizes = ", ".join(f"{len(rows)} {name}" for name, rows in division.items())
    total = sum(len(rows) for rows in division.values())
    shares = f" in shares of {settings.train} train and {settings.test} test"
    by = f" by split.method {settings.method}" if settings.method in ("grouped", "hashed") else ""
    raise ConfigError(
        f"{total} rows{'' if settings.method == 'predefined' else shares}{by} make {sizes}: "
        f"{' and '.join(empty)} would be empty",
        _WAYS_OUT.get(settings.method, "change split.train and split.test in params.yaml, or add rows to the dataset"),
    )


#: What helps where a split would be empty, for the methods whose sizes do not follow from the shares alone.
_WAYS_OUT = {
    "grouped": "set split.method to shuffle or stratified in params.yaml: the groups of near duplicates and of rows "
    "with equal instructions are too large for the shares",
    "hashed": "change split.seed, split.train or split.test in params.yaml, or add rows to the dataset",
    "predefined": "name each of train, test and val in a row, or change split.method in params.yaml",
}


def in_turn(order: Sequence[int], train: int, test: int) -> list[str]:
    """The split of each row: of the first ``train`` rows of an order train, of the next ``test`` test, else val.

    >>> in_turn([2, 0, 1], train=1, test=1)
    ['test', 'val', 'train']
    """
    names = [SPLITS[2]] * len(order)
    for position, number in enumerate(order[: train + test]):
        names[number] = SPLITS[0] if position < train else SPLITS[1]
    return names


def stratified(categories: Sequence[str], seed: int) -> list[int]:
    """The numbers of the rows in an order of which any part has the share of each category that all rows have.

    The k-th of a category's n shuffled rows, counted from 0, comes at (k + 1/2) / n of the way. Of a part of the order
    between two places, a category has its share of the rows, give or take one (systematic sampling).

    >>> stratified(["a", "b", "a", "a", "a"], seed=1)[2]
    1
    """
    order = shuffled(range(len(categories)), seed)
    sizes, seen = Counter(categories), Counter[str]()
    places: list[tuple[float, int]] = []
    for number in order:
        category = categories[number]
        places.append(((seen[category] + 0.5) / sizes[category], number))
        seen[category] += 1
    # Rows of several categories at one place stay in their shuffled order.
    return [number for _, number in sorted(places, key=lambda one: one[0])]


def with_equal_instructions(examples: Sequence[Example], groups: Sequence[int]) -> list[int]:
    """Groups of rows joined where rows of two of them have the same instruction; for each row, its group's first row.

    Args:
        examples: rows of the dataset.
        groups: number of the first row of each row's group.
    """
    joined = Groups(len(examples))
    first: dict[int, int] = {}
    for number, (row, group) in enumerate(zip(examples, groups, strict=True)):
        joined.join(number, group)
        joined.join(number, first.setdefault(digest(" ".join(row.instruction.casefold().split())), number))
    return [joined.of(number) for number in range(len(examples))]


def whole_groups(groups: Sequence[int], test: int, val: int, seed: int) -> list[str]:
    """The split of each row, where no group is divided.

    The groups come in a random order. Each goes to test if it has room for the whole group, else to val if that has,
    else to train. So test and val have their exact sizes where enough groups are of one row, and fewer rows otherwise.

    Args:
        groups: group of each row.
        test: number of test rows.
        val: number of validation rows.
        seed: seed of the order.
    """
    sizes = Counter(groups)
    left = {"test": test, "val": val}
    names: dict[int, str] = {}
    for group in shuffled(list(sizes), seed):
        names[group] = next((name for name, room in left.items() if sizes[group] <= room), "train")
        if names[group] in left:
            left[names[group]] -= sizes[group]
    return [names[group] for group in groups]


def hashed(row: Example, settings: Split) -> str:
    """The split of a row by its prompt and the seed alone, so that it stays where it is whatever rows are added.

    The first 53 bits of the SHA-256 are a number from 0 up to 1: below split.train it is train, and so on.
    """
    text = json.dumps([settings.seed, row.instruction, row.input], ensure_ascii=False, separators=(",", ":"))
    place = (int(hashlib.sha256(text.encode("utf-8")).hexdigest()[:16], 16) >> 11) / 2**53
    if place < settings.train:
        return "train"
    return "test" if place < settings.train + settings.test else "val"


def predefined(places: Sequence[str]) -> list[str]:
    """The split of each row as it says: train, test or val; validation, valid and dev are val as well.

    Args:
        places: what each row says of its split.

    Raises:
        DataError: a row says none of these; the message names the first such rows.
    """
    names = [_NAMES.get(place.strip().casefold()) for place in places]
    wrong = [number for number, name in enumerate(names) if name is None]
    if wrong:
        first = ", ".join(f"row {number + 1} {places[number][:40]!r}" for number in wrong[:5])
        raise DataError(
            f"{DATASET}: split.method predefined: expected train, test or val in every row, found "
            f"{counted(len(wrong), 'row')} with another: {first}",
            "set download.data.fields.split in params.yaml to the key that names the split of a row, which is the "
            "category otherwise; or change split.method",
        )
    return [name for name in names if name is not None]


def shuffled(examples: Sequence[T], seed: int) -> list[T]:
    """Rows, or what else is given, in a random order: sorted by a draw of ``random.Random(seed).random()`` for each.

    Python promises that ``random()`` gives the same numbers in later versions, and promises it of no other method
    (https://docs.python.org/3/library/random.html#notes-on-reproducibility). numpy does not promise it of its shuffle.
    """
    generator = random.Random(seed)  # noqa: S311 not a secret
    draws = [generator.random() for _ in examples]
    return [examples[index] for index in sorted(range(len(examples)), key=draws.__getitem__)]
