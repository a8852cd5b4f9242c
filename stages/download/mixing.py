"""A mix of several sources: how many rows each gives, which ones, and in which order. All of it follows from a seed.

No row is in a mix twice. So where weights or shares ask for more rows than a source has, the others give fewer, or it
is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.common.errors import ConfigError
from stages.common.plurals import counted
from stages.download.dataset import FEWEST_ROWS, Row
from stages.download.formats.reader import Read
from stages.download.rows_file import RowSink, RowsOnDisk
from stages.params.download import MixedSource, RowFilter

#: The key of the sources in params.yaml.
KEY = "download.data.sources"


@dataclass(frozen=True)
class Part:
    """What a source gives to a mix.

    Args:
        name: name of the source.
        read: its file as read.
        filtered: number of its rows that its filter keeps.
        taken: number of rows that are in the mix.
    """

    name: str
    read: Read
    filtered: int
    taken: int


class Filtered:
    """Takes the rows that a filter keeps.

    Args:
        wanted: the filter.
        rows: what takes them.
    """

    def __init__(self, wanted: RowFilter, rows: RowSink) -> None:
        self._wanted, self._rows = wanted, rows
        self._count = 0

    def append(self, row: Row) -> None:
        """Take a row, or leave it out."""
        self._count += 1
        if keeps(self._wanted, row):
            self._rows.append(row)

    def __len__(self) -> int:
        """How many rows have come, those that were left out among them."""
        return self._count


def keeps(wanted: RowFilter, row: Row) -> bool:
    """Whether a filter keeps a row: all that it says must hold."""
    if wanted.categories is not None and row["category"] not in wanted.categories:
        return False
    if wanted.without is not None and row["category"] in wanted.without:
        return False
    texts = (row["instruction"], row["input"], row["output"])
    if wanted.longest is not None and sum(map(len, texts)) > wanted.longest:
        return False
    return wanted.matching is None or any(re.search(wanted.matching, text) for text in texts)


def mix(
    sources: Sequence[MixedSource],
    read: Callable[[int, RowSink], Read],
    folder: Path,
    seed: int,
    rows: RowSink,
) -> list[Part]:
    """Read all sources, draw the rows of each, and hand them on in a random order, each with the name of its source.

    Args:
        sources: the list download.data.sources.
        read: function that reads the source with a number from 0, whose rows it hands on.
        folder: an empty folder, in which rows are kept until all are known.
        seed: seed of what is drawn.
        rows: what takes the rows of the mix.

    Raises:
        ConfigError: a source has no rows left, or fewer than its share asks for.
        DataError: as the function raises it.
    """
    with contextlib.ExitStack() as opened:
        kept, found = [], []
        for number, source in enumerate(sources):
            on_disk = RowsOnDisk(folder / f"rows-{number}")
            opened.callback(on_disk.close)
            found.append(read(number, Filtered(source.filter, on_disk)))
            kept.append(on_disk)
        counts = taken([len(one) for one in kept], sources)
        order = [
            (number, row)
            for number, (source, count) in enumerate(zip(sources, counts, strict=True))
            for row in drawn(len(kept[number]), count, seed, source.label)
        ]
        if len(order) < FEWEST_ROWS:
            what = f"{KEY}: expected at least {FEWEST_ROWS} rows in all, one for each split, found {len(order)}"
            raise ConfigError(what, f"raise cap or weight, or change filter, in {KEY} in params.yaml")
        for number, row in _shuffled(order, seed):
            rows.append(kept[number][row] | {"source": sources[number].label})
    return [
        Part(source.label, one, len(on_disk), count)
        for source, one, on_disk, count in zip(sources, found, kept, counts, strict=True)
    ]


def taken(sizes: Sequence[int], sources: Sequence[MixedSource]) -> list[int]:
    """How many rows each source gives.

    A cap comes first. Sources without a weight or a share give all that is left. Those with weights give rows in
    proportion to these, as many as the scarcest allows. Those with shares give these shares of the whole mix.

    With 100 rows at weight 1 and 90 at weight 3 the first gives 30. With 95 rows of others, a share of 0.05 is 5 rows.

    Args:
        sizes: number of rows of each source that its filter keeps.
        sources: the sources.

    Raises:
        ConfigError: a source has no rows or fewer than its share asks for, or its weight or share is less than a row.
    """
    left = [min(size, source.cap or size) for size, source in zip(sizes, sources, strict=True)]
    for size, source in zip(left, sources, strict=True):
        if not size:
            raise ConfigError(
                f"{KEY}: {source.label}: expected a row that its filter keeps; found none",
                f"change the filter of {source.label} in params.yaml, or leave the source out",
            )
    unit = min((size / source.weight for size, source in zip(left, sources, strict=True) if source.weight), default=0)
    counts = [
        0 if source.share else int(unit * source.weight + 1e-9) if source.weight else size
        for size, source in zip(left, sources, strict=True)
    ]
    whole = sum(counts) / (1 - sum(source.share or 0 for source in sources))
    for number, source in enumerate(sources):
        if source.share:
            counts[number] = round(source.share * whole)
            if counts[number] > left[number]:
                raise ConfigError(
                    f"{KEY}: {source.label}: a share of {source.share} of about {round(whole):,} rows is "
                    f"{counted(counts[number], 'row')}; found {left[number]:,}",
                    f"lower share of {source.label}, or cap of the other sources, in params.yaml",
                )
    for source, count in zip(sources, counts, strict=True):
        if not count:
            key = "share" if source.share else "weight"
            what = f"{KEY}: {source.label}: its {key} comes to less than one row"
            raise ConfigError(what, f"raise {key} of {source.label} in params.yaml, or leave the source out")
    return counts


def drawn(size: int, count: int, seed: int, name: str) -> list[int]:
    """The numbers of some rows of a source, in rising order.

    Args:
        size: number of its rows.
        count: number of rows that are drawn.
        seed: the seed.
        name: name of the source: another one has other draws.
    """
    if count == size:
        return list(range(size))
    generator = _generator(seed, "rows", name)
    draws = [generator.random() for _ in range(size)]
    return sorted(sorted(range(size), key=draws.__getitem__)[:count])


def _shuffled(order: list[tuple[int, int]], seed: int) -> list[tuple[int, int]]:
    generator = _generator(seed, "order")
    draws = [generator.random() for _ in order]
    return [order[number] for number in sorted(range(len(order)), key=draws.__getitem__)]


def _generator(seed: int, *purpose: str) -> random.Random:
    """A generator of its own for a purpose; Python promises that ``random()`` gives the same numbers ever after."""
    text = "\n".join((str(seed), *purpose))
    return random.Random(int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest(), "big"))  # noqa: S311 no secret
