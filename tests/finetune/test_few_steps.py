"""Too few optimiser steps: told before a run, with settings that make more."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.finetune import few_steps
from stages.params import options
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
        "add rows, or set finetune.batch_size: 6, finetune.epochs: 12, finetune.warmup_steps: 10 in params.yaml or "
        "Prefect's form, or --set finetune.batch_size=6 --set finetune.epochs=12 --set finetune.warmup_steps=10"
    )


def test_a_short_training_is_a_warning_and_an_empty_one_a_problem() -> None:
    row = few_steps.row_of(55, quick(warmup_steps=0))
    assert row.state == "warning"
    assert row.found.endswith(": so few steps change a model little")
    row = few_steps.row_of(7, quick(warmup_steps=0))
    assert (row.state, row.found) == ("problem", "7 train rows do not fill one batch of finetune.batch_size 24")
    assert row.fix == (
        "add rows, or set finetune.batch_size: 1, finetune.epochs: 15 in params.yaml or Prefect's form, or --set "
        "finetune.batch_size=1 --set finetune.epochs=15"
    )


def test_where_max_steps_ends_the_training_it_stays_and_the_warm_up_is_shorter() -> None:
    row = few_steps.row_of(3713, quick(max_steps=20))
    assert row.state == "problem"
    assert row.found == (
        "3,713 train rows in batches of 24 make 462 steps, and finetune.max_steps ends the training after 20; "
        "drop_last leaves out 17 rows of each epoch: finetune.warmup_steps is 50, so that the training would end "
        "before it has reached finetune.learning_rate"
    )
    assert row.fix == (
        "set finetune.warmup_steps: 2 in params.yaml or Prefect's form, or --set finetune.warmup_steps=2; or train "
        "longer, with finetune.max_steps: null"
    )


def test_a_longer_training_is_offered_only_where_it_is_long_enough() -> None:
    """55 rows in batches of 24 for 40 epochs: 80 steps, fewer than the warm-up."""
    fix = few_steps.row_of(55, quick(epochs=40, max_steps=20, warmup_steps=100)).fix
    assert fix == "set finetune.warmup_steps: 2 in params.yaml or Prefect's form, or --set finetune.warmup_steps=2"


def test_few_steps_that_max_steps_asks_for_are_a_note_without_a_fix() -> None:
    row = few_steps.row_of(3713, quick(max_steps=20, warmup_steps=2))
    assert (row.state, row.fix) == ("ok", None)
    assert row.found.endswith(" leaves out 17 rows of each epoch: so few steps change a model little")
    # Three epochs of two batches are fewer than what it asks for.
    assert few_steps.row_of(55, quick(max_steps=7, warmup_steps=0)).state == "warning"
    assert few_steps.row_of(55, quick(max_steps=6, warmup_steps=0)).state == "ok"


@pytest.mark.parametrize(
    ("rows", "recipe", "fix"),
    [
        # 50 steps of 30 epochs: two batches of one.
        (1, quick(epochs=30, batch_size=1, warmup_steps=0), "add rows: 2 train rows make 60 steps"),
        # 51 steps, one more than the warm-up, of three epochs: 17 batches of 24.
        (0, quick(), "add rows: 408 train rows make 51 steps"),
        # 17 batches of 4; an accumulation of 3 takes no batch of 1.
        (1, quick(batch_size=4, accumulate=3), "add rows: 68 train rows make 51 steps"),
        # 16 whole batches and a row.
        (0, quick(drop_last=False), "add rows: 385 train rows make 51 steps"),
        # 9 steps, as max_steps asks for, of three epochs: three batches of 24.
        (0, quick(max_steps=9, warmup_steps=0), "add rows: 72 train rows make 9 steps"),
        (
            0,
            quick(max_steps=9),
            "add rows: 72 train rows make 9 steps; and set finetune.warmup_steps: 0 in params.yaml or Prefect's form, "
            "or --set finetune.warmup_steps=0",
        ),
    ],
)
def test_where_no_values_help_the_rows_are_counted(rows: int, recipe: Finetune, fix: str) -> None:
    assert few_steps.row_of(rows, recipe).fix == fix


def test_where_the_steps_are_enough_only_a_shorter_warm_up_is_proposed() -> None:
    assert few_steps.row_of(84, quick(batch_size=1, epochs=1, warmup_steps=84)).fix == (
        "add rows, or set finetune.warmup_steps: 8 in params.yaml or Prefect's form, or --set finetune.warmup_steps=8"
    )


RECIPES = st.builds(
    lambda values, accumulate, devices: quick(
        **values,
        accumulate=min(accumulate, values["batch_size"]),
        devices=min(devices, values["batch_size"]),
    ),
    st.fixed_dictionaries(
        {
            "batch_size": st.integers(1, 64),
            "epochs": st.integers(1, 60),
            "warmup_steps": st.integers(0, 200),
            "max_steps": st.none() | st.integers(1, 200),
            "drop_last": st.booleans(),
        }
    ),
    st.integers(1, 8),
    st.integers(1, 4),
)


@given(st.integers(0, 300), RECIPES)
@example(1, quick(epochs=30, batch_size=1, warmup_steps=0))
@example(0, quick())
@example(1, quick(batch_size=4, accumulate=3))
@example(200, quick(max_steps=5, warmup_steps=20))
@example(60, quick(accumulate=12))
@example(55, quick(drop_last=False))
@example(0, quick(max_steps=9))
@example(7, quick(max_steps=20))
@settings(deadline=None, max_examples=300)
def test_what_is_proposed_passes(rows: int, recipe: Finetune) -> None:
    """The options of a proposal, behind a command; where rows are counted, with so many rows."""
    fix = few_steps.row_of(rows, recipe).fix
    if fix is None:
        return
    words = shlex.split(fix.partition(" or --set ")[2].partition(";")[0].replace("--set ", ""))
    values = {key.partition(".")[2]: value for key, value in map(options.parse, words)}
    counted = re.match(r"add rows: ([\d,]+) train row", fix)
    assert values or counted
    more = int(counted[1].replace(",", "")) if counted else rows
    assert more > rows or not counted
    assert few_steps.row_of(more, Finetune.model_validate(recipe.model_dump() | values)).state == "ok"
