"""Whole optimiser steps, and losses, that a GPU is asked for in one call, see `stages.gpt2.graphs`.

What is another each time lies in tensors that stay where they are: the batch, and what an optimiser step is told
(`Controls`). Batches of one shape share a recording.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.common.errors import ConfigError
from stages.finetune.batches import Batch
from stages.gpt2 import runtime
from stages.gpt2.graphs import VARIABLE, GraphRunner, Replayer
from stages.gpt2.packed import PaddedRows

#: How far the loss and the norm of a recorded step may be from those of the same step done plainly, as a share: the
#: order of sums in bf16 products may be another, and no more.
TOLERANCE = 0.02


@dataclass(frozen=True)
class Controls:
    """What an optimiser step is told besides its batch: numbers, or scalars in fp32 on its device.

    Args:
        learning_rate: of the step.
        after: how many steps were made before it.
    """

    learning_rate: float | Tensor
    after: float | Tensor


#: An optimiser step of batches on the device. It gives a vector in fp32: the loss, the norm of the gradient, and 1
#: if it is lost (`stages.finetune.soundness`).
StepOf = Callable[[Sequence[Batch], Controls], Tensor]
#: The loss and the norm of the gradient, scalars in fp32, without any update.
GradientOf = Callable[[Sequence[Batch]], tuple[Tensor, Tensor]]
#: Of batches, by which they share a recording.
Shape = tuple[tuple[PaddedRows, int], ...]


class _Held:
    """For each shape batches whose tensors stay where they are, on a device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._batches: dict[Shape, list[Batch]] = {}

    def take(self, batches: Sequence[Batch]) -> tuple[Shape, list[Batch]]:
        """Let those of a shape hold batches in main memory; the shape, and they."""
        shape = tuple(_shape(batch) for batch in batches)
        held = self._batches.get(shape)
        if held is None:
            held = self._batches[shape] = [batch.to(self._device) for batch in batches]
        else:
            for there, new in zip(held, batches, strict=True):
                for tensor, values in zip(there.tensors().values(), new.tensors().values(), strict=True):
                    runtime.put(tensor, values)
        return shape, held


def _shape(batch: Batch) -> tuple[PaddedRows, int]:
    assert isinstance(batch.attend, PaddedRows), "of other layouts no two batches have one shape"
    return batch.attend, len(batch.where)


class RecordedLosses:
    """Computes losses of batches, each shape's first one plainly and those after it from a recording.

    Args:
        loss_of: computes one, a scalar in fp32, without gradients.
        runner: runner of the device.
        device: where it is computed.
    """

    def __init__(self, loss_of: Callable[[Batch], Tensor], runner: GraphRunner, device: torch.device) -> None:
        self._loss_of = loss_of
        self._replayer = Replayer(runner, "evaluations")
        self._held = _Held(device)
        self._loss = torch.zeros((), device=device)

    def __call__(self, batch: Batch) -> Tensor:
        """The loss of a batch in main memory, whose rows are filled up; the next one takes its place."""
        shape, [held] = self._held.take([batch])
        self._replayer.run(shape, lambda: self._loss.copy_(self._loss_of(held)))
        return self._loss


class RecordedSteps:
    """Does optimiser steps, each shape's first one plainly and those after it from a recording.

    The first recording of all is compared with the same step done plainly, by loss and norm: a run whose numbers are
    others ends.

    Args:
        step_of: does one.
        gradient_of: computes the same numbers, and updates nothing.
        forget: forgets the gradients of a step that was broken off.
        runner: runner of the device.
        device: where the steps are done.
    """

    def __init__(
        self,
        step_of: StepOf,
        gradient_of: GradientOf,
        forget: Callable[[], None],
        runner: GraphRunner,
        device: torch.device,
    ) -> None:
        self._step_of = step_of
        self._gradient_of = gradient_of
        self._forget = forget
        self._replayer = Replayer(runner, "training steps", forget)
        self._held = _Held(device)
        self._controls = torch.zeros(2, device=device)
        self._results = torch.zeros(3, device=device)
        self._compared = False

    def __call__(self, batches: Sequence[Batch], controls: Controls) -> Tensor:
        """Do the step of batches in main memory, with padded rows (`stages.finetune.layout`), and give its numbers.

        Raises:
            ConfigError: the first recording, whose update is made by then, has other numbers than the plain step.
        """
        shape, held = self._held.take(batches)
        runtime.put(self._controls, torch.tensor([controls.learning_rate, controls.after], dtype=torch.float32))
        compared = self._compared or not self._replayer.captures_next(shape)
        expected = None if compared else self._plain(held)
        self._replayer.run(shape, functools.partial(self._do, held))
        if expected is not None:
            self._compare(expected)
        return self._results.clone()

    def _do(self, held: list[Batch]) -> None:
        self._results.copy_(self._step_of(held, Controls(*self._controls.unbind())))

    def _plain(self, held: list[Batch]) -> list[float]:
        """Loss and norm of a step, done plainly and without an update; draws no random number from the generators."""
        found: list[Tensor] = []
        with torch.random.fork_rng():
            self._replayer.run_eagerly(lambda: found.extend(self._gradient_of(held)))
        self._forget()
        return [number.item() for number in found]

    def _compare(self, expected: list[float]) -> None:
        self._compared = True
        found = self._results[:2].tolist()
        for name, ours, plain in zip(("loss", "norm of the gradient"), found, expected, strict=True):
            # Numbers that are none stop the run elsewhere, with words about the recipe.
            if math.isfinite(plain) and not math.isclose(ours, plain, rel_tol=TOLERANCE):
                raise ConfigError(
                    f"a training step recorded as a CUDA graph has a {name} of {ours:.6g}, and done plainly of "
                    f"{plain:.6g}: what this GPU computes so cannot be relied on",
                    f"export {VARIABLE}=0, and run it again",
                )
