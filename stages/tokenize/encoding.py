"""From a row of text to a row of token ids, and back from ids to an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from stages.common.records import LossOn
from stages.common.results.split import Example
from stages.common.results.tokenize import Encoded
from stages.gpt2.tokenizer import END_OF_TEXT
from stages.tokenize.prompt import PromptStyle


class Encoder(Protocol):
    """The methods of a tokenizer that are called here."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        ...


class Format(BaseModel):
    """How the token files of a folder were made. It is stored beside them, and beside the model trained on them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    style: PromptStyle
    loss_on: LossOn


def encode(example: Example, style: PromptStyle, tokenizer: Encoder) -> Encoded:
    """Encode prompt and response separately, join them and append one end-of-text.

    With a tokenizer that makes one id of each byte, the prompt "a" and the response "b" give
    ``Encoded(ids=[97, 98, 50256], prompt_length=1)``.
    """
    prompt = tokenizer.encode(style.prompt(example.instruction, example.input))
    response = tokenizer.encode(example.output)
    return Encoded(id=example.id, ids=[*prompt, *response, END_OF_TEXT], prompt_length=len(prompt))


def cut(row: Encoded, context_length: int) -> Encoded | None:
    """The first ``context_length`` ids of a row, or None if no token of its response is among them.

    A row that is cut loses its end-of-text, because its answer does not end there.
    """
    if row.prompt_length >= context_length:
        return None
    return row if len(row.ids) <= context_length else row.model_copy(update={"ids": row.ids[:context_length]})


def cut_rows(rows: Iterable[Encoded], context_length: int) -> list[Encoded]:
    """The rows of which a response token fits the context, each cut to it."""
    return [row for row in (cut(row, context_length) for row in rows) if row]


def answer_text(ids: Sequence[int], tokenizer: Encoder) -> str:
    """The text of a generated answer: without its end-of-text, and without white space around it, as in the book."""
    kept = ids[:-1] if ids and ids[-1] == END_OF_TEXT else ids
    return tokenizer.decode(kept).strip()
