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
LEAST, _ENOUGH, _EPOCHS = 50, 100, 30
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
    told = f"{counted(train, 'train row')} in batches of {recipe.batch_size} make "
    if _is_ended(train, recipe):
        made = planned_steps(train, _with(recipe, {"max_steps": None}))
        told += f"{counted(made, 'step')}, and finetune.max_steps ends the training after {steps:,}"
    else:
        told += counted(steps, "step")
    if left := rows_left_out(train, recipe):
        told += f"; drop_last leaves out {counted(left, 'row')} of each epoch"
    if recipe.warmup_steps >= steps:
        what = f"{told}: finetune.warmup_steps is {recipe.warmup_steps}, so that the training would end before it has "
        return "problem", f"{what}reached finetune.learning_rate"
    if steps >= LEAST:
        return "ok", told
    return "ok" if steps >= _wanted(recipe) else "warning", f"{told}: so few steps change a model little"


def more_steps(train: int, recipe: Finetune) -> str:
    """The settings that make some hundred steps of so many rows, with a warm-up that is shorter.

    A finetune.max_steps that was given stays. Where no settings make enough, the number of rows that does.

    Args:
        train: number of train rows.
        recipe: the section finetune.
    """
    shorter: dict[str, object] = {"warmup_steps": _steps(train, recipe) // _WARMUP}
    if _found(train, _with(recipe, shorter))[0] == "ok":
        if not _is_ended(train, recipe):
            return f"add rows, or {_setting(recipe, shorter)}"
        longer = _found(train, _with(recipe, {"max_steps": None}))[0] == "ok"
        return _setting(recipe, shorter) + ("; or train longer, with finetune.max_steps: null" if longer else "")
    size = max(1, recipe.accumulate, recipe.devices, min(recipe.batch_size, train // _BATCHES))
    epochs = max(recipe.epochs, min(_EPOCHS, math.ceil(_ENOUGH / max(train // size, 1))))
    values: dict[str, object] = {"batch_size": size, "epochs": epochs}
    made = _steps(train, _with(recipe, values))
    values["warmup_steps"] = min(recipe.warmup_steps, made // _WARMUP)
    if _found(train, _with(recipe, values))[0] != "ok":
        return _more_rows(recipe)
    return f"add rows, or {_setting(recipe, values)}"


def _is_ended(train: int, recipe: Finetune) -> bool:
    """Whether finetune.max_steps ends the training before its epochs."""
    return _steps(train, recipe) < _steps(train, _with(recipe, {"max_steps": None}))


def _wanted(recipe: Finetune) -> int:
    """The fewest steps that are no surprise: who sets fewer by finetune.max_steps wants few."""
    return LEAST if recipe.max_steps is None else min(LEAST, recipe.max_steps)


def _steps(train: int, recipe: Finetune) -> int:
    """The steps of a recipe; 0 where it makes none."""
    try:
        return planned_steps(train, recipe)
    except ConfigError:
        return 0


def _more_rows(recipe: Finetune) -> str:
    """The number of train rows that makes enough steps by the recipe's own batches and epochs."""
    values: dict[str, object] = {}
    if recipe.max_steps is not None and recipe.warmup_steps >= recipe.max_steps:
        values["warmup_steps"] = recipe.max_steps // _WARMUP
    batches = math.ceil(max(_wanted(recipe), _with(recipe, values).warmup_steps + 1) / recipe.epochs)
    rows = batches * recipe.batch_size if recipe.drop_last else (batches - 1) * recipe.batch_size + 1
    told = f"add rows: {counted(rows, 'train row makes', 'train rows make')} {counted(batches * recipe.epochs, 'step')}"
    return f"{told}; and {_setting(recipe, values)}" if values else told


def _with(recipe: Finetune, values: Mapping[str, object]) -> Finetune:
    return Finetune.model_validate({**recipe.model_dump(), **values})


def _setting(recipe: Finetune, values: Mapping[str, object]) -> str:
    """How to set values, but for those that the recipe has."""
    changed = {f"finetune.{key}": value for key, value in values.items() if value != getattr(recipe, key)}
    return proposals.everywhere(changed)
