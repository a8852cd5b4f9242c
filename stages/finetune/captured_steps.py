"""Optimiser steps and losses of validation batches as CUDA graphs, see `stages.gpt2.graphs`.

A GPU replays a captured step on the memory of its capture. What differs from step to step must therefore be in tensors
that keep their addresses: the micro-batches, and what the step is told besides (`Controls`). Steps whose batches have
the same shape share one graph.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stages.common.errors import ConfigError
from stages.finetune.batches import Batch
from stages.finetune.optimizer_step import Controls, OptimizerStep
from stages.gpt2 import runtime
from stages.gpt2.graphs import VARIABLE, GraphRunner, Replayer
from stages.gpt2.packed import PaddedRows

#: How far the loss and the gradient's norm of a captured step may be from those of the same step run eagerly, as a
#: share: the order of sums in bf16 products may differ, and no more.
TOLERANCE = 0.02

#: What must be equal of the micro-batches of two steps that share one graph: padded rows and target tokens of each.
Shape = tuple[tuple[PaddedRows, int], ...]


class CapturedSteps:
    """Makes optimiser steps: the first eagerly, those after it by replaying the CUDA graph of their shape.

    The first step that is captured is compared with the same step run eagerly, by its loss and its gradient's norm.
    The run ends if they differ.

    Args:
        step: function that makes one step.
        runner: runner of the device, which captures work.
    """

    def __init__(self, step: OptimizerStep, runner: GraphRunner) -> None:
        self._step = step
        self._replayer = Replayer(runner, "training steps", step.forget)
        self._inputs = _StaticInputs(step.device, self._replayer)
        self._controls = torch.zeros(2, device=step.device)
        self._results = torch.zeros(3, device=step.device)
        self._compared = False

    def __call__(self, batches: Sequence[Batch], controls: Controls) -> Tensor:
        """Make the step of micro-batches in main memory, with padded rows; returns the same as `OptimizerStep`.

        Raises:
            ConfigError: the first captured step, whose update is made by then, has other numbers than the eager one.
        """
        shape, inputs = self._inputs.fill(batches)
        runtime.put(self._controls, torch.tensor([controls.learning_rate, controls.after], dtype=torch.float32))
        compared = self._compared or not self._replayer.captures_next(shape)
        expected = None if compared else self._eager(inputs)
        self._replayer.run(shape, functools.partial(self._do, inputs))
        if expected is not None:
            self._compare(expected)
        return self._results.clone()

    def _do(self, inputs: list[Batch]) -> None:
        self._results.copy_(self._step.on_device(inputs, Controls(*self._controls.unbind())))

    def _eager(self, inputs: list[Batch]) -> list[float]:
        """Loss and norm of a step, run eagerly and without an update."""
        found: list[Tensor] = []
        self._replayer.run_eagerly(lambda: found.extend(self._step.gradient(inputs)))
        self._step.forget()
        return [number.item() for number in found]

    def _compare(self, expected: list[float]) -> None:
        self._compared = True
        found = self._results[:2].tolist()
        for name, ours, eager in zip(("loss", "norm of the gradient"), found, expected, strict=True):
            # NaN and infinity stop the run elsewhere, with words about the recipe.
            if math.isfinite(eager) and not math.isclose(ours, eager, rel_tol=TOLERANCE):
                raise ConfigError(
                    f"a training step captured as a CUDA graph has a {name} of {ours:.6g}, and run eagerly of "
                    f"{eager:.6g}: the graphs of this GPU cannot be relied on",
                    f"export {VARIABLE}=0, and run it again",
                )


class CapturedLosses:
    """Computes losses of validation batches: the first eagerly, those after it from the CUDA graph of their shape.

    Args:
        loss_of: function that returns the loss of a batch on the device, a scalar in fp32, without gradients.
        runner: runner of the device, which captures work.
        device: the device.
    """

    def __init__(self, loss_of: Callable[[Batch], Tensor], runner: GraphRunner, device: torch.device) -> None:
        self._loss_of = loss_of
        self._replayer = Replayer(runner, "evaluations")
        self._inputs = _StaticInputs(device, self._replayer)
        self._loss = torch.zeros((), device=device)

    def __call__(self, batch: Batch) -> Tensor:
        """The loss of a batch in main memory, with padded rows; the next call overwrites it."""
        shape, [on_device] = self._inputs.fill([batch])
        self._replayer.run(shape, lambda: self._loss.copy_(self._loss_of(on_device)))
        return self._loss


class _StaticInputs:
    """For each shape that is captured, batches on a device whose tensors keep their addresses.

    Those of other shapes are not kept: in a training with gradient accumulation nearly every step has one of its own.
    """

    def __init__(self, device: torch.device, replayer: Replayer) -> None:
        self._device = device
        self._replayer = replayer
        self._batches: dict[Shape, list[Batch]] = {}

    def fill(self, batches: Sequence[Batch]) -> tuple[Shape, list[Batch]]:
        """Copy batches in main memory into those of their shape; returns the shape and the batches on the device."""
        shape = tuple(_shape(batch) for batch in batches)
        held = self._batches.get(shape)
        if held is None:
            found = [batch.to(self._device) for batch in batches]
            if self._replayer.keeps(shape):
                self._batches[shape] = found
            return shape, found
        for old, new in zip(held, batches, strict=True):
            for tensor, values in zip(old.tensors().values(), new.tensors().values(), strict=True):
                runtime.put(tensor, values)
        return shape, held


def _shape(batch: Batch) -> tuple[PaddedRows, int]:
    assert isinstance(batch.attend, PaddedRows), "in other layouts no two batches have the same shape"
    return batch.attend, len(batch.where)
