"""Training on disks that are full: nothing that was trained is lost, and no file of bookkeeping ends the stage."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common.results.finetune import FINETUNE_FOLDER
from tests import small_pipeline
from tests.root import ROOT
from tests.small_disks import fill, full, small

#: Steps enough for a disk to be filled while they are made.
OVERLAY = {"finetune": {"epochs": 20, "max_steps": 40, "eval_every": 5}}
#: DVC runs the stage, and its cache is on the disk ``disk``.
CONFIG = "[cache]\n    dir = ../disk/cache\n"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder for finetune, and the SHA-256 of what it writes where nothing is in its way."""
    folder = small_pipeline.make(tmp_path_factory.mktemp("finetune"), overlay=OVERLAY)
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text(CONFIG)
    for stage in ("download", "split", "tokenize", "finetune"):
        assert run(folder, stage)[0] == 0
    return folder, digests(folder)


def start(folder: Path, stage: str = "finetune", **variables: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PIPELINE_MLFLOW_RUN_ID": "none"} | variables
    command = [sys.executable, "-m", f"stages.{stage}"]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **output)  # type: ignore[call-overload, no-any-return]


def run(folder: Path, stage: str = "finetune", **variables: str) -> tuple[int, str]:
    """The exit code of a stage, and what it says."""
    with start(folder, stage, **variables) as process:
        said = process.communicate()[0]
    return process.returncode, said


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in (folder / FINETUNE_FOLDER).rglob("*") if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.thorough
def test_a_full_cache_costs_the_costs_and_nothing_else(prepared):
    folder, expected = prepared
    (folder / ".cache").rename(folder / "aside")
    with full(folder / ".cache"):
        code, said = run(folder)

    assert code == 0, said
    assert digests(folder) == expected
    assert ".cache: No space left on device: nothing is kept there, and an interrupted finetune begins" in said
    line = ".cache/finetune/ledger.json: No space left on device: not kept; no result depends on it"
    assert line in said.splitlines()


@pytest.mark.thorough
def test_a_disk_that_takes_no_copy_of_dvc_is_told_before_training(prepared):
    folder, _ = prepared
    with small(folder / "disk", "1m"):
        code, said = run(folder, DVC_STAGE="finetune")

    assert code == 74, said
    told = "finetune: disk/cache: DVC's copy of the trained model takes 3 MiB of disk, and 1 MiB are free\n"
    assert told in said
    assert "step 0" not in said


@pytest.mark.thorough
def test_a_disk_of_dvc_that_is_filled_meanwhile_costs_no_step(prepared):
    folder, expected = prepared
    with small(folder / "disk", "8m"):
        with start(folder, DVC_STAGE="finetune", PIPELINE_CHECKPOINT_SECONDS="0.05") as process:
            assert process.stdout
            for line in process.stdout:
                if line.startswith("step "):
                    break
            filled = fill(folder / "disk")
            said = process.stdout.read()
        assert process.returncode == 0, said
        assert digests(folder) == expected
        told = r"^disk/cache: DVC's copy of artifacts/finetune/model takes \d MiB, and \d+ KiB are free\. "
        assert re.search(told, said, re.MULTILINE)
        assert "The last checkpoint stays. If DVC fails, free some space and run: dvc commit -f finetune" in said
        for path in sorted((folder / FINETUNE_FOLDER).rglob("*"), reverse=True):  # as DVC does before it runs a stage
            path.rmdir() if path.is_dir() else path.unlink()
        filled.unlink()

        code, again = run(folder, DVC_STAGE="finetune")

    assert code == 0, again
    assert "going on from .cache/finetune/" in again
    assert digests(folder) == expected
    assert [path.name for path in (folder / ".cache" / "finetune").iterdir()] == ["ledger.json"]
