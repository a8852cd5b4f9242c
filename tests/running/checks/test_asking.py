"""Stages are asked in a process of its own, which can fail or hang without harm."""

from __future__ import annotations

import subprocess
import sys
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
    asking._check(stage, lambda _: iter([ok(stage, "x" * 100)] * 200), None)

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
    assert sorted(line for line in lines if line in CHECKED) == sorted(CHECKED)
    found = [Row.model_validate_json(line) for line in lines if line not in CHECKED]
    assert Counter(row.name for row in found) == dict.fromkeys(CHECKED, 200)
