"""Rows that do not fit the context, found before the stage `tokenize` cuts or drops them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
        id: id of the row.
        prompt: tokens of its prompt.
        tokens: tokens of the whole row, with its end-of-text.
        answered: whether a token of its answer fits the context.
    """

    id: str
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
        for batch in encoded(rows, self._encode):
            fits = batch.answered(self.length)
            for number in batch.over(self.length).nonzero()[0]:
                yield Long(
                    id=batch.names[number],
                    prompt=int(batch.prompt_lengths[number]),
                    tokens=int(batch.lengths[number]),
                    answered=bool(fits[number]),
                )
