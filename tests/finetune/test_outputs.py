"""What a finished fine-tuning writes besides the model, worked by hand."""

from __future__ import annotations

import pytest

from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.results.finetune import StepRecord
from stages.finetune import outputs
from stages.finetune.progress import Progress
from tests import results
from tests.finetune.test_trainer import TRAIN, VAL, a_run

HISTORY = [
    StepRecord(step=0, epoch=0, tokens_seen=0, val_loss=1.0),
    StepRecord(step=1, epoch=1, tokens_seen=9, train_loss=8.0, learning_rate=0.1, grad_norm=2.0, val_loss=3.0),
    StepRecord(step=2, epoch=2, tokens_seen=20, train_loss=6.0, learning_rate=0.1, grad_norm=1.0, val_loss=5.0),
]


def test_the_figures_are_those_of_the_kept_the_last_and_the_best_step():
    found = outputs._metrics(a_run(), Progress(HISTORY, kept_step=1), 226, {"trained_parameters": 24})

    assert found == FinetuneMetrics(
        parameters=226,
        precision="fp32",
        rows_train=len(TRAIN),
        rows_val=len(VAL),
        trained_parameters=24,
        steps=2,
        epochs=2,
        tokens_seen=20,
        train_loss=6.0,
        val_loss_before=1.0,
        val_loss=3.0,
        last_val_loss=5.0,
        best_val_loss=3.0,  # of a step: the untrained model's does not count
        best_step=1,
        kept_step=1,
    )


@pytest.mark.parametrize(
    ("steps", "epochs", "recipe", "told"),
    [
        # 3,713 rows in batches of 24: 154 whole ones, and one of 17 rows.
        (462, 3, {"batch_size": 24, "drop_last": True}, ["462 steps", "3 epochs"]),
        (200, 2, {"batch_size": 24, "drop_last": True}, ["200 steps (1.3 epochs)"]),
        (20, 1, {"batch_size": 24, "drop_last": True}, ["20 steps (0.13 epochs)"]),
        (155, 1, {"batch_size": 24, "drop_last": False}, ["155 steps", "1 epoch"]),
        (155, 2, {"batch_size": 24, "drop_last": True}, ["155 steps (1.01 epochs)"]),
        (3714, 2, {"batch_size": 1, "drop_last": True}, ["3,714 steps (1 epoch)"]),
        # What it was made with is not known.
        (200, 2, {}, ["200 steps", "2 epochs"]),
    ],
)
def test_an_epoch_that_did_not_end_is_no_whole_one(steps, epochs, recipe, told):
    found = results.finetune_metrics(rows_train=3713, steps=steps, epochs=epochs)

    assert found.length(recipe) == told


def test_a_field_that_no_recipe_asks_for_is_absent():
    found = outputs._metrics(a_run(), Progress(HISTORY, kept_step=2), 226, {})

    assert "trained_parameters" not in found.model_dump(exclude_unset=True)


def test_the_losses_are_a_table_with_empty_cells_where_nothing_was_measured(tmp_path):
    outputs.write_losses(HISTORY[:2], tmp_path / "loss.csv")

    assert (tmp_path / "loss.csv").read_text() == "step,train_loss,val_loss\n0,,1.000000\n1,8.000000,3.000000\n"
