"""This project's fine-tuning, as its stage runs it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.clock import Clock
from benchmarks.results import Training
from benchmarks.task import Task
from stages.common.results.finetune import StepRecord
from stages.finetune import passes, trainer
from stages.finetune.costs import clock as costs_clock
from stages.finetune.costs.clock import P, T
from stages.finetune.training_run import Run
from stages.gpt2 import runtime, weights
from stages.gpt2.runtime import Compute
from stages.params.finetune import Finetune


class _Evaluations(costs_clock.Clock):
    """Takes the time of evaluations by the benchmark's clock."""

    def __init__(self, clock: Clock, device: torch.device) -> None:
        super().__init__(device)
        self._clock = clock

    def timed(self, what: str, function: Callable[P, T]) -> Callable[P, T]:  # noqa: ARG002
        """The function, within the clock's time of evaluations."""

        @functools.wraps(function)
        def wrapped(*arguments: P.args, **named: P.kwargs) -> T:
            with self._clock.evaluation():
                return function(*arguments, **named)

        return wrapped


def train(task: Task, model_folder: Path, device: str, clock: Clock) -> Training:
    """Run `trainer.fit` for the task's steps."""
    found = runtime.prepare()
    assert found.type == device, f"expected {device}, found {found.type}"
    dtype = torch.bfloat16 if task.precision == "bf16" else torch.float32
    model = weights.load(model_folder, made_by="python -m benchmarks.finetune", device=found)
    every = task.warmup + task.steps
    settings = Finetune.model_validate(task.recipe.model_dump() | {"max_steps": every})
    seen = 0

    def on_step(record: StepRecord) -> None:
        nonlocal seen
        if record.step == 0:
            clock.begin()
            return
        assert record.train_loss is not None  # only step 0 has none
        clock.step(record.train_loss, record.tokens_seen - seen)
        seen = record.tokens_seen

    run = Run(settings, task.train, task.val, "all", Compute(found, dtype))
    trainer.fit(model, run, on_step=on_step, clock=_Evaluations(clock, found))
    measured = clock.result()
    final_loss = passes.Evaluation(model, task.val[: task.recipe.batch_size], "all")()
    return Training(
        timing=measured, precision=runtime.name_of(dtype), evaluations=task.evaluations(), final_loss=final_loss
    )
