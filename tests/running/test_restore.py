"""Earlier results brought back from DVC's cache, without DVC."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.running.restore import restore
from tests.root import ROOT
from tests.small_disks import small

FILE, NESTED, FOLDER = "a" * 32, "b" * 32, "c" * 32 + ".dir"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache with a file and a folder of one file, and a dvc.lock that names them."""
    monkeypatch.chdir(tmp_path)
    entries = {FILE: "file", NESTED: "nested", FOLDER: json.dumps([{"md5": NESTED, "relpath": "deep/x.txt"}])}
    folder = tmp_path / "elsewhere" / "files" / "md5"
    for digest, text in entries.items():
        (folder / digest[:2]).mkdir(parents=True)
        (folder / digest[:2] / digest[2:]).write_text(text)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[cache]\n    dir = ../elsewhere\n")
    Path("dvc.lock").write_text(
        f"stages:\n  s:\n    outs:\n    - path: out/f.txt\n      md5: {FILE}\n    - path: out/d\n      md5: {FOLDER}\n"
    )
    return folder


def test_files_and_folders_come_back(cache):
    assert restore("s")
    assert Path("out/f.txt").read_text() == "file"
    assert Path("out/d/deep/x.txt").read_text() == "nested"


def test_what_the_failed_stage_has_written_stays(cache):
    Path("out").mkdir()
    Path("out/f.txt").write_text("new")

    assert not restore("s")
    assert Path("out/f.txt").read_text() == "new"
    assert not Path("out/d").exists()


def test_nothing_comes_back_by_halves(cache):
    (cache / NESTED[:2] / NESTED[2:]).unlink()

    assert not restore("s")
    assert not Path("out").exists()


def test_a_disk_that_takes_only_a_part_gets_none_and_the_stage_tells_its_own_fault(cache):
    with small(Path("out"), "4k"):  # one file of either takes a page
        failing = "from stages.running import program\ndef main(): raise program.ConfigError('its own fault')\n"
        done = subprocess.run(
            [sys.executable, "-c", failing + "program.run('s', main)"],
            env=os.environ | {"PYTHONPATH": str(ROOT), "DVC_STAGE": "s", "PIPELINE_MLFLOW_RUN_ID": "none"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (78, "s: its own fault\n")
        assert [path for path in Path("out").rglob("*") if path.is_file()] == []


def test_an_error_that_nobody_foresaw_leaves_the_last_results_too(cache):
    failing = "from stages.running import program\ndef main(): raise KeyError('row')\nprogram.run('s', main)"
    done = subprocess.run(
        [sys.executable, "-c", failing],
        env=os.environ | {"PYTHONPATH": str(ROOT), "DVC_STAGE": "s", "PIPELINE_MLFLOW_RUN_ID": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 70
    assert done.stderr.startswith("Traceback (most recent call last)")
    assert done.stderr.endswith(
        "s: an error that nobody foresaw, whose traceback is above: KeyError: 'row'\n"
        "  to fix it: report it, with the whole output\n"
        "  the results of the last s that succeeded are back in place\n"
    )
    assert Path("out/f.txt").read_text() == "file"


@pytest.mark.parametrize("text", [None, "", "stages: {}", "stages: [", "stages:\n  s: {}\n"])
def test_without_an_earlier_success_there_is_nothing_to_do(cache, text):
    Path("dvc.lock").unlink()
    if text is not None:
        Path("dvc.lock").write_text(text)

    assert not restore("s")
