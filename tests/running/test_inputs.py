"""What a stage reads as it is, and what differs later."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.running import dvc_yaml, inputs
from stages.running.inputs import Begun, Inputs
from tests.root import ROOT

_PIPELINE = """\
stages:
  first:
    cmd: python one.py
    params: [a.x, b]
    deps: [one.py, data]
    outs: [first.txt]
  second:
    cmd: python two.py
    params: [c]
    deps: [two.py, first.txt]
    metrics: [second.json: {cache: false}]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(_PIPELINE)
    Path("params.yaml").write_text("a: {x: 1, y: 2}\nb: {z: [1, 2]}\nc: {w: text}\n")
    for name in ("one.py", "two.py", "first.txt"):
        Path(name).write_text(name)
    Path("data").mkdir()
    Path("data/rows").write_text("rows")
    return tmp_path


def before(stage: str) -> Inputs:
    entry = dvc_yaml.entry_of(stage)
    assert entry is not None
    return Inputs.of(entry)


def test_only_what_dvc_yaml_lists_is_read():
    found = before("first")
    assert found.values == {"a.x": 1, "b.z": [1, 2]}
    assert sorted(map(str, found.files)) == ["data/rows", "one.py"]
    assert dvc_yaml.entry_of("third") is None


def test_each_value_and_each_file_that_differs_is_a_line():
    found = before("first")
    assert inputs.changes(found) == []
    Path("params.yaml").write_text("a: {x: 1.5, y: 3}\nb: {z: [1], v: true}\nc: {w: other}\n")
    Path("one.py").write_text("two.py")
    Path("data/rows").rename("data/lines")
    assert inputs.changes(found) == [
        "a.x was 1 when the stage began, and is 1.5 now",
        "b.v was missing when the stage began, and is true now",
        "b.z was [1, 2] when the stage began, and is [1] now",
        "data/lines has appeared since the stage began",
        "data/rows has gone since the stage began",
        "one.py has changed since the stage began",
    ]


def test_a_file_of_the_same_content_has_not_changed_unless_it_is_too_large_to_be_hashed(
    monkeypatch: pytest.MonkeyPatch,
):
    small = before("first")
    os.utime("one.py", (1, 1))
    assert inputs.changes(small) == []
    monkeypatch.setattr(inputs, "HASHED_BYTES", 5)
    large = before("first")  # one.py has 6 bytes
    assert inputs.changes(large) == []
    os.utime("one.py", (2, 2))
    assert inputs.changes(large) == ["one.py has changed since the stage began"]


def test_a_module_that_was_written_after_a_moment_is_named():
    entry = dvc_yaml.entry_of("first")
    assert entry is not None
    began = Path("one.py").stat().st_ctime

    assert inputs.changed_since(entry, began) == []
    assert inputs.changed_since(entry, began - 1) == ["one.py has changed while the stage was starting"]


def test_a_half_written_params_file_is_looked_at_again(monkeypatch: pytest.MonkeyPatch):
    found = before("first")
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text("a: {x: 1, y")
    monkeypatch.setattr(inputs.time, "sleep", lambda _: Path("params.yaml").write_text(text))
    assert inputs.changes(found) == []


def test_a_run_compares_what_a_stage_reads_and_no_stage_makes():
    begun = Begun.from_json(Begun.of().to_json())
    Path("params.yaml").write_text("a: {x: 1, y: 3}\nb: {z: [1, 2]}\nc: {w: other}\n")
    Path("one.py").write_text("other")
    Path("first.txt").write_text("made by the run itself")
    assert begun.changes("first") == ["one.py has changed since the run began"]
    assert begun.changes("second") == ['c.w was "text" when the run began, and is "other" now']
    assert begun.changes("data.dvc") == []


def test_a_stage_that_dvc_yaml_has_otherwise_is_named():
    begun = Begun.of()
    Path("dvc.yaml").write_text(_PIPELINE.replace("python two.py", "python two.py --fast"))
    assert begun.changes("first") == []
    assert begun.changes("second") == ["dvc.yaml: the stage second has changed since the run began"]


@pytest.mark.parametrize("text", ["stages: {other: {cmd: x}}", "stages: {first: {cmd"])
def test_a_stage_that_dvc_runs_and_dvc_yaml_does_not_tell_of_does_no_work(text: str):
    """DVC has read the file before: without what it says, nothing could be compared."""
    Path("dvc.yaml").write_text(text)
    hold = "from stages.running import program; program.run('first', lambda: print('at work'))"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DVC_STAGE": "first", "PIPELINE_MLFLOW_RUN_ID": "none"}
    done = subprocess.run([sys.executable, "-c", hold], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr.startswith(
        "first: dvc.yaml: no stage first, which DVC runs: it has changed, or is being written"
    )
