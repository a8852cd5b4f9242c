"""The command `python -m flows.grade`; its parts are tested in tests/flows/grading."""

import os
import subprocess
import sys

import pytest

from flows import grade
from stages.common.errors import ConfigError
from tests.flows.grading.made import fill
from tests.root import ROOT


def test_it_wants_a_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["grade", "."])
    with pytest.raises(ConfigError, match=r"no params\.yaml here"):
        grade.main()


@pytest.mark.parametrize("options", [["--rows", "0"], ["--here", "--collect"], []])
def test_wrong_options_are_refused(monkeypatch, options):
    monkeypatch.setattr(sys, "argv", ["grade", *(["."] if options else []), *options])
    with pytest.raises(ConfigError) as caught:
        grade.main()
    assert caught.value.fix == "python -m flows.grade --help tells what it takes"


@pytest.mark.thorough
def test_nothing_graded_says_what_to_do_and_writes_nothing(tmp_path):
    fill(tmp_path, rows=4)
    before = (tmp_path / "params.yaml").read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "flows.grade", ".", "--collect"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert "no answer of this run is graded\n  to fix it: python -m flows.grade ., grade, then" in done.stderr
    assert (tmp_path / "params.yaml").read_bytes() == before
