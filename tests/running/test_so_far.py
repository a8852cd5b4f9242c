"""How far a stage came that was stopped, and where the next run goes on."""

from __future__ import annotations

from stages.running import so_far
from stages.running.progress_file import Work

NEXT = "; the next run with the same code, data and values goes on from "


def test_a_training_says_its_step_and_that_it_goes_on() -> None:
    works = {"count tokens": Work(9, 9, "row"), "finetune": Work(1357, 1616, "step")}
    told = f" at step 1,357 of 1,616{NEXT}its newest checkpoint, if it has saved one"
    assert so_far.words("finetune", works) == told
    assert so_far.words("finetune", {"finetune": Work(0, 1616, "step")}) == " at step 0 of 1,616"


def test_other_stages_keep_what_they_have_done() -> None:
    answers = {"generate, tuned model": Work(40, 201, "row")}
    assert so_far.words("generate", answers) == f" at row 40 of 201 (generate, tuned model){NEXT}its last answer"
    assert so_far.words("judge", {"judge": Work(3, 9, "verdict")}) == f" at verdict 3 of 9{NEXT}its last verdict"
    assert so_far.words("judge", {"judge": Work(0, 9, "verdict")}) == " at verdict 0 of 9"
    assert so_far.words("split", {"check languages": Work(5, 9, "row")}) == " at row 5 of 9 (check languages)"


def test_a_stage_that_has_told_nothing_is_stopped_and_no_more() -> None:
    assert so_far.words("finetune", {}) == ""
