"""Whether a step is that of a run that still learns: what stops a run before its weights are spoilt.

A step is unsound if

- its loss or the norm of its gradient is no number, or infinite;
- its loss is more than twice that of guessing (the logarithm of the vocabulary's size) and more than twice the first
  step's;
- the norm of its gradient is more than 1,000 times the largest of all steps before.

The limits are wide on purpose: a run that stumbles and recovers is never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from stages.sft.progress import StepRecord

LOSS_FACTOR = 2.0
NORM_FACTOR = 1000.0
#: Above any finite number in fp32, and below infinity.
NO_LIMIT = torch.finfo(torch.float32).max


class Soundness:
    """The limits, which the sound steps so far set, and whether any step has passed them.

    Args:
        vocabulary: words that the model chooses from.
        history: the steps so far.
    """

    def __init__(self, vocabulary: int, history: Iterable[StepRecord]) -> None:
        self.loss_limit = LOSS_FACTOR * math.log(vocabulary)
        self.norm_limit = NO_LIMIT
        self._largest_norm = 0.0
        self._lost: Tensor | None = None
        for record in history:
            self.passed(record)

    def passed(self, record: StepRecord) -> None:
        """Take a sound step into the limits."""
        if record.step == 1 and record.train_loss is not None:
            self.loss_limit = max(self.loss_limit, LOSS_FACTOR * record.train_loss)
        if record.grad_norm is not None and record.grad_norm > self._largest_norm:
            self._largest_norm = record.grad_norm
            self.norm_limit = min(NORM_FACTOR * record.grad_norm, NO_LIMIT)

    @property
    def limits(self) -> tuple[float, float]:
        """Those of the loss and of the gradient's norm."""
        return self.loss_limit, self.norm_limit

    def lost(self, loss: Tensor, norm: Tensor, loss_limit: float | Tensor, norm_limit: float | Tensor) -> Tensor:
        """Whether this step or one before is unsound: 1.0 or 0.0 in fp32, where the loss is, without waiting for it.

        Once it is 1.0 it stays so: on a GPU later steps are asked for before anybody looks.

        Args:
            loss: of the step, a scalar.
            norm: of its gradient before clipping, a scalar.
            loss_limit: `loss_limit` as it was when the step was asked for; on a GPU perhaps there.
            norm_limit: `norm_limit` likewise.
        """
        # Nothing compares with NaN.
        sound = (loss <= loss_limit) & (norm <= norm_limit)
        if self._lost is None:
            self._lost = torch.zeros_like(loss)
        # In place: a recorded step (`stages.sft.graphs`) reads and writes the same tensor every time.
        self._lost.copy_(torch.maximum(self._lost, 1.0 - sound.float()))
        return self._lost

    def fault(self, record: StepRecord) -> str | None:
        """What is wrong with a step; None if it is sound."""
        assert record.train_loss is not None
        assert record.grad_norm is not None
        for name, value in (("train_loss", record.train_loss), ("grad_norm", record.grad_norm)):
            if not math.isfinite(value):
                return f"{name} is {value}"
        if record.train_loss > self.loss_limit:
            return f"train_loss is {record.train_loss:.4g}, more than {self.loss_limit:.4g}, twice that of guessing"
        if record.grad_norm > self.norm_limit:
            return (
                f"grad_norm is {record.grad_norm:.4g}, more than {NORM_FACTOR:,.0f} times the largest before it, "
                f"{self._largest_norm:.4g}"
            )
        return None
