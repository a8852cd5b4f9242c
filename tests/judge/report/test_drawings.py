"""Drawings of the report, by where their points lie."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from stages.common.results.finetune import StepRecord
from stages.judge.report import drawings
from tests import results


def step(number: int, train: float | None = None, val: float | None = None) -> StepRecord:
    return StepRecord(step=number, epoch=1, tokens_seen=number, train_loss=train, val_loss=val)


HISTORY = [step(0, val=8.0), step(1, 8.0), step(2, 4.0), step(3, 2.0), step(4, 2.0, 2.5)]


def drawn(history: list[StepRecord], kept: int) -> ElementTree.Element:
    """The drawing, which must be well formed."""
    return ElementTree.fromstring(drawings.losses(history, kept, "words"))


def paths(found: ElementTree.Element, kind: str) -> list[str]:
    return [one.get("d", "") for one in found.iter("path") if kind in (one.get("class") or "").split()]


def test_a_figure_and_its_interval_lie_where_they_belong_on_the_scale():
    made = drawings.strip([("tuned", 40.0, results.interval(20.0, 60.0))], 0.0, 100.0)

    assert 'd="M20.0 8H60.0" class="ci tuned"' in made
    assert 'd="M40.0 8h0" class="dot tuned"' in made
    assert 'aria-hidden="true"' in made


def test_a_scale_of_differences_has_a_mark_at_zero():
    made = drawings.strip([("tuned", -5.0, None)], -10.0, 10.0)

    assert 'd="M50.0 1V15"' in made
    assert 'd="M25.0 8h0"' in made


def test_what_lies_beyond_the_scale_is_drawn_at_its_end():
    assert 'd="M100.0 8h0"' in drawings.strip([("tuned", 140.0, None)], 0.0, 100.0)


def test_the_curves_go_from_left_to_right_and_the_lower_loss_is_lower():
    (val,) = paths(drawn(HISTORY, 4), "val")
    points = [tuple(map(float, point.split())) for point in val.removeprefix("M").split("L")]

    assert points[0][0] == 62.0
    assert points[1][0] == 704.0
    assert points[0][1] < points[1][1]


def test_the_kept_step_is_marked_with_its_loss():
    found = drawn(HISTORY, 4)

    assert paths(found, "kept") == ["M704.0 14V272"]
    assert "kept: step 4, 2.500" in [one.text for one in found.iter("text")]


def test_the_drawing_has_a_title_and_its_words():
    found = drawn(HISTORY, 4)

    assert found.get("role") == "img"
    assert found.find("title").text == "Loss of the training"
    assert found.find("desc").text == "words"


def test_losses_that_differ_much_have_a_logarithmic_axis():
    marks = marks_of(drawn([step(1, 10.0), step(2, 0.5)], 2))
    linear = marks_of(drawn([step(1, 2.0), step(2, 1.5)], 2))

    assert marks == ["0.5", "1", "2", "5", "10"]
    assert linear == ["0", "0.5", "1", "1.5", "2"]


def marks_of(found: ElementTree.Element) -> list[str | None]:
    """The marks of the axis of losses."""
    return [one.text for one in found.iter("text") if one.get("class") == "mark y"]


@pytest.mark.parametrize("loss", [0.0, 5.0])
def test_a_training_of_one_step_with_one_loss_is_drawn(loss: float):
    assert paths(drawn([step(1, loss)], 1), "train")


def test_a_long_training_is_drawn_by_means_of_its_steps():
    history = [step(number, 5.0 if number % 2 else 3.0) for number in range(1, 100_002)]
    made = drawings.losses(history, 100_001, "words")
    (line,) = paths(ElementTree.fromstring(made), "faint")

    assert len(line.split("L")) <= 600
    assert len(made) < 30_000
    heights = {point.split()[1] for point in line.removeprefix("M").split("L")[1:-1]}
    assert len(heights) < 5, "the mean of 3 and 5 is the same everywhere"


def test_what_is_drawn_is_said_in_words():
    assert drawings.in_words(HISTORY, 4) == (
        "The training loss goes from 8.000 at step 1 to 2.000 at step 4. The validation loss, of 2 evaluations, goes "
        "from 8.000 to 2.500; the lowest is 2.500, at step 4. The weights of step 4 are kept."
    )


def test_a_share_is_a_bar():
    assert re.search(r'd="M0 5H25.0V11H0z" class="fill"', drawings.bar(0.25))
