"""Too few optimiser steps: told before a run, with settings that make more."""

from __future__ import annotations

import pytest

from flows.profiles import parse_override
from stages.finetune import few_steps
from stages.params.finetune import Finetune
from tests import small_pipeline
from tests.root import ROOT


def quick(**values: object) -> Finetune:
    """The recipe of the profile quick, with other values."""
    section = small_pipeline.read_yaml(ROOT / "profiles/quick.yaml")["finetune"]
    return Finetune.model_validate(small_pipeline.read_yaml(ROOT / "params.yaml")["finetune"] | section | values)


def test_the_steps_of_the_bundled_rows_are_many() -> None:
    row = few_steps.row_of(3713, quick())
    assert row.state == "ok"
    assert row.found == ("3,713 train rows in batches of 24 make 462 steps; drop_last leaves out 17 rows of each epoch")


def test_a_warm_up_that_is_as_long_as_the_training_is_a_problem() -> None:
    """55 rows: two batches of 24 an epoch, three epochs. Proposed: batches of 55 // 8, nine an epoch, 12 epochs."""
    row = few_steps.row_of(55, quick())
    assert (row.state, row.exit_code) == ("problem", 78)
    assert row.found == (
        "55 train rows in batches of 24 make 6 steps; drop_last leaves out 7 rows of each epoch: finetune.warmup_steps "
        "is 50, so that the training would end before it has reached finetune.learning_rate"
    )
    assert row.fix == (
        "add rows, or set finetune.batch_size: 6, finetune.epochs: 12, finetune.warmup_steps: 10 in params.yaml, or "
        "--set finetune.batch_size=6 --set finetune.epochs=12 --set finetune.warmup_steps=10"
    )


def test_a_short_training_is_a_warning_and_an_empty_one_a_problem() -> None:
    row = few_steps.row_of(55, quick(warmup_steps=0))
    assert row.state == "warning"
    assert row.found.endswith(": so few change a model little")
    row = few_steps.row_of(7, quick(warmup_steps=0))
    assert (row.state, row.found) == ("problem", "7 train rows do not fill one batch of finetune.batch_size 24")
    assert row.fix == (
        "add rows, or set finetune.batch_size: 1, finetune.epochs: 15 in params.yaml, or --set finetune.batch_size=1 "
        "--set finetune.epochs=15"
    )


def test_where_max_steps_ends_the_training_no_rows_are_asked_for() -> None:
    fix = few_steps.row_of(3713, quick(max_steps=3, warmup_steps=5)).fix
    assert fix == "set finetune.max_steps: null in params.yaml, or --set finetune.max_steps=null"


@pytest.mark.parametrize(
    ("rows", "recipe"),
    [
        (55, quick()),
        (20, quick()),
        (3, quick()),
        (200, quick(max_steps=5, warmup_steps=20)),
        (60, quick(accumulate=12)),
        (55, quick(drop_last=False)),
    ],
)
def test_what_is_proposed_helps(rows: int, recipe: Finetune) -> None:
    fix = few_steps.row_of(rows, recipe).fix
    assert fix is not None
    words = fix.partition(" or --set ")[2].split(" --set ")
    values = {key.partition(".")[2]: value for key, value in map(parse_override, words)}
    assert few_steps.row_of(rows, Finetune.model_validate(recipe.model_dump() | values)).state == "ok"
