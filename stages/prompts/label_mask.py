"""The label mask: which token ids of a row count in the loss."""

from __future__ import annotations

from stages.common.records import LossOn
from stages.common.results.tokenize import Encoded


def first_target(row: Encoded, loss_on: LossOn) -> int:
    """The index in ``row.ids`` of the first target token. Every later id is one too, up to the end-of-text.

    The first id of a row is never a target, since nothing comes before it to predict it from. With ``response`` the
    label mask hides the prompt: ids [p0, p1, r0, eot] with a prompt of 2 give 2.
    """
    return 1 if loss_on == "all" else max(row.prompt_length, 1)


def targets_of(row: Encoded, loss_on: LossOn) -> int:
    """How many of a row's ids are target tokens."""
    return max(len(row.ids) - first_target(row, loss_on), 0)
