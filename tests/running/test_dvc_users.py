"""Who works in a folder with DVC, and what is said of a result that is missing meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zc.lockfile

from stages.common.errors import DataError, TemporaryFailure
from stages.running import dvc_users
from tests.root import ROOT

MODEL = Path("artifacts/finetune/model")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    return tmp_path


@contextlib.contextmanager
def writing(folder: Path, path: str) -> Iterator[int]:
    """A process that DVC's record names as the writer of a path; its id."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        entry = {"pid": other.pid, "cmd": "/venv/bin/dvc repro"}
        record = {"read": {}, "write": {str(folder / path): entry}}
        (folder / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(record))
        yield other.pid
        other.communicate(b"\n")


def test_a_result_that_a_stage_is_making_is_waited_for(folder: Path) -> None:
    with writing(folder, "artifacts/finetune/history.jsonl") as pid:
        found = dvc_users.absent(folder, MODEL, "finetune", instead="name another")
    assert isinstance(found, TemporaryFailure)
    assert str(found) == (
        f"artifacts/finetune/model: not there yet; finetune is at work: process {pid} (dvc repro)\n"
        "  to fix it: wait for it, or name another"
    )


def test_a_run_that_is_at_another_stage_is_waited_for_too(folder: Path) -> None:
    with writing(folder, "artifacts/tokenize/train.arrow") as pid:
        found = dvc_users.absent(folder, MODEL, "finetune")
    assert isinstance(found, TemporaryFailure)
    assert str(found) == (
        f"artifacts/finetune/model: missing; a run is at work in this folder: process {pid} (dvc repro)\n"
        "  to fix it: wait for it"
    )


def test_a_result_that_nobody_is_making_is_made_by_its_stage(folder: Path) -> None:
    found = dvc_users.absent(folder, MODEL, "finetune", instead="name another")
    assert isinstance(found, DataError)
    assert str(found) == "artifacts/finetune/model: missing\n  to fix it: dvc repro finetune, or name another"


def test_the_chat_and_the_comparison_name_the_stage_that_is_at_work(folder: Path) -> None:
    (folder / "artifacts" / "judge").mkdir(parents=True)
    chat = ["-m", "flows.chat"]
    compare = ["-m", "stages.judge.runs.compare", "artifacts", "artifacts"]
    for stage, command in {"finetune": chat, "judge": compare}.items():
        with writing(folder, f"artifacts/{stage}/metrics.json") as pid:
            done = subprocess.run(
                [sys.executable, *command],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
        assert f"not there yet; {stage} is at work: process {pid} (dvc repro)" in done.stderr
        assert "dvc repro " not in done.stderr, "a second training would be in the way of the first"
        assert done.returncode == 75


def test_an_id_that_another_process_has_by_now_is_not_waited_for(folder: Path) -> None:
    record = folder / ".dvc" / "tmp" / "rwlock"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        entry = f'{{"pid": {other.pid}, "cmd": "dvc repro"}}'
        record.write_text(f'{{"read": {{}}, "write": {{"data": {entry}}}}}')
        os.utime(record, (time.time() - 60, time.time() - 60))  # of a DVC before the machine was restarted
        assert dvc_users.at_work(folder) == ""
        dvc_users.forget_ended(folder)
        other.communicate(b"\n")
    assert not record.exists(), "DVC itself would call the files busy"


def test_the_lock_of_the_repository_counts_too(folder: Path) -> None:
    path = folder / ".dvc" / "tmp" / "lock"
    assert dvc_users.at_work(folder) == ""
    held = zc.lockfile.LockFile(str(path))
    assert dvc_users.at_work(folder) == "another DVC"
    held.close()
    assert dvc_users.at_work(folder) == ""


@pytest.mark.parametrize("text", ["", "{", "[]", '{"write": 3}', '{"write": {"a": {}}, "read": {"b": []}}'])
def test_a_record_that_is_half_written_or_empty_names_nobody(folder: Path, text: str) -> None:
    (folder / ".dvc" / "tmp" / "rwlock").write_text(text)
    assert dvc_users.at_work(folder) == ""


def test_this_process_does_not_wait_for_itself(folder: Path) -> None:
    entry = f'{{"pid": {os.getpid()}, "cmd": "dvc status"}}'
    (folder / ".dvc" / "tmp" / "rwlock").write_text(f'{{"write": {{"data": {entry}}}, "read": {{}}}}')
    assert dvc_users.at_work(folder) == ""
