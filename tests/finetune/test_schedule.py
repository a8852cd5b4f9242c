"""Which rows a run learns from at which step, and what sound steps are."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.finetune.progress import StepRecord
from stages.finetune.schedule import micro_batches_of, steps_of
from stages.finetune.soundness import Soundness
from tests.finetune.test_trainer import TRAIN, changed


@pytest.mark.parametrize(
    ("rows", "parts", "sizes"),
    [(8, 1, [8]), (8, 5, [1, 2, 1, 2, 2]), (8, 3, [2, 3, 3]), (8, 8, [1] * 8), (3, 8, [1, 1, 1]), (9, 2, [4, 5])],
)
def test_micro_batches(rows, parts, sizes):
    assert [len(part) for part in micro_batches_of(range(rows), parts)] == sizes


@given(st.integers(1, 60), st.integers(1, 60))
def test_micro_batches_are_as_many_as_asked_and_hold_every_row_once(rows, parts):
    found = micro_batches_of(range(rows), parts)

    assert len(found) == min(rows, parts)
    assert [row for part in found for row in part] == list(range(rows))
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_the_steps_of_a_run_and_of_one_that_goes_on():
    recipe = changed(eval_every=2)
    every = list(steps_of(TRAIN, recipe, 7))

    assert [step.number for step in every] == [1, 2, 3, 4, 5, 6, 7]
    assert [step.epoch for step in every] == [1, 1, 1, 2, 2, 2, 3]
    assert [step.number for step in every if step.evaluated] == [2, 4, 6, 7]
    assert len({row.id for step in every[:3] for row in step.rows}) == 12
    assert list(steps_of(TRAIN, recipe, 7, done=4)) == every[4:]
    assert list(steps_of(TRAIN, recipe, 7, done=7)) == []
    assert list(steps_of(TRAIN, changed(batch_size=15), 7)) == [], "rows that fill no batch make no step"


CPU = torch.device("cpu")


def lost(soundness: Soundness, loss: float, norm: float, after: int) -> bool:
    return bool(soundness.lost(torch.tensor(loss), torch.tensor(norm), after).item())


def record(step: int, loss: float, norm: float) -> StepRecord:
    return StepRecord(step=step, epoch=1, tokens_seen=0, train_loss=loss, grad_norm=norm)


@pytest.mark.parametrize(
    ("loss", "norm", "fault"),
    [
        (21.6, 5999.0, None),
        (21.7, 1.0, "train_loss is 21.7, more than 21.65, twice that of guessing"),
        (1.0, 6001.0, "grad_norm is 6001, more than 1,000 times the largest before it, 6"),
        (math.nan, 1.0, "train_loss is nan"),
        (1.0, math.inf, "grad_norm is inf"),
    ],
)
def test_sound_and_unsound_steps(loss, norm, fault):
    soundness = Soundness(50257, [record(1, 4.0, 2.0), record(2, 3.0, 6.0), record(3, 3.0, 1.0)], CPU)

    assert soundness.fault(record(4, loss, norm)) == fault
    assert lost(soundness, loss, norm, 3) == (fault is not None)
    # What comes after an unsound step is lost too.
    assert lost(soundness, 1.0, 1.0, 4) == (fault is not None)


def test_the_first_step_sets_the_limits_and_only_an_infinite_norm_passes_none():
    soundness = Soundness(50257, [], CPU)

    assert soundness.fault(record(1, 12.0, 1e30)) is None
    assert soundness.fault(record(1, 12.0, math.inf)) == "grad_norm is inf"
    soundness.passed(record(1, 12.0, 3.0))
    assert soundness.fault(record(2, 24.0, 3000.0)) is None
    assert soundness.fault(record(2, 24.1, 3.0)) == "train_loss is 24.1, more than 24, twice that of guessing"
    assert "more than 1,000 times the largest before it, 3" in soundness.fault(record(2, 12.0, 3001.0))


@given(
    st.lists(
        st.tuples(
            st.floats(0, 60, width=32) | st.just(math.nan),
            st.floats(0, 2.0**66, width=32) | st.sampled_from([math.inf, math.nan]),
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 8),
)
def test_the_device_judges_as_the_numbers_do(steps, known):
    history = [record(number, *values) for number, values in enumerate(steps, 1)]
    told = Soundness(50257, [], CPU)
    for number, one in enumerate(history):
        if told.fault(one):
            history = history[: number + 1]
            break
        told.passed(one)
    known = min(known, len(history) - 1)

    # From the beginning, and going on from a checkpoint; one step is taken after another, before any is read.
    for begun in (0, known):
        soundness = Soundness(50257, history[:begun], CPU)
        found = [lost(soundness, one.train_loss, one.grad_norm, one.step - 1) for one in history[begun:]]
        assert found == [False] * (len(found) - 1) + [told.fault(history[-1]) is not None]
