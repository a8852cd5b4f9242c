"""Numbers in groups that are joined pair by pair."""

from __future__ import annotations

from array import array


class Groups:
    """The numbers from 0 on, at first each in a group of its own; a group is named by its least number.

    Args:
        count: how many numbers there are.

    >>> groups = Groups(4)
    >>> groups.join(3, 1)
    >>> [groups.of(number) for number in range(4)]
    [0, 1, 2, 1]
    """

    def __init__(self, count: int) -> None:
        self._above = array("q", range(count))

    def of(self, number: int) -> int:
        """The group of a number."""
        while self._above[number] != number:
            self._above[number] = self._above[self._above[number]]
            number = self._above[number]
        return number

    def join(self, a: int, b: int) -> None:
        """Make one group of those of two numbers."""
        first, second = sorted((self.of(a), self.of(b)))
        self._above[second] = first
