"""What becomes of the tokens of a row in training, and tokens as text to read."""

from __future__ import annotations

from typing import Literal

from stages.common.printable import printable
from stages.common.records import LossOn
from stages.common.results.tokenize import Encoded
from stages.gpt2.tokenizer import END_OF_TEXT
from stages.prompts.encoding import Encoder, cut
from stages.prompts.label_mask import first_target

#: masked: the loss leaves it out. trained: the loss is over it. cut: beyond the context, so that no model sees it.
Part = Literal["masked", "trained", "cut"]


def parts(row: Encoded, loss_on: LossOn, length: int) -> dict[Part, list[int]]:
    """The ids of a row by what becomes of them; of a row that is dropped all are cut.

    Args:
        row: the row, not cut.
        loss_on: what the loss is over.
        length: length of the context in tokens.
    """
    kept = cut(row, length)
    end = len(kept.ids) if kept else 0
    start = min(first_target(row, loss_on), end)
    return {"masked": row.ids[:start], "trained": row.ids[start:end], "cut": row.ids[end:]}


def token_text(one: int, tokenizer: Encoder) -> str:
    """A token as text on one line. Part of a character is its number."""
    if one == END_OF_TEXT:
        return "<|endoftext|>"
    text = tokenizer.decode([one])
    if "\ufffd" in text:
        return f"<{one}>"
    return printable(text.replace("\n", "\\n").replace("\t", "\\t"))
