"""Too few optimiser steps for a training, and the settings that make more."""

from __future__ import annotations

import math
from collections.abc import Mapping

from stages.common import proposals
from stages.common.errors import ConfigError
from stages.common.plurals import counted
from stages.finetune.steps import planned_steps, rows_left_out
from stages.params.finetune import Finetune
from stages.running.checks.row import Row, State, ok, problem, warning

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
    state, told = _found(train, recipe)
    if state == "ok":
        return ok(name, told)
    fix = more_steps(train, recipe)
    return warning(name, told, fix) if state == "warning" else problem(name, ConfigError(told, fix))


def _found(train: int, recipe: Finetune) -> tuple[State, str]:
    try:
        steps = planned_steps(train, recipe)
    except ConfigError as error:
        return "problem", error.what
    told = f"{counted(train, 'train row')} in batches of {recipe.batch_size} make {counted(steps, 'step')}"
    if left := rows_left_out(train, recipe):
        told += f"; drop_last leaves out {counted(left, 'row')} of each epoch"
    if recipe.warmup_steps >= steps:
        what = f"{told}: finetune.warmup_steps is {recipe.warmup_steps}, so that the training would end before it has "
        return "problem", f"{what}reached finetune.learning_rate"
    return ("warning", f"{told}: so few change a model little") if steps < LEAST else ("ok", told)


def more_steps(train: int, recipe: Finetune) -> str:
    """The settings that make some hundred steps of so many rows, with a warm-up that is shorter.

    Where no settings make enough, the number of rows that does.

    Args:
        train: number of train rows.
        recipe: the section finetune.
    """
    shorter: dict[str, object] = {"warmup_steps": _steps(train, recipe) // _WARMUP}
    if _found(train, _with(recipe, shorter))[0] == "ok":
        return f"add rows, or {_setting(recipe, shorter)}"
    size = max(1, recipe.accumulate, recipe.devices, min(recipe.batch_size, train // _BATCHES))
    an_epoch = max(train // size, 1)
    epochs = max(recipe.epochs, min(_EPOCHS, math.ceil(_WANTED / an_epoch)))
    steps = an_epoch * epochs
    values: dict[str, object] = {"batch_size": size, "epochs": epochs}
    ended = recipe.max_steps is not None and recipe.max_steps < min(steps, _WANTED)
    if ended:
        values["max_steps"] = None
    made = _steps(train, _with(recipe, values))
    values["warmup_steps"] = min(recipe.warmup_steps, made // _WARMUP)
    if _found(train, _with(recipe, values))[0] != "ok":
        return _more_rows(recipe)
    return f"{'' if ended else 'add rows, or '}{_setting(recipe, values)}"


def _steps(train: int, recipe: Finetune) -> int:
    """The steps of a recipe; 0 where it makes none."""
    try:
        return planned_steps(train, recipe)
    except ConfigError:
        return 0


def _more_rows(recipe: Finetune) -> str:
    """The number of train rows that makes enough steps by the recipe's own batches and epochs."""
    enough = max(LEAST, recipe.warmup_steps + 1)
    batches = math.ceil(enough / recipe.epochs)
    rows = batches * recipe.batch_size if recipe.drop_last else (batches - 1) * recipe.batch_size + 1
    told = f"add rows: {counted(rows, 'train row makes', 'train rows make')} {counted(batches * recipe.epochs, 'step')}"
    if recipe.max_steps is None or recipe.max_steps >= enough:
        return told
    return f"{told}; and {_setting(recipe, {'max_steps': None})}"


def _with(recipe: Finetune, values: Mapping[str, object]) -> Finetune:
    return Finetune.model_validate({**recipe.model_dump(), **values})


def _setting(recipe: Finetune, values: Mapping[str, object]) -> str:
    """How to set values, but for those that the recipe has."""
    changed = {f"finetune.{key}": value for key, value in values.items() if value != getattr(recipe, key)}
    listed = ", ".join(f"{key}: {proposals.scalar(value)}" for key, value in changed.items())
    return f"set {listed} in params.yaml, or {' '.join(proposals.option(key, value) for key, value in changed.items())}"
