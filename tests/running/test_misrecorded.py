"""What was edited between a stage's end and DVC's hashing is not in dvc.lock, nor in DVC's run cache."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.running import misrecorded
from stages.running.inputs import Begun
from stages.running.tracking import execution
from tests.root import ROOT

_PIPELINE = """\
stages:
  one:
    cmd: python one.py
    params: [a, b.x]
    deps: [one.py, data]
    outs: [one.txt]
"""


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(_PIPELINE)
    Path("params.yaml").write_text("a: {n: 1, deep: {m: [1, 2]}}\nb: {x: 0.004, y: 5}\n")
    Path("one.py").write_text("code")
    Path("one.txt").write_text("made")
    Path(".dvc").mkdir()
    return tmp_path


def entry(**changes: Any) -> dict[str, Any]:
    """What DVC has to record of the stage."""
    return {
        "cmd": "python one.py",
        "deps": [
            {"path": "data", "hash": "md5", "md5": "d" * 32 + ".dir", "size": 4},
            {"path": "one.py", "hash": "md5", "md5": md5("code"), "size": 4},
        ],
        "params": {"params.yaml": {"a": {"n": 1, "deep": {"m": [1, 2]}}, "b.x": 0.004}},
        "outs": [{"path": "one.txt", "hash": "md5", "md5": md5("made"), "size": 4}],
    } | changes


def write(path: Path, tree: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    YAML().dump(tree, path)


def lock(recorded: dict[str, Any]) -> None:
    write(Path("dvc.lock"), {"schema": "2.0", "stages": {"one": recorded, "two": entry(cmd="two")}})
    write(Path(".dvc/cache/runs/aa/b/c"), recorded)
    write(Path(".dvc/cache/runs/aa/b/d"), entry(cmd="another"))


def locked(stage: str = "one") -> Any:
    return json.loads(json.dumps(YAML(typ="safe").load(Path("dvc.lock"))["stages"][stage]))


def test_a_right_record_is_left_as_it_is():
    lock(entry())
    before = Path("dvc.lock").read_bytes()

    assert misrecorded.correct("one", Begun.of()) == []
    assert misrecorded.correct("none", Begun.of()) == []
    assert Path("dvc.lock").read_bytes() == before
    assert Path(".dvc/cache/runs/aa/b/c").exists()


def test_a_wrong_record_gets_what_the_run_began_with():
    other = {"a": {"n": 2, "deep": {"m": [1]}, "new": "x"}, "b.x": 0.004}
    deps = [entry()["deps"][0], {"path": "one.py", "hash": "md5", "md5": md5("other code"), "size": 10}]
    lock(entry(params={"params.yaml": other}, deps=deps))

    found = misrecorded.correct("one", Begun.of())

    assert found == [
        "a.deep.m was [1, 2], and is [1] now",
        "a.n was 1, and is 2 now",
        'a.new was missing, and is "x" now',
        "one.py",
    ]
    right = entry()
    del right["deps"][1]["size"]
    assert locked() == right
    assert locked("two") == entry(cmd="two")
    assert [path.name for path in Path(".dvc/cache/runs/aa/b").iterdir()] == ["d"]
    assert misrecorded.correct("one", Begun.of()) == []


def test_without_a_lock_there_is_nothing_to_correct():
    assert misrecorded.correct("one", Begun.of()) == []
    Path("dvc.lock").write_text("[")
    assert misrecorded.correct("one", Begun.of()) == []


@pytest.fixture
def ended() -> execution.Execution:
    """A `dvc repro` that ran the stage and has ended."""
    code = "from stages.running.tracking import execution; print(execution.identity())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    made = execution.Execution(done.stdout.strip(), "dvc repro")
    execution.first(made, lambda: Begun.of().to_json())
    execution.mark(made, "one", misrecorded.note("one"))
    return made


def test_the_last_stage_s_record_is_corrected_by_the_next_program(ended, capsys):
    lock(entry(params={"params.yaml": {"a": {"n": 1, "deep": {"m": [1, 2]}}, "b.x": 0.1}}))

    misrecorded.look_back()

    assert locked() == entry()
    assert capsys.readouterr().out == f"one: {misrecorded.CORRECTED} b.x was 0.004, and is 0.1 now\n"
    misrecorded.look_back()
    assert capsys.readouterr().out == ""


def test_the_record_of_another_run_is_left_as_it_is(ended):
    """Such as one that DVC has taken from its run cache since, or of a copy of the project."""
    other = entry(
        params={"params.yaml": {"a": {"n": 1, "deep": {"m": [1, 2]}}, "b.x": 0.1}},
        outs=[{"path": "one.txt", "hash": "md5", "md5": md5("other"), "size": 5}],
    )
    lock(other)
    misrecorded.look_back()
    assert locked() == other

    lock(entry(params=other["params"]))
    path = execution.MARKS / ended.identity / "one"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"root": "/elsewhere"}))
    misrecorded.look_back()
    assert locked()["params"] == other["params"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"root": 5}'])
def test_marks_that_are_none_are_left(ended, text):
    lock(entry())
    (execution.MARKS / ended.identity / "one").write_text(text)
    misrecorded.look_back()
    (execution.MARKS / ended.identity / execution.FIRST).write_text(text)
    misrecorded.look_back()
