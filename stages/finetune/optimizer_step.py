"""One optimiser step: forward, backward and an update of the weights, if the step is sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.finetune import passes
from stages.finetune.batches import Batch
from stages.finetune.optimizer import MasterWeights
from stages.finetune.soundness import Soundness
from stages.finetune.team import LossOf


@dataclass(frozen=True)
class Controls:
    """What an optimiser step is told besides its batch: numbers, or scalars in fp32 on its device.

    Args:
        learning_rate: learning rate of the step.
        after: number of steps made before it.
    """

    learning_rate: float | Tensor
    after: float | Tensor


#: Makes an optimiser step of micro-batches in main memory, as `OptimizerStep` does.
StepOf = Callable[[Sequence[Batch], Controls], Tensor]


class OptimizerStep:
    """Makes optimiser steps.

    Args:
        loss_of: function that returns the loss of a micro-batch on the device.
        weights: the weights that are updated.
        soundness: check of each step before its update.
    """

    def __init__(self, loss_of: LossOf, weights: MasterWeights, soundness: Soundness) -> None:
        self.device = weights.master[0].device
        self._loss_of = loss_of
        self._weights = weights
        self._soundness = soundness

    def __call__(self, batches: Sequence[Batch], controls: Controls) -> Tensor:
        """Make the step of micro-batches in main memory.

        Returns:
            [3] fp32: the loss, the norm of the gradient before clipping, and 1 if the step is lost
            (`stages.finetune.soundness`), in which case no weight has changed.
        """
        return self.on_device([batch.to(self.device) for batch in batches], controls)

    def on_device(self, batches: Sequence[Batch], controls: Controls) -> Tensor:
        """The same for micro-batches that are on the device already."""
        loss, norm = self.gradient(batches)
        lost = self._soundness.lost(loss, norm, controls.after)
        self._weights.step(controls.learning_rate, norm, controls.after, lost)
        return torch.stack([loss, norm, lost])

    def gradient(self, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
        """The loss and the gradient's norm of micro-batches on the device, scalars in fp32; no weight changes."""
        loss = passes.backward(self._loss_of, self._weights, batches)
        return loss, self._weights.norm()

    def forget(self) -> None:
        """Forget the gradients of a step that was broken off."""
        self._weights.forget()
