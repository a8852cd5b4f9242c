"""Numbers with the word for what they count: one row, two rows."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its word.

    Args:
        number: number of things.
        one: word for one of them.
        many: word for several; None adds an s.

    >>> counted(1, "row"), counted(1200, "row"), counted(0, "row")
    ('1 row', '1,200 rows', '0 rows')
    """
    return f"{number:,} {word(number, one, many)}"


def word(number: float, one: str, many: str | None = None) -> str:
    """The word alone, for a number that is written in another form; arguments as those of `counted`.

    >>> word(1, "is", "are"), word(2, "is", "are")
    ('is', 'are')
    """
    return one if number == 1 else many or f"{one}s"
