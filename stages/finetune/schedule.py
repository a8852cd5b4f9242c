"""What a run does at which step: the rows that it learns from, its learning rate, and whether it evaluates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from stages.common.results.tokenize import Encoded
from stages.common.token_files import lengths_of
from stages.finetune.batches import batches_of, epoch_order
from stages.finetune.steps import batches_of_an_epoch
from stages.params.finetune import Finetune

Item = TypeVar("Item")

#: Rows in a validation batch.
EVALUATION_BATCH = 32


@dataclass(frozen=True)
class Step:
    """One optimiser step.

    Args:
        number: its number, from 1.
        epoch: its epoch, from 1.
        rows: the rows that it learns from.
        evaluated: whether an evaluation follows it.
    """

    number: int
    epoch: int
    rows: list[Encoded]
    evaluated: bool


def steps_of(train: Sequence[Encoded], settings: Finetune, steps: int, *, done: int = 0) -> Iterator[Step]:
    """The steps of a run, but for those done already.

    Args:
        train: the train rows.
        settings: the recipe. How often the rows are gone through follows from ``steps`` alone.
        steps: the number of all steps, as `stages.finetune.steps.planned_steps` gives it.
        done: how many of the first steps are left out.
    """
    number = 0
    for epoch in itertools.count(1):
        if not (batches := batches_of_an_epoch(len(train), settings)):  # as `planned_steps` says in words
            return
        order = epoch_order(len(train), settings.seed, epoch)
        for start in range(0, batches * settings.batch_size, settings.batch_size):
            if number == steps:
                return
            number += 1
            if number > done:
                rows = [train[index] for index in order[start : start + settings.batch_size]]
                yield Step(number, epoch, rows, evaluated(number, steps, settings.eval_every))


def evaluation_batches(rows: Sequence[Encoded]) -> Iterator[list[Encoded]]:
    """The rows of an evaluation in batches, read as they are asked for: by length, so that little is padding."""
    lengths = lengths_of(rows).tolist()
    order = sorted(range(len(rows)), key=lengths.__getitem__)
    for batch in batches_of(order, EVALUATION_BATCH, drop_last=False):
        yield [rows[index] for index in batch]


def micro_batches_of(rows: Sequence[Item], count: int) -> list[Sequence[Item]]:
    """A batch's rows cut into ``count`` micro-batches, or into single rows if there are fewer rows.

    Two micro-batches differ by one row at most: eight rows in five micro-batches are 1, 2, 1, 2 and 2 rows.
    """
    count = min(count, len(rows))
    ends = [number * len(rows) // count for number in range(count + 1)]
    return [rows[start:end] for start, end in itertools.pairwise(ends)]


def evaluated(step: int, steps: int, every: int) -> bool:
    """Whether an evaluation follows a step of a run of ``steps``; step 0 is the untrained model."""
    return step % every == 0 or step == steps


def rate_factor(step: int, steps: int, settings: Finetune) -> float:
    """What the learning rate is multiplied by at a step (from 1): rises over the warm-up, then follows the schedule.

    Linear and cosine begin to fall after the warm-up and would reach 0 one step after the last.

    Args:
        step: the step, from 1.
        steps: number of steps of the run.
        settings: the recipe; ``schedule`` and ``warmup_steps`` are used.

    Returns:
        A number above 0, at most 1.
    """
    warmup = settings.warmup_steps
    if step <= warmup:
        return step / (warmup + 1)
    done = (step - warmup - 1) / max(steps - warmup, 1)
    if settings.schedule == "linear":
        return 1 - done
    if settings.schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return 1.0
