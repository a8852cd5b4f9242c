"""How far a stage came that was stopped, and where the next run goes on."""

from __future__ import annotations

import os
from pathlib import Path

from stages.running import so_far
from stages.running.progress_file import Work

NEXT = "; the next run with the same code, data and values goes on from "


def checkpoint(cache: Path, recipe: str, step: int, at: int) -> None:
    folder = cache / "finetune" / recipe / f"step-{step:08d}"
    folder.mkdir(parents=True)
    os.utime(folder, (at, at))


def test_a_training_says_its_step_and_that_of_its_own_newest_checkpoint(tmp_path: Path) -> None:
    works = {"count tokens": Work(9, 9, "row"), "finetune": Work(1357, 1616, "step")}
    assert so_far.words("finetune", works, 1000.0, tmp_path) == " at step 1,357 of 1,616"
    checkpoint(tmp_path, "0ther", 900, at=999)  # of another recipe, or of an earlier run
    assert so_far.words("finetune", works, 1000.0, tmp_path) == " at step 1,357 of 1,616"
    checkpoint(tmp_path, "0urs", 700, at=1500)
    checkpoint(tmp_path, "0urs", 1350, at=1600)
    (tmp_path / "finetune" / "0urs" / ".step-00001357").mkdir()  # of which half is written
    told = so_far.words("finetune", works, 1000.0, tmp_path)
    assert told == f" at step 1,357 of 1,616{NEXT}the checkpoint of step 1,350"


def test_other_stages_keep_what_they_have_done(tmp_path: Path) -> None:
    answers = {"generate, tuned model": Work(40, 201, "row")}
    told = f" at row 40 of 201 (generate, tuned model){NEXT}its last answer"
    assert so_far.words("generate", answers, 0.0, tmp_path) == told
    assert so_far.words("judge", {"judge": Work(3, 9, "verdict")}, 0.0) == f" at verdict 3 of 9{NEXT}its last verdict"
    assert so_far.words("judge", {"judge": Work(0, 9, "verdict")}, 0.0) == " at verdict 0 of 9"
    assert so_far.words("split", {"check languages": Work(5, 9, "row")}, 0.0) == " at row 5 of 9 (check languages)"


def test_a_stage_that_has_told_nothing_is_stopped_and_no_more(tmp_path: Path) -> None:
    checkpoint(tmp_path, "0urs", 700, at=1500)
    assert so_far.words("finetune", {}, 0.0, tmp_path) == ""
