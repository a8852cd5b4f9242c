"""Draft tokens for speculative decoding by prompt lookup: how a row may go on, from what it has said before.

A step of one row reads all weights for one token; a pass of 16 tokens takes only two to three times as long. So where
a row is alone, it is given draft tokens: what followed its newest tokens the last time that they occurred together. One
pass then verifies them all, and those that the model would have chosen itself are accepted (speculative decoding,
Leviathan et al. 2023, arXiv 2211.17192; drafts by prompt lookup, Saxena 2023). A small model that never ends an answer
usually repeats itself: so does the one of the book's 110 answers that runs to its limit of 256 tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

#: How many newest tokens must have occurred together before.
NGRAM = 2
#: Draft tokens at a time. While all are accepted their number n becomes 2n + 1, so that passes have 8, 16, 32 tokens.
FEWEST, MOST = 7, 31
#: Steps without a draft after one of which nothing was accepted; doubled after each further one, up to a limit.
PAUSE, LONGEST_PAUSE = 4, 64


class PromptLookup:
    """The draft tokens of one row."""

    def __init__(self) -> None:
        self._length = FEWEST
        self._pause = PAUSE
        self._pausing = 0
        # For each n-gram the index of the token that followed it last.
        self._after: dict[tuple[int, ...], int] = {}
        self._read = NGRAM

    def draft(self, ids: Sequence[int], most: int) -> list[int]:
        """What may follow ``ids``, which begin with those of the last call: up to ``most`` tokens, or none."""
        for index in range(self._read, len(ids)):
            self._after[tuple(ids[index - NGRAM : index])] = index
        self._read = max(self._read, len(ids))
        if self._pausing:
            self._pausing -= 1
            return []
        start = self._after.get(tuple(ids[-NGRAM:]))
        if start is None:
            return []
        # A repeated passage may be shorter than the draft, which then repeats it.
        period = len(ids) - start
        return [ids[start + number % period] for number in range(min(self._length, most))]

    def verified(self, drafted: int, accepted: int) -> None:
        """Of ``drafted`` tokens, at least one, the first ``accepted`` were accepted."""
        self._length = min(2 * self._length + 1, MOST) if accepted == drafted else FEWEST
        if accepted:
            self._pause = PAUSE
        else:
            self._pausing = self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
