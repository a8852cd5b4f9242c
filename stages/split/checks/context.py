"""Rows that do not fit the context, found before the stage `tokenize` cuts or drops them."""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from stages.common.results.split import Example
from stages.params.tokenize import Tokenize
from stages.prompts.batches import encoded
from stages.prompts.encoding import ArrayEncoder, BatchEncoder
from stages.prompts.styles import STYLES


@dataclass(frozen=True)
class Long:
    """A row that is longer than the context.

    Args:
        number: its number from 0, among the rows that were looked at.
        prompt: tokens of its prompt.
        tokens: tokens of the whole row, with its end-of-text.
        answered: whether a token of its answer fits the context.
    """

    number: int
    prompt: int
    tokens: int
    answered: bool


class Context:
    """The context of the training, and what encodes rows for it.

    Args:
        settings: section tokenize of params.yaml.
        tokenizer: the tokenizer.
    """

    def __init__(self, settings: Tokenize, tokenizer: ArrayEncoder) -> None:
        self.length = settings.context_length
        self._encode = BatchEncoder(STYLES[settings.prompt_style], tokenizer)

    def may_be_short_for(self, row: Example) -> bool:
        """Whether a row can be longer than the context: few rows can, and only these are encoded."""
        return self._encode.most_tokens(row) > self.length

    def longer(self, rows: Iterable[Example]) -> Iterator[Long]:
        """Yield those of some rows that are longer than the context, in their order."""
        before = 0
        for batch in encoded(rows, self._encode):
            fits = batch.answered(self.length)
            for number in batch.over(self.length).nonzero()[0].tolist():
                yield Long(
                    number=before + number,
                    prompt=int(batch.prompt_lengths[number]),
                    tokens=int(batch.lengths[number]),
                    answered=bool(fits[number]),
                )
            before += len(batch.names)


class LongRows:
    """The rows that are longer than the context, in some 20 bytes each.

    Args:
        context: the context.
        rows: the rows that may be longer.
        places: the place of each of them, in rising order.
    """

    def __init__(self, context: Context, rows: Iterable[Example], places: Sequence[int]) -> None:
        self.length = context.length
        #: Their places in rising order, and of those in ``dropped`` no token of the answer fits the context.
        self.places, self.dropped = array("q"), array("q")
        self._prompts, self._tokens = array("l"), array("l")
        for one in context.longer(rows):
            self.places.append(places[one.number])
            self._prompts.append(one.prompt)
            self._tokens.append(one.tokens)
            if not one.answered:
                self.dropped.append(places[one.number])

    def counts_of(self, place: int) -> tuple[int, int]:
        """The tokens of the row at a place, and those of its prompt."""
        number = bisect.bisect_left(self.places, place)
        return self._tokens[number], self._prompts[number]
