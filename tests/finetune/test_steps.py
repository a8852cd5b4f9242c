"""How many optimiser steps a recipe makes, and which rows it leaves out, by hand."""

from __future__ import annotations

import pytest

from stages.common.errors import ConfigError
from stages.finetune.steps import planned_steps, rows_left_out
from tests.finetune.test_trainer import changed


def test_drop_last_leaves_out_the_rows_that_do_not_fill_a_batch():
    assert rows_left_out(55, changed(batch_size=24, drop_last=True)) == 7
    assert rows_left_out(48, changed(batch_size=24, drop_last=True)) == 0
    assert rows_left_out(55, changed(batch_size=24, drop_last=False)) == 0


def test_steps_are_the_batches_of_all_epochs_unless_max_steps_are_fewer():
    assert planned_steps(55, changed(batch_size=24, drop_last=True, epochs=3, max_steps=None)) == 6
    assert planned_steps(55, changed(batch_size=24, drop_last=False, epochs=3, max_steps=None)) == 9
    assert planned_steps(55, changed(batch_size=24, drop_last=True, epochs=3, max_steps=4)) == 4
    with pytest.raises(ConfigError, match="7 train rows do not fill one batch of "):
        planned_steps(7, changed(batch_size=24, drop_last=True))
