"""From a row of text to a row of token ids, and back from ids to an answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from stages.common.records import LossOn
from stages.common.results.split import Example
from stages.common.results.tokenize import Encoded
from stages.common.token_files import TokenBatch
from stages.gpt2.tokenizer import END_OF_TEXT
from stages.prompts.prompt import PromptStyle

_FIELD = re.compile(r"\{instruction\}|\{input\}")
#: Where one of the pieces ends into which GPT-2's tokenizer divides a text first, whatever is before and behind it.
_END_OF_PIECE = re.compile(r"(?<=\S)(?=[ \n])")


class Encoder(Protocol):
    """The methods of a tokenizer that are called here."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        ...


class ArrayEncoder(Protocol):
    """The method of a tokenizer that `BatchEncoder` calls."""

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """The ids of a text."""
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


@dataclass(frozen=True)
class Pieces:
    """The parts of a template in which no row makes a difference to the ids, and the texts between them.

    GPT-2's tokenizer first divides a text with a pattern that never puts a character that is no white space and white
    space behind it into one piece, and that looks at nothing before a piece. So a template can be divided at such
    places, and what lies between two of them has the same ids in every prompt.

    Args:
        between: the texts before, between and behind ``fixed``, with ``{instruction}`` and ``{input}``.
        fixed: the ids of the parts.
    """

    between: list[str]
    fixed: list[npt.NDArray[np.uint32]]

    @property
    def most_tokens(self) -> int:
        """The most tokens that a prompt has beyond one for each byte of its row's texts, a token having one or more."""
        texts = "".join(_FIELD.sub("", text) for text in self.between)
        return len(texts.encode()) + sum(map(len, self.fixed))

    @classmethod
    def of(cls, template: str, tokenizer: ArrayEncoder) -> Pieces:
        """The parts of a template."""
        between, fixed = divided(template)
        return cls(between, [tokenizer.encode_array(text) for text in fixed])

    def encode(self, instruction: str, input: str, tokenizer: ArrayEncoder) -> list[npt.NDArray[np.uint32]]:
        """The ids of the prompt of a row, in parts."""
        found = []
        for number, text in enumerate(self.between):
            if text:
                before, field, after = text.partition("{instruction}")
                filled = before.replace("{input}", input)
                found.append(
                    tokenizer.encode_array(filled + instruction + after.replace("{input}", input) if field else filled)
                )
            found += self.fixed[number : number + 1]
        return found


def divided(template: str) -> tuple[list[str], list[str]]:
    r"""The texts of a template that are the same in every prompt and may be encoded apart, and those around them.

    >>> divided("One. Two:\n{instruction}\n\n### A:\n")
    (['', '\n{instruction}\n\n###', ''], ['One. Two:', ' A:\n'])
    """
    constants, fields = _FIELD.split(template), _FIELD.findall(template)
    between, fixed = [""], []
    for number, text in enumerate(constants):
        ends = [found.start() for found in _END_OF_PIECE.finditer(text)]
        starts_at = [0] if number == 0 else ends[:1]
        ends_at = [len(text)] if number == len(fields) else ends[-1:]
        if starts_at and ends_at and starts_at < ends_at:
            between[-1] += text[: starts_at[0]]
            fixed.append(text[starts_at[0] : ends_at[0]])
            between.append(text[ends_at[0] :])
        else:
            between[-1] += text
        between[-1] += "".join(fields[number : number + 1])
    return between, fixed


class BatchEncoder:
    """Encodes many rows at a time, each to the ids that `encode` gives.

    Args:
        style: the prompt style.
        tokenizer: the tokenizer.
    """

    def __init__(self, style: PromptStyle, tokenizer: ArrayEncoder) -> None:
        self._tokenizer = tokenizer
        self._with_input = Pieces.of(style.with_input, tokenizer)
        self._without_input = Pieces.of(style.without_input, tokenizer)
        self._most = self._without_input.most_tokens, self._with_input.most_tokens

    def most_tokens(self, row: Example) -> int:
        """The most tokens that a row can have, found without encoding it: a token has one byte of UTF-8 or more."""
        texts = len(row.instruction.encode()) + len(row.input.encode()) + len(row.output.encode())
        return self._most[bool(row.input)] + texts + 1  # with its end-of-text

    def __call__(self, examples: Sequence[Example]) -> TokenBatch:
        """Encode rows; several threads may do so at a time, since tiktoken works without Python's lock."""
        end = np.array([END_OF_TEXT], dtype=np.uint32)
        parts: list[npt.NDArray[np.uint32]] = []
        prompts, lengths = [], []
        for row in examples:
            pieces = self._with_input if row.input else self._without_input
            prompt = pieces.encode(row.instruction, row.input, self._tokenizer)
            response = self._tokenizer.encode_array(row.output)
            parts += (*prompt, response, end)
            prompts.append(sum(map(len, prompt)))
            lengths.append(prompts[-1] + len(response) + 1)
        return TokenBatch(
            [row.id for row in examples],
            np.concatenate(parts).astype(np.uint16),
            np.array(lengths, dtype=np.int64),
            np.array(prompts, dtype=np.int32),
        )


def answer_text(ids: Sequence[int], tokenizer: Encoder) -> str:
    """The text of a generated answer: without its end-of-text, and without white space around it, as in the book."""
    kept = ids[:-1] if ids and ids[-1] == END_OF_TEXT else ids
    return tokenizer.decode(kept).strip()
