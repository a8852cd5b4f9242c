"""Whether a step is that of a run that still learns: stops a run before its weights are damaged.

A step is unsound if

- its loss or the norm of its gradient is NaN or infinite;
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

from stages.common.results.finetune import StepRecord

LOSS_FACTOR = 2.0
NORM_FACTOR = 1000.0
#: Above any finite number in fp32, and below infinity.
NO_LIMIT = torch.finfo(torch.float32).max


class Soundness:
    """The limits, which the sound steps so far set, and whether any step has passed them.

    They are kept twice: on the device, where a step is judged before its update is made, and as numbers, to say what
    was wrong with it.

    Args:
        vocabulary: size of the model's vocabulary.
        history: records of the steps so far.
        device: device on which steps are judged.
    """

    def __init__(self, vocabulary: int, history: Iterable[StepRecord], device: torch.device) -> None:
        self._loss_limit = LOSS_FACTOR * math.log(vocabulary)
        self._largest_norm = 0.0
        for record in history:
            self.passed(record)
        # In fp32, and written in place: a captured step (`captured_steps`) has the same tensors each time.
        self._limit_on_device = torch.full((), self._loss_limit, device=device)
        self._largest_on_device = torch.full((), self._largest_norm, device=device)
        self._lost = torch.zeros((), device=device)

    @property
    def _norm_limit(self) -> float:
        return min(NORM_FACTOR * self._largest_norm, NO_LIMIT) if self._largest_norm else NO_LIMIT

    def passed(self, record: StepRecord) -> None:
        """Take a sound step's numbers into the limits."""
        if record.step == 1 and record.train_loss is not None:
            self._loss_limit = max(self._loss_limit, LOSS_FACTOR * record.train_loss)
        if record.grad_norm is not None:
            self._largest_norm = max(self._largest_norm, record.grad_norm)

    def lost(self, loss: Tensor, norm: Tensor, after: float | Tensor) -> Tensor:
        """Whether this step or one before is unsound: 1.0 or 0.0 in fp32, on the device, without waiting for it.

        Once it is 1.0 it stays so: on a GPU later steps are enqueued before anybody looks.

        Args:
            loss: loss of the step, a scalar.
            norm: norm of its gradient before clipping, a scalar.
            after: number of steps made before, a number or a scalar on the device.
        """
        largest = self._largest_on_device
        norm_limit = torch.where(largest > 0, (NORM_FACTOR * largest).clamp(max=NO_LIMIT), NO_LIMIT)
        first = torch.as_tensor(after, device=loss.device) == 0
        # The first step is held to the limit as it is before it; nothing compares with NaN.
        sound = (loss <= self._limit_on_device) & (norm <= norm_limit)
        self._lost.copy_(torch.maximum(self._lost, 1.0 - sound.float()))
        self._limit_on_device.copy_(
            torch.where(first & sound, torch.maximum(self._limit_on_device, LOSS_FACTOR * loss), self._limit_on_device)
        )
        largest.copy_(torch.where(sound, torch.maximum(largest, norm), largest))
        return self._lost

    def fault(self, record: StepRecord) -> str | None:
        """What is wrong with a step by its numbers; None if nothing is."""
        assert record.train_loss is not None
        assert record.grad_norm is not None
        for name, value in (("train_loss", record.train_loss), ("grad_norm", record.grad_norm)):
            if not math.isfinite(value):
                return f"{name} is {value}"
        if record.train_loss > self._loss_limit:
            return f"train_loss is {record.train_loss:.4g}, more than {self._loss_limit:.4g}, twice that of guessing"
        if record.grad_norm > self._norm_limit:
            return (
                f"grad_norm is {record.grad_norm:.4g}, more than {NORM_FACTOR:,.0f} times the largest before it, "
                f"{self._largest_norm:.4g}"
            )
        return None
