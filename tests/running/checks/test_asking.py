"""Stages are asked in a process of its own, which can fail or hang without harm."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from stages.running.checks.asking import CHECKED, ask, in_order
from stages.running.checks.row import Row, ok
from tests import small_pipeline
from tests.root import ROOT


def project(folder: Path, **checks: str) -> Path:
    """A copy of the project's code, with other checks."""
    small_pipeline.make(folder)
    (folder / "stages").mkdir()
    for path in (ROOT / "stages").rglob("*.py"):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    for stage, code in checks.items():
        (folder / "stages" / stage / "preflight.py").write_text(code)
    return folder


def test_a_check_that_fails_or_hangs_is_a_warning_and_hides_no_other(tmp_path):
    folder = project(
        tmp_path / "project",
        judge="import time\ndef rows(params):\n    time.sleep(60)\n    yield\n",
        download="def rows(params):\n    yield 1 / 0\n",
        finetune="import absent_package\n",
    )
    values = small_pipeline.read_yaml(folder / "params.yaml")
    began = time.monotonic()

    rows = {row.name: row for row in ask(folder, values, ["judge", "download", "finetune", "generate"], seconds=10)}

    assert time.monotonic() - began < 15
    assert rows["judge"].found == "its check has not ended in time"
    assert rows["download"].found == "could not be checked: ZeroDivisionError: division by zero"
    assert "No module named 'absent_package'" in rows["finetune"].found
    assert rows["generate memory"].state == "ok"
    assert {rows[name].state for name in ("judge", "download", "finetune")} == {"warning"}


#: A check whose first rows come, and whose further ones write a file and do not end.
_SLOW = """
import tempfile, time
from stages.running.checks.row import ok

def rows(params):
    yield ok("tokenizer", "there")

def further(params):
    with tempfile.NamedTemporaryFile(delete=False) as stream:
        stream.write(bytes(1 << 20))
    time.sleep(60)
    yield ok("dataset rows", "read")
"""


def test_what_can_stay_unknown_is_cut_off_without_a_word_or_a_file(tmp_path, monkeypatch):
    folder = project(tmp_path / "project", download=_SLOW)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    began = time.monotonic()

    rows = list(ask(folder, small_pipeline.read_yaml(folder / "params.yaml"), ["download"]))

    assert time.monotonic() - began < 30
    assert [(row.name, row.state) for row in rows] == [("tokenizer", "ok")]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_run_in_a_copy_is_looked_at_by_the_files_of_the_copy(tmp_path):
    """Half an edit of the dataset in one of two folders, in turn."""
    values = small_pipeline.read_yaml(ROOT / "params.yaml")
    folders = {name: project(tmp_path / name) for name in ("user", "copy")}
    rows = [{"instruction": f"i{number}", "output": "o"} for number in range(60)]
    for folder in folders.values():
        (folder / "assets" / "data").mkdir(parents=True, exist_ok=True)
        (folder / "data.dvc").write_text("deps: [{path: assets/data}]\nouts: [{path: data}]\n")
    for edited, state in (("user", "ok"), ("copy", "problem")):
        for name, folder in folders.items():
            text = json.dumps(rows)
            (folder / "assets" / "data" / "instructions.json").write_text(text[:100] if name == edited else text)

        found = list(ask(folders["user"], values, ["download", "split"], tree=folders["copy"]))

        told = {row.name: row.state for row in found}
        assert told.get("dataset rows", "ok") == state, found
        assert ("split rows" in told) is (state == "ok")


def test_values_that_no_stage_takes_are_a_warning(tmp_path):
    (row,) = ask(ROOT, {"judge": 3}, ["judge"])

    assert row.state == "warning"


def test_stages_without_a_check_start_no_process(tmp_path):
    assert list(ask(tmp_path / "missing", {}, ["tokenize", "zeta"])) == []


def test_rows_come_in_the_order_of_the_stages():
    names = ["judge self-test", "finetune disk", "weights", "generate memory", "dataset", "dataset of a mix"]

    assert [row.name for row in in_order(ok(name, "") for name in names)] == [
        "weights",
        "dataset",
        "dataset of a mix",
        "finetune disk",
        "generate memory",
        "judge self-test",
    ]


#: Four checks with many rows, all at once.
_AT_ONCE = """
import threading
from stages.running.checks import asking
from stages.running.checks.row import ok

def check(stage):
    asking._check(stage, (lambda _: iter([ok(stage, "x" * 100)] * 200), lambda _: iter(())), None)

threads = [threading.Thread(target=check, args=(stage,)) for stage in asking.CHECKED]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_no_row_is_lost_where_several_checks_print_at_once():
    # Unbuffered, as where PYTHONUNBUFFERED is set: a line and its end are written apart.
    done = subprocess.run([sys.executable, "-u", "-c", _AT_ONCE], cwd=ROOT, capture_output=True, text=True, check=True)

    lines = done.stdout.splitlines()
    ends = sorted(f"{end} {stage}" for end in ("told", "ended") for stage in CHECKED)
    assert sorted(line for line in lines if line in ends) == ends
    found = [Row.model_validate_json(line) for line in lines if line not in ends]
    assert Counter(row.name for row in found) == dict.fromkeys(CHECKED, 200)
