"""Draft tokens for speculative decoding by prompt lookup: how a row may go on, from what it has said before.

A step of one row reads all weights for one token; a pass of 8 tokens takes 1.5 to 2.3 times as long, one of 32 up to
4.1 times (docs/decisions.md). So where a row is alone, it is given draft tokens: what followed its newest tokens the
last time that they occurred together. One pass then verifies them all, and those that the model would have chosen
itself are accepted (speculative decoding, Leviathan et al. 2023, arXiv 2211.17192; drafts by prompt lookup, Saxena
2023). A small model that never ends an answer usually repeats itself: so does the one of the book's 110 answers that
runs to its limit of 256 tokens.

A pass in which little is accepted takes longer than the steps that it replaces, and an instruction and its answer often
have two words in a row in common, and no third one. So the row first has to repeat itself for `SEEN` tokens that it is
given no drafts for: a draft is made, kept, and compared with what comes.
"""

from __future__ import annotations

from collections.abc import Sequence

#: How many newest tokens must have occurred together before.
NGRAM = 2
#: Draft tokens at a time. While all are accepted their number n becomes 2n + 1, so that passes have 8, 16, 32 tokens.
FEWEST, MOST = 7, 31
#: Tokens that must have come as expected before a draft is given; doubled after each pass that was not worth
#: it, up to a limit.
SEEN, MOST_SEEN = 4, 64
#: Accepted tokens with which a pass is worth it: with one more, it gives about as many as it takes steps, at most 4.1.
WORTH = 3


class PromptLookup:
    """The draft tokens of one row."""

    def __init__(self) -> None:
        self._length = FEWEST
        # For each n-gram the index of the token that followed it last.
        self._after: dict[tuple[int, ...], int] = {}
        self._read = NGRAM
        # The tokens expected from an index on, while no drafts are given.
        self._expected: list[int] = []
        self._from = 0
        # How many of them have to come: 0 once they have; and how many had to.
        self._needed = self._wanted = SEEN

    def draft(self, ids: Sequence[int], most: int) -> list[int]:
        """What may follow ``ids``, which begin with those of the last call: up to ``most`` tokens, or none."""
        for index in range(self._read, len(ids)):
            self._after[tuple(ids[index - NGRAM : index])] = index
        self._read = max(self._read, len(ids))
        if self._needed and not self._has_come(ids):
            return []
        return self._continuation(ids, min(self._length, most))

    def verified(self, drafted: int, accepted: int) -> None:
        """Of ``drafted`` tokens, at least one, the first ``accepted`` were accepted."""
        if accepted >= min(drafted, WORTH):
            self._length = min(2 * self._length + 1, MOST) if accepted == drafted else FEWEST
            self._wanted = SEEN
        else:
            self._length = FEWEST
            self._wanted = self._needed = min(2 * self._wanted, MOST_SEEN)

    def _has_come(self, ids: Sequence[int]) -> bool:
        """Whether as many tokens as are needed have come as expected; drafts are given from then on."""
        come = list(ids[self._from : self._from + len(self._expected)])
        if come != self._expected[: len(come)]:
            self._expected = []
        elif self._expected and len(come) == len(self._expected):
            self._expected, self._needed = [], 0
            return True
        if not self._expected:
            self._expected, self._from = self._continuation(ids, self._needed), len(ids)
        return False

    def _continuation(self, ids: Sequence[int], length: int) -> list[int]:
        """What followed the newest tokens the last time, up to a length."""
        start = self._after.get(tuple(ids[-NGRAM:]))
        if start is None:
            return []
        # A repeated passage may be shorter than the draft, which then repeats it.
        period = len(ids) - start
        return [ids[start + number % period] for number in range(length)]
