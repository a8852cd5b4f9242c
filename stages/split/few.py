"""Too few test rows for a score that says something, and the settings that make more."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

from stages.common import proposals
from stages.common.plurals import counted
from stages.common.results.split import Example
from stages.params.split import Split

#: The fewest instructions of which a score has an interval: `LEAST` of `stages.judge.scores.bootstrap`.
LEAST = 10
#: Shares are proposed in steps of this size, up to the largest test share.
_STEP, _LARGEST = Fraction(1, 20), Fraction(3, 10)


def instructions(rows: Iterable[Example]) -> int:
    """The number of different instructions, by which the judge groups rows; it is counted up to `LEAST`."""
    found: set[str] = set()
    for row in rows:
        found.add(row.instruction)
        if len(found) == LEAST:
            break
    return len(found)


def told(division: Mapping[str, Sequence[Example]], settings: Split) -> Iterator[str]:
    """Yield what there is to say of too few test rows; nothing where there are enough.

    Args:
        division: rows of each split, by its name.
        settings: section split of params.yaml.
    """
    test = division["test"]
    if (count := instructions(test)) < LEAST:
        total = sum(map(len, division.values()))
        yield (
            f"{counted(len(test), 'test row')} of {counted(count, 'instruction')}: a score of fewer than {LEAST} "
            f"instructions has no interval; {more_test_rows(total, settings)}"
        )


def more_test_rows(total: int, settings: Split) -> str:
    """What makes at least `LEAST` test rows of so many rows; validation keeps its share.

    Args:
        total: number of all rows.
        settings: section split of params.yaml.
    """
    train, test = Fraction(str(settings.train)), Fraction(str(settings.test))
    wanted = math.ceil(Fraction(LEAST, max(total, 1)) / _STEP) * _STEP
    rest = math.floor((train + test - wanted) / _STEP) * _STEP
    more = f"add rows: with {math.ceil(LEAST / test):,} there are {LEAST} test rows"
    if settings.method == "predefined":
        return f"name {LEAST} test rows or more in the file"
    if wanted <= test or wanted > _LARGEST or rest < wanted:
        return more if wanted > test else "add test rows with other instructions"
    values = {"split.train": float(rest), "split.test": float(wanted)}
    listed = " and ".join(f"{key}: {value:g}" for key, value in values.items())
    options = " ".join(proposals.option(key, value) for key, value in values.items())
    return f"set {listed} in params.yaml, or {options}; or {more}"
