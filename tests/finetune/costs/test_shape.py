"""The shapes of batches, worked by hand and against the batches that training really makes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.finetune import trainer
from stages.finetune.batches import collate, epoch_order
from stages.finetune.costs import work
from stages.finetune.costs.shape import Shape, evaluation_shapes, training_shapes
from stages.finetune.layout import PLAIN, Layout
from stages.finetune.team import Team
from stages.finetune.training_run import Run
from stages.gpt2 import weights
from tests.finetune.costs.test_work import ON_CPU, RECIPE, ROWS, SIZES, random_rows, row

made_rows = st.lists(
    st.tuples(st.lists(st.integers(0, 2), min_size=2, max_size=9), st.integers(0, 6)), min_size=1, max_size=5
)


def test_the_shape_of_three_rows_worked_by_hand():
    shape = Shape.of(ROWS, "all")

    assert (shape.prefix, shape.rows, shape.longest) == (2, 3, 2)
    assert shape.tokens == 2 + 2 + 1 + 1
    # After 1 comes 2 in all rows, after 2 a 3 twice and a 5 once: three indices. Then 4, 9; 9; 9.
    assert shape.targets == 3 + 4
    assert shape.inputs == (4, 3, 3)
    assert shape.grid == 3 * 2
    # The prefix: 1 + 2 pairs. Six queries of the grid meet 2 + 2 keys each.
    assert shape.pairs == 3 + 6 * 4


def test_the_shape_without_a_shared_prefix():
    shape = Shape.of(ROWS, "all", share_prefix=False)

    assert (shape.prefix, shape.longest, shape.tokens, shape.targets, shape.grid) == (0, 4, 10, 10, 12)
    assert shape.pairs == 3 * (1 + 2 + 3 + 4)


def test_only_the_response_is_a_target():
    # Prompts of 3: the first response ids are 4, 9 and 9; nothing within the shared prefix counts.
    rows = [one.model_copy(update={"prompt_length": 3}) for one in ROWS]

    assert Shape.of(rows, "response").targets == 2 + 1 + 1
    assert Shape.of(rows, "response", share_prefix=False).targets == 4


@given(
    made_rows,
    st.sampled_from(["all", "response"]),
    st.booleans(),
    st.builds(Layout, st.integers(1, 9)) | st.just(Layout(padded=True)),
    st.integers(0, 10),
)
def test_the_shape_is_that_of_the_batch_that_is_made(made, loss_on, share, layout, common):
    begin = [0] * common
    rows = [row(*begin, *ids, prompt=min(common + prompt, common + len(ids) - 1)) for ids, prompt in made]

    batch = collate(rows, loss_on, PLAIN, share_prefix=share)
    padded = collate(rows, loss_on, layout, share_prefix=share)
    shape = Shape.of(rows, loss_on, layout, share_prefix=share)

    assert shape.tokens == len(batch.ids) + (len(rows) - 1) * (batch.attend.prefix - padded.attend.prefix)
    assert shape.targets == int(padded.weights.count_nonzero())
    assert shape.computed == len(padded.ids) == len(padded.positions)
    assert shape.logits == len(padded.where) == len(padded.targets) == len(padded.weights)
    attend = padded.attend
    assert (shape.prefix, shape.rows, shape.longest) == (attend.prefix, attend.rows, attend.width)
    assert shape.padding == attend.rows * attend.width - sum(length - attend.prefix for length in shape.inputs)


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_a_team_computes_what_its_processes_share_out(processes):
    train = random_rows(4, seed=1)
    recipe = RECIPE.model_copy(update={"max_steps": 1})
    run = Run(recipe, train, ROWS, "all", ON_CPU, Team(0, processes))
    [step] = training_shapes(run)

    batch = [train[index] for index in epoch_order(len(train), recipe.seed, 1)]
    shares = [Team(rank, processes).share(batch) for rank in range(processes)]
    assert step == [Shape.of(rows, "all") for rows, counts in shares if counts]
    by_length = [ROWS[1], ROWS[2], ROWS[0]]
    assert evaluation_shapes(run) == [Shape.of(by_length[rank::processes], "all") for rank in range(min(processes, 3))]


@pytest.mark.parametrize("changed", [{}, {"accumulate": 3}, {"drop_last": False}, {"max_steps": 4}])
def test_the_tokens_are_those_that_training_has_seen_step_by_step(changed):
    recipe = RECIPE.model_copy(update=changed)
    train, val = random_rows(14, 0), random_rows(5, 1)
    run = Run(recipe, train, val, "all", ON_CPU)

    history = trainer.fit(weights.initialise(SIZES, seed=0), run, on_step=lambda _: None).history

    seen = [0]
    for shapes in training_shapes(run):
        seen.append(seen[-1] + sum(sum(shape.inputs) for shape in shapes))
    assert seen == [record.tokens_seen for record in history]
    assert work.evaluations(run.steps, recipe.eval_every) == [r.step for r in history if r.val_loss is not None]
