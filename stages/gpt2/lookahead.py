"""Guesses at how an answer goes on, from what its row has said before.

A step of one row reads all weights for one token; with 16 tokens it takes two to three times as long. So where a row is
alone, what followed the last time its newest tokens stood together is put behind them, and one pass tells which of
that it would have said itself (speculative decoding, Leviathan et al. 2023, arXiv 2211.17192, with guesses by prompt
lookup, Saxena 2023). A small model that never ends an answer repeats itself as a rule: so does the one of the book's
110 answers that ran to its limit of 256 tokens, whose last ones are otherwise a step each.
"""

from __future__ import annotations

from collections.abc import Sequence

#: So many newest tokens must have stood together before.
TOGETHER = 2
#: Guesses at a time: few, twice as many and one more while all are right, so that passes are of 8, 16 and 32 tokens.
FEWEST, MOST = 7, 31
#: Steps without a guess after one of which nothing was right; twice as many after each that follows, up to a limit.
REST, LONGEST_REST = 4, 64


class Lookahead:
    """The guesses for one row."""

    def __init__(self) -> None:
        self._length = FEWEST
        self._rest = REST
        self._resting = 0
        # Where the tokens that stood together were followed by another, the last time that they were.
        self._after: dict[tuple[int, ...], int] = {}
        self._read = TOGETHER

    def guess(self, ids: Sequence[int], most: int) -> list[int]:
        """What may follow ``ids``, which begin with those of the last call: up to ``most`` tokens, or none."""
        for place in range(self._read, len(ids)):
            self._after[tuple(ids[place - TOGETHER : place])] = place
        self._read = max(self._read, len(ids))
        if self._resting:
            self._resting -= 1
            return []
        start = self._after.get(tuple(ids[-TOGETHER:]))
        if start is None:
            return []
        # What is repeated over and over is shorter than the guess, which then goes on with itself.
        period = len(ids) - start
        return [ids[start + number % period] for number in range(min(self._length, most))]

    def told(self, guessed: int, right: int) -> None:
        """Of ``guessed`` tokens, at least one, the first ``right`` were what followed."""
        self._length = min(2 * self._length + 1, MOST) if right == guessed else FEWEST
        if right:
            self._rest = REST
        else:
            self._resting = self._rest
            self._rest = min(2 * self._rest, LONGEST_REST)
