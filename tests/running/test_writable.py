"""What a stage will write is tried at its start: real folders that take nothing, as read-only and full file systems."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common.errors import InputOutputError, NoSpace
from stages.running import writable
from tests import small_pipeline
from tests.root import ROOT
from tests.small_disks import full, read_only

STAGES = ("download", "split", "tokenize", "finetune", "generate", "judge")


def run(folder: Path, stage: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PIPELINE_MLFLOW_RUN_ID": "none"} | variables
    command = [sys.executable, "-m", f"stages.{stage}"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = small_pipeline.make(tmp_path)
    (folder / "artifacts").mkdir()
    return folder


@pytest.mark.thorough
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_cannot_write_its_results_does_no_work(project, stage):
    """Without any input: had it begun its work, it would tell of these."""
    (project / "data" / "instructions.json").unlink()
    with read_only(project / "artifacts"):
        done = run(project, stage)

    assert (done.returncode, done.stdout) == (74, "")
    assert done.stderr == (
        f"{stage}: artifacts/{stage}: cannot be written: Read-only file system\n"
        "  to fix it: make the folder writable, and run the same command again\n"
    )


def test_a_full_disk_is_told_as_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with full(tmp_path / "artifacts"), pytest.raises(NoSpace) as caught:
        writable.check("split")

    assert caught.value.what == "artifacts/split: cannot be written: No space left on device"
    assert caught.value.fix == "free some space, and run the same command again"


def test_the_cache_of_dvc_is_tried_where_dvc_runs_the_stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[cache]\n    dir = ../elsewhere/cache\n")
    with full(tmp_path / "elsewhere"):
        writable.check("split")
        monkeypatch.setenv("DVC_STAGE", "split")
        with pytest.raises(NoSpace, match=r"elsewhere/cache: cannot be written: No space left on device"):
            writable.check("split")


@pytest.mark.thorough
def test_a_cache_that_takes_nothing_costs_no_stage_its_results(project):
    """Also where the file system may be written, such as one of another user's."""
    (project / ".cache").write_text("no folder")

    done = run(project, "download")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(".cache: Not a directory: nothing is kept there, and an interrupted download begins")


def test_a_path_that_leads_through_a_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "artifacts").write_text("no folder")

    with pytest.raises(InputOutputError, match=r"^artifacts/judge: cannot be written: Not a directory") as caught:
        writable.check("judge")
    assert caught.value.fix == f"remove {tmp_path}/artifacts, which is a file, and run the same command again"


@pytest.mark.thorough
def test_a_tmpdir_that_takes_nothing_is_told_and_another_one_used(project):
    done = run(project, "download", TMPDIR=str(project / "nowhere"))

    assert done.returncode == 0, done.stderr
    assert f"TMPDIR={project / 'nowhere'} cannot be written: temporary files go to /" in done.stdout


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writable.check("split")
    writable.check("summary")

    assert list(tmp_path.iterdir()) == []
