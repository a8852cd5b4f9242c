"""How far a run has come, and which of its evaluations is the best."""

from __future__ import annotations

import pytest

from stages.common.results.finetune import StepRecord
from stages.finetune.progress import Progress, best_evaluation


def history(*losses: float | None) -> list[StepRecord]:
    """A record a step, from step 0 on, with its validation loss."""
    return [StepRecord(step=step, epoch=1, tokens_seen=step, val_loss=loss) for step, loss in enumerate(losses)]


@pytest.mark.parametrize(
    ("losses", "step", "later"),
    [
        ((9.0, 3.0, 2.0, 1.0), 3, 0),
        ((9.0, 3.0, 1.0, 2.0, 4.0), 2, 2),
        ((9.0, 2.0, 1.0, 1.0, 3.0), 2, 2),  # the first of equals
        ((9.0, 1.0, 1.0, 1.0), 1, 2),
        ((0.5, 3.0, 2.0), 2, 0),  # the untrained model is none of them
        ((0.5, 2.0), 1, 0),
        ((9.0, None, 2.0, None, None, 3.0, None), 2, 1),  # steps without an evaluation do not count
        ((9.0, 1.0, 0.0, 0.5), 2, 1),  # a loss of 0 is the lowest there is
    ],
)
def test_the_best_evaluation_and_how_many_came_after_it(losses, step, later):
    best, since = best_evaluation(history(*losses))

    assert (best.step, since) == (step, later)


def test_steps_are_those_of_the_last_record_and_minus_one_before_the_first():
    assert (Progress().step, Progress(history(9.0)).step, Progress(history(9.0, None, None)).step) == (-1, 0, 2)


def test_two_runs_do_not_share_a_history():
    first = Progress()
    first.history += history(9.0)

    assert Progress().history == []


def test_progress_is_read_back_from_json_to_the_last_bit():
    progress = Progress(history(0.1 + 0.2, None), kept_step=1)

    tree = progress.to_json()

    assert tree["kept_step"] == 1
    assert [record["val_loss"] for record in tree["history"]] == [0.30000000000000004, None]
    assert Progress.from_json(tree) == progress


def test_a_record_with_a_wrong_value_is_refused():
    with pytest.raises(ValueError, match="step"):
        Progress.from_json({"history": [{"step": "x", "epoch": 1, "tokens_seen": 1}], "kept_step": None})
