"""Too few test rows for a score that says something, and the settings that make more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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


def told(
    division: Mapping[str, Sequence[Example]], settings: Split, made: Callable[[Split], Sequence[Example]]
) -> Iterator[str]:
    """Yield what there is to say of too few test rows; nothing where there are enough.

    Args:
        division: rows of each split, by its name.
        settings: section split of params.yaml.
        made: function that returns the test rows that other settings would make of the same rows.
    """
    test = division["test"]
    if (count := instructions(test)) < LEAST:
        total = sum(map(len, division.values()))
        yield (
            f"{counted(len(test), 'test row')} of {counted(count, 'instruction')}: a score of fewer than {LEAST} "
            f"instructions has no interval; {more_test_rows(total, settings, made)}"
        )


def more_test_rows(total: int, settings: Split, made: Callable[[Split], Sequence[Example]]) -> str:
    """What makes test rows of at least `LEAST` instructions, tried on the rows; validation keeps its share.

    Args:
        total: number of all rows.
        settings: section split of params.yaml.
        made: function that returns the test rows that other settings would make of the same rows.
    """
    if settings.method == "predefined":
        return f"name test rows of {LEAST} instructions or more in the file"
    test = Fraction(str(settings.test))
    more = f"add rows with other instructions: of {math.ceil(LEAST / test):,} in all, {LEAST} are test rows"
    for values in _shares(total, settings):
        if instructions(made(settings.model_copy(update=values))) >= LEAST:
            keyed = {f"split.{name}": value for name, value in values.items()}
            return f"{proposals.everywhere(keyed)}; or {more}"
    return more


def _shares(total: int, settings: Split) -> Iterator[dict[str, float]]:
    """Larger test shares, with what is then left for train, the smallest first."""
    train, test = Fraction(str(settings.train)), Fraction(str(settings.test))
    wanted = max(math.ceil(Fraction(LEAST, max(total, 1)) / _STEP), math.floor(test / _STEP) + 1) * _STEP
    while wanted <= _LARGEST:
        rest = math.floor((train + test - wanted) / _STEP) * _STEP
        if rest < wanted:
            return
        yield {"train": float(rest), "test": float(wanted)}
        wanted += _STEP
