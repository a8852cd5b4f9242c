"""`make clean` refuses while something is at work in the folder, and says what."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from stages.common.locks import open_locked
from tests import flow_project
from tests.root import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("artifacts", ".cache/finetune", ".dvc/tmp", "tools"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "tools" / "at_work.py", tmp_path / "tools")
    return tmp_path


def clean(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "clean"], cwd=folder, capture_output=True, text=True, check=False)


def refused(folder: Path, told: str) -> None:
    done = clean(folder)
    assert done.returncode == 2
    assert done.stderr.startswith(f"a run is at work in this folder: {told}"), done.stderr
    assert (folder / "artifacts").exists()


def test_nothing_at_work_is_cleaned(folder: Path) -> None:
    lock = {"read": {"/a": []}, "write": {"/b": {"pid": 2**22 + 1, "cmd": "dvc repro"}}}
    (folder / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(lock))  # of a DVC that was killed
    (folder / ".cache" / "finetune" / "run.lock").touch()
    assert clean(folder).returncode == 0
    assert not (folder / "artifacts").exists()
    assert not (folder / ".cache").exists()
    assert clean(folder).returncode == 0  # with nothing there


def test_a_lock_that_is_held_is_respected(folder: Path) -> None:
    descriptor = open_locked(folder / ".cache" / "finetune" / "run.lock")
    refused(folder, ".cache/finetune/run.lock: another process has locked it")
    os.close(descriptor)
    assert clean(folder).returncode == 0


def test_a_workspace_in_use_is_respected(folder: Path) -> None:
    descriptor = open_locked(folder / ".cache" / "workspaces" / "run-1" / "owner")
    refused(folder, ".cache/workspaces/run-1/owner: another process has locked it")
    os.close(descriptor)
    assert clean(folder).returncode == 0


@pytest.mark.parametrize(
    "text", ["", f"{socket.gethostname()}:{os.getpid()}:1:1"], ids=["empty", "of a process that has its id"]
)
def test_a_workspace_that_a_killed_run_has_left_is_cleaned(folder: Path, text: str) -> None:
    """Killed before it wrote its name, or another process has got its number since."""
    owner = folder / ".cache" / "workspaces" / "run-1" / "owner"
    owner.parent.mkdir(parents=True)
    owner.write_text(text)
    done = clean(folder)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.thorough
def test_a_dvc_at_work_is_respected(folder: Path) -> None:
    project = flow_project.create(folder / "project")
    for name in ("Makefile", "tools"):
        (folder / name).rename(project.root / name)
    project.tell("zeta", "hang")
    (project.root / "artifacts").mkdir()
    with project.start("-m", "dvc", "repro") as dvc:
        project.hanging("zeta")
        refused(project.root, f".dvc/tmp/rwlock: process {dvc.pid} (")
        assert (project.root / ".dvc" / "tmp" / "rwlock").exists()
