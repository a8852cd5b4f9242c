"""The label mask, worked by hand."""

from __future__ import annotations

import pytest

from stages.common.results.tokenize import Encoded
from stages.gpt2.tokenizer import END_OF_TEXT as END
from stages.prompts.label_mask import first_target, targets_of


@pytest.mark.parametrize(
    ("prompt_length", "loss_on", "first"), [(2, "all", 1), (2, "response", 2), (0, "response", 1), (1, "response", 1)]
)
def test_first_target(prompt_length, loss_on, first):
    assert first_target(Encoded(id="x", ids=[7, 8, 9, END], prompt_length=prompt_length), loss_on) == first


@pytest.mark.parametrize(("loss_on", "count"), [("all", 3), ("response", 2)])
def test_the_targets_of_a_row_are_counted(loss_on, count):
    # Ids p0, p1, r0, end-of-text: the first is never a target.
    assert targets_of(Encoded(id="x", ids=[7, 8, 9, END], prompt_length=2), loss_on) == count
