"""Too few optimiser steps for a training, and the settings that make more."""

from __future__ import annotations

import math

from stages.common import proposals
from stages.common.errors import ConfigError
from stages.common.plurals import counted
from stages.finetune.steps import planned_steps, rows_left_out
from stages.params.finetune import Finetune
from stages.running.checks.row import Row, ok, problem, warning

#: Fewer steps than this change a model little. The steps that are proposed, and the most epochs.
LEAST, _WANTED, _EPOCHS = 50, 100, 30
#: Batches that an epoch of a small dataset should have; and the part of the steps that is warm-up at most.
_BATCHES, _WARMUP = 8, 10


def row_of(train: int, recipe: Finetune) -> Row:
    """What is told of the steps before a run.

    Args:
        train: number of train rows; later stages can only leave some out.
        recipe: the section finetune.
    """
    name = "finetune steps"
    try:
        steps = planned_steps(train, recipe)
    except ConfigError as error:
        return problem(name, ConfigError(error.what, more_steps(train, recipe)))
    told = f"{counted(train, 'train row')} in batches of {recipe.batch_size} make {counted(steps, 'step')}"
    if left := rows_left_out(train, recipe):
        told += f"; drop_last leaves out {counted(left, 'row')} of each epoch"
    if recipe.warmup_steps >= steps:
        what = f"{told}: finetune.warmup_steps is {recipe.warmup_steps}, so that the training would end before it has "
        return problem(name, ConfigError(f"{what}reached finetune.learning_rate", more_steps(train, recipe)))
    if steps < LEAST:
        return warning(name, f"{told}: so few change a model little", more_steps(train, recipe))
    return ok(name, told)


def more_steps(train: int, recipe: Finetune) -> str:
    """The settings that make some hundred steps of so many rows, with a warm-up that is shorter.

    Args:
        train: number of train rows.
        recipe: the section finetune.
    """
    size = max(1, recipe.accumulate, recipe.devices, min(recipe.batch_size, train // _BATCHES))
    an_epoch = max(train // size, 1)
    epochs = max(recipe.epochs, min(_EPOCHS, math.ceil(_WANTED / an_epoch)))
    steps = an_epoch * epochs
    values: dict[str, object] = {"finetune.batch_size": size, "finetune.epochs": epochs}
    ended = recipe.max_steps is not None and recipe.max_steps < min(steps, _WANTED)
    if ended:
        values["finetune.max_steps"] = None
    values["finetune.warmup_steps"] = min(recipe.warmup_steps, steps // _WARMUP)
    changed = {key: value for key, value in values.items() if value != getattr(recipe, key.partition(".")[2])}
    listed = ", ".join(f"{key}: {proposals.scalar(value)}" for key, value in changed.items())
    options = " ".join(proposals.option(key, value) for key, value in changed.items())
    return f"{'' if ended else 'add rows, or '}set {listed} in params.yaml, or {options}"
