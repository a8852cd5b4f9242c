"""Every door of the pipeline in a clone with its six stages: what ran is what was asked for, and nothing is left."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from tests.every_door import table
from tests.every_door.doors import DOORS, POSTED, Asked, Door, put
from tests.every_door.project import made
from tests.every_door.table import Row
from tests.faults import checks

#: The doors of the issue: each is there, by its name in the table.
NAMES = {
    *("make run", "flow with overrides", "form, V1", "form, V2", "schedule", "dvc repro"),
    *("dvc exp run", "dvc exp run --temp", "dvc exp run --queue", "two at once", "two of the form at once"),
}


def test_what_a_value_makes_stale_is_the_stage_of_its_section_and_those_after_it():
    assert Asked({"judge.seed": 1}, "flow").stages == ["judge"]
    assert Asked({"judge.seed": 1, "finetune.seed": 1}, "flow").stages == ["finetune", "generate", "judge"]
    assert Asked({}, "flow").stages == []


def test_every_door_is_in_the_table_and_no_two_runs_ask_for_the_same():
    assert {door.name for door in DOORS} == NAMES
    asked = [tuple(sorted(one.change.items())) for door in DOORS for one in door.asked if one.change]
    assert len(set(asked)) == len(asked)


def test_what_a_page_posts_keeps_its_form_with_other_values():
    sent = json.loads(json.dumps(POSTED["V1 filled"]["parameters"]))
    put(sent, {"finetune.epochs": 5, "finetune.drop_last": True})
    assert sent == {"overrides": {"finetune.epochs": 5, "finetune": {"drop_last": "true"}}}
    with pytest.raises(AssertionError, match=r"finetune\.seed"):
        put(sent, {"finetune.seed": 5})


def test_a_lock_that_is_held_and_what_a_killed_run_has_left_are_found(tmp_path: Path):
    locks = tmp_path / "gpus"
    root = tmp_path / "project"
    (root / ".dvc" / "tmp" / "exps" / "standalone" / "tmpab12").mkdir(parents=True)
    (root / ".cache" / "workspaces" / "run-x").mkdir(parents=True)
    (root / ".dvc" / "tmp" / "rwlock").write_text('{"read": {}, "write": {"out": {"pid": 1, "cmd": "dvc repro"}}}')
    locks.mkdir()
    held = [(root / ".dvc" / "tmp" / "lock"), locks / "GPU-a.lock"]
    for path in [*held, locks / "GPU-b.lock"]:
        path.touch()
    with open(held[0], "r+b") as first, open(held[1], "r+b") as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        fcntl.flock(second, fcntl.LOCK_EX)
        assert checks.left_locks(root, locks) == [
            f"{held[0]} is locked",
            f"{held[1]} is locked",
            ".dvc/tmp/rwlock: write out",
            ".cache/workspaces/run-x is left",
            ".dvc/tmp/exps/standalone/tmpab12 is left",
        ]
    assert len(checks.left_locks(root, locks)) == 3


def test_a_wrong_cell_is_told_in_the_table_and_counted():
    rows = [
        Row("make run", "`judge.seed=1`", "as asked", "judge", "a-run: finished, flow", "none", "none"),
        Row("dvc repro", "x", "as asked", "none; expected judge", "a|b", "none", "none", frozenset({"stages"})),
    ]
    lines = table.markdown(rows).splitlines()
    assert lines[2] == "| make run | `judge.seed=1` | as asked | judge | a-run: finished, flow | none | none |"
    assert lines[3] == "| dvc repro | x | as asked | WRONG: none; expected judge | a\\|b | none | none |"
    assert lines[-1] == "2 runs, 1 cells wrong"


@pytest.mark.slow
def test_by_every_door_what_is_asked_for_runs_and_nothing_is_left(tmp_path: Path):
    with made(tmp_path) as project:
        rows = list(table.run(project, DOORS))

    print(table.markdown(rows))
    assert len(rows) == sum(len(door.asked) for door in DOORS)
    assert [row for row in rows if row.wrong] == []


@pytest.mark.slow
def test_a_run_of_other_values_than_were_asked_for_is_wrong_in_every_cell_that_shows_it(tmp_path: Path):
    """A door that takes another seed than it was given."""

    def act(project, asked):
        return by_make.act(project, [Asked({"judge.seed": 77}, "flow")])

    by_make = DOORS[0]
    with made(tmp_path) as project:
        (row,) = table.run(project, [Door("make run", [Asked({"judge.seed": 1}, "flow")], act)])

    assert row.wrong == {"params", "stages", "mlflow"}
    assert row.params == "judge had judge.seed=77"
