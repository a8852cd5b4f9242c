"""Captured optimiser steps, on a tape that captures and replays on a CPU what a CUDA graph does on a GPU."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from stages.common.errors import ConfigError
from stages.common.results.finetune import StepRecord
from stages.finetune import layout, loss, trainer
from stages.finetune.batches import Batch, collate
from stages.finetune.captured_steps import CapturedLosses, CapturedSteps
from stages.finetune.layout import Layout
from stages.finetune.optimizer import MasterWeights
from stages.gpt2 import graphs, weights
from tests.finetune.test_trainer import RECIPE, TINY, a_run, changed, made_rows
from tests.tapes import Tapes

TRAIN = made_rows(24)
#: With 24 rows, six steps an epoch, of which those of one shape are replayed from its graph.
LONG = changed(epochs=6, eval_every=100)


@pytest.fixture
def padded_rows(monkeypatch):
    """Train in the layout of a GPU, with its way to the embeddings' gradients, and without a look at the loss."""
    monkeypatch.setattr(loss, "_may_be_seen", lambda _: False)
    monkeypatch.setattr(layout, "training", lambda *_: Layout(padded=True))
    monkeypatch.setattr(layout, "evaluation", lambda _: Layout(padded=True))
    initialise = weights.initialise

    def made(*arguments, **named):
        model = initialise(*arguments, **named)
        model.wte.through_autograd = model.wpe.through_autograd = True
        return model

    monkeypatch.setattr(weights, "initialise", made)


@pytest.fixture
def tapes(padded_rows, monkeypatch):
    """Capture steps on tapes."""
    runs = []

    def kept(*arguments):
        runs.append(MasterWeights(*arguments))
        return runs[-1]

    monkeypatch.setattr(trainer, "MasterWeights", kept)
    made = Tapes(lambda: [*runs[-1].parameters.values(), *runs[-1].master, *runs[-1].exp_avg, *runs[-1].exp_avg_sq])
    monkeypatch.setattr(graphs, "runner", lambda _: made)
    return made


def fit(recipe=LONG, dtype=torch.float32):
    model = weights.initialise(TINY, seed=0)
    history: list[StepRecord] = []
    trainer.fit(model, a_run(recipe, train=TRAIN, dtype=dtype), on_step=history.append)
    return list(model.parameters()), history


RECIPES = [
    changed(epochs=6, eval_every=100, schedule="cosine", warmup_steps=3, clip_norm=0.5),
    changed(epochs=6, eval_every=100, dropout=0.2),
    changed(epochs=6, eval_every=2, accumulate=2, decay="matrices", drop_last=False, batch_size=5),
]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_captured_steps_are_the_plain_ones_to_the_bit(recipe, dtype, tapes, monkeypatch):
    found, of_tapes = fit(recipe, dtype)

    passes = len(of_tapes) - 1 + sum(record.val_loss is not None for record in of_tapes)
    captures = tapes.done.count("captured")
    # The first step and the first evaluation are run eagerly, and a step more to compare the first captured one with.
    assert tapes.done.count("replayed") == passes - (tapes.done.count("eager") - 1)
    assert tapes.done.count("replayed") > passes / 2
    assert 2 <= captures <= 9
    monkeypatch.setattr(graphs, "MOST", 0)
    expected, history = fit(recipe, dtype)
    assert of_tapes == history
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_captured_steps_follow_those_of_a_cpu(tapes, monkeypatch):
    recipe = changed(epochs=6, schedule="cosine", warmup_steps=3, clip_norm=0.5, weight_decay=1.0)
    _, found = fit(recipe)
    monkeypatch.undo()
    _, expected = fit(recipe)

    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.step, ours.epoch, ours.tokens_seen) == (theirs.step, theirs.epoch, theirs.tokens_seen)
        assert ours.learning_rate == theirs.learning_rate
        assert (ours.val_loss is None) == (theirs.val_loss is None)
        for name in ("train_loss", "grad_norm", "val_loss"):
            if getattr(theirs, name) is not None:
                assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-3), ours.step


def test_shapes_beyond_the_most_are_run_eagerly(tapes, monkeypatch):
    expected, history = fit()
    shapes = tapes.done.count("captured")
    assert shapes > 1
    monkeypatch.setattr(graphs, "MOST", 1)
    tapes.done.clear()

    found, of_fewer = fit()

    assert tapes.done.count("captured") == 2, "one of the steps and one of the evaluations"
    assert of_fewer == history
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_what_cannot_be_captured_is_warned_of_once_and_run_eagerly(tapes, monkeypatch):
    recipe = LONG.model_copy(update={"accumulate": 2})
    expected, history = fit(recipe)
    gather = MasterWeights.gather

    def looking(kept):
        gather(kept)
        assert kept.sums[0].sum().item() > -1e9  # when a part's gradient is there, and another's is to come

    monkeypatch.setattr(MasterWeights, "gather", looking)
    tapes.done.clear()

    with pytest.warns(UserWarning, match="training steps are not captured as CUDA graphs, and take longer: operation"):
        found, eager = fit(recipe)

    assert tapes.done.count("captured") == 2, "of the evaluations one has worked"
    assert tapes.done.count("replayed") == 1
    assert eager == history
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def kept_steps(monkeypatch):
    """References to the captured steps of the runs to come, which keep nothing alive."""
    made = []

    def kept(*arguments):
        steps = CapturedSteps(*arguments)
        made.append(weakref.ref(steps))
        return steps

    monkeypatch.setattr(trainer, "CapturedSteps", kept)
    return made


def test_a_captured_step_whose_numbers_are_others_ends_the_run(tapes, monkeypatch):
    made = kept_steps(monkeypatch)
    capture = tapes.capture

    def wrong(work):
        replay = capture(work)
        return lambda: (replay(), made[0]()._results.mul_(1.5))

    tapes.capture = wrong

    with pytest.raises(ConfigError, match=r"a CUDA graph has a loss of .* and run eagerly of") as error:
        fit()

    assert "PIPELINE_CUDA_GRAPHS=0" in error.value.fix


def test_all_that_only_steps_need_goes_when_the_run_ends(tapes, monkeypatch):
    made = kept_steps(monkeypatch)
    gc.disable()
    try:
        fit(LONG.model_copy(update={"epochs": 1}), torch.bfloat16)
        assert [steps() for steps in made] == [None]
    finally:
        gc.enable()


def test_steps_are_not_captured_where_activations_are_computed_again(tapes):
    _, history = fit(RECIPE.model_copy(update={"activation_checkpointing": True}))

    evaluations = sum(record.val_loss is not None for record in history)
    assert tapes.done == ["eager", "captured", *["replayed"] * (evaluations - 1)]


@pytest.mark.parametrize(("value", "there"), [("0", None), ("1", None), ("", None), ("no", "refused")])
def test_the_variable_is_0_or_1_and_a_cpu_captures_nothing(value, there, monkeypatch):
    monkeypatch.setenv(graphs.VARIABLE, value)
    if there == "refused":
        with pytest.raises(ConfigError, match=f"PIPELINE_CUDA_GRAPHS: expected 0 or 1, found '{value}'"):
            graphs.runner(torch.device("cpu"))
    else:
        assert graphs.runner(torch.device("cpu")) is there


def test_batches_of_shapes_beyond_the_most_are_not_kept(monkeypatch):
    """The first batch is computed eagerly, and the second one, of two rows, is the only one that is captured."""
    monkeypatch.setattr(graphs, "MOST", 1)
    seen: list[weakref.ref[torch.Tensor]] = []

    def loss_of(batch: Batch) -> torch.Tensor:
        seen.append(weakref.ref(batch.ids))
        return batch.ids.sum().float()

    losses = CapturedLosses(loss_of, Tapes(), torch.device("cpu"))
    found = []
    for rows in (1, 2, 3, 4, 2, 3):
        batch = collate(TRAIN[:rows], "all", Layout(padded=True))
        found.append((losses(batch).item(), batch.ids.sum().item()))
        del batch
    gc.collect()

    assert all(loss == expected for loss, expected in found)
    assert [ids() is not None for ids in seen] == [False, True, False, False, False]
