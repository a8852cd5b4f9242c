"""Temporary folders of ours: removed at the end, and after a kill by a later program; nobody else's are touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stages.running import gpu, temporary
from tests.root import ROOT

HOLD = "import time; from stages.running import temporary\n"
HOLD += "with temporary.folder() as folder: print(folder, flush=True); time.sleep(600)"
TWO_DAYS_AGO = (0, 0)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_removed_after_the_block(folder):
    with temporary.folder() as found:
        (found / "file").write_text("")
        assert found.parent == folder

    assert list(folder.iterdir()) == []


def test_what_a_killed_process_has_left_is_removed_a_day_later(folder):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    process = subprocess.Popen([sys.executable, "-c", HOLD], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    left = Path(process.stdout.readline().strip())
    os.utime(left, TWO_DAYS_AGO)
    with temporary.folder():
        assert left.exists(), "it is held"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert left.exists()

    with temporary.folder():
        assert not left.exists()


def test_young_folders_and_those_of_others_stay(folder):
    young, others = folder / f"{temporary.PREFIX}young", folder / "tmpabcdefghprefect"
    for path in (young, others):
        path.mkdir()
    os.utime(others, TWO_DAYS_AGO)
    with temporary.folder():
        pass

    assert sorted(folder.iterdir()) == [young, others]


def test_the_gpu_locks_of_this_user_are_never_removed(folder, monkeypatch):
    """They are there too, where the machine has no folder for locks; without them two processes would share a GPU."""
    locks = folder / gpu.lock_folder().name
    monkeypatch.setenv("PIPELINE_GPU_LOCKS", str(locks))
    monkeypatch.setenv("PIPELINE_GPUS", "GPU-a")
    with gpu.lease():
        os.utime(locks, TWO_DAYS_AGO)
        with temporary.folder():
            assert locks / "GPU-a.lock" in locks.iterdir()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_the_folder_of_another_user_stays(folder):
    theirs = folder / f"{temporary.PREFIX}theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, -1)
    os.utime(theirs, TWO_DAYS_AGO)
    with temporary.folder():
        assert theirs.exists()


def left_by_prefect(folder: Path, entrypoint: str, number: int) -> tuple[Path, Path]:
    """What a Prefect worker that was killed leaves: a folder with two files, and an empty working folder."""
    work = folder / f"tmp{number}abcdefprefect"
    attempt = folder / f"prefect-workspace-attempt-{number}"
    for path in (work, attempt):
        path.mkdir()
    (attempt / "supervisor.json").write_text(json.dumps({"flow_run_id": "1", "workspace_root": str(work)}))
    (attempt / "workspace.json").write_text(json.dumps({"runtime_entrypoint": entrypoint, "environment": {}}))
    os.utime(attempt, TWO_DAYS_AGO)
    return work, attempt


def test_what_a_killed_worker_of_prefect_has_left_of_our_flow_is_removed(folder):
    ours = left_by_prefect(folder, "flows.pipeline.experiment", 1)
    another = left_by_prefect(folder, "their.flow", 2)
    young = left_by_prefect(folder, "flows.pipeline.pipeline", 3)
    os.utime(young[1])
    used = left_by_prefect(folder, "flows.pipeline.pipeline", 4)
    broken = left_by_prefect(folder, "flows.pipeline.pipeline", 5)
    (broken[1] / "workspace.json").write_text("{")
    elsewhere = left_by_prefect(folder, "flows.pipeline.pipeline", 6)
    kept = folder / "data"
    kept.mkdir()
    (elsewhere[1] / "supervisor.json").write_text(json.dumps({"workspace_root": str(kept)}))
    for _, attempt in (broken, elsewhere):
        os.utime(attempt, TWO_DAYS_AGO)
    argument = str(used[1] / "supervisor.json")
    with subprocess.Popen([sys.executable, "-c", "input()", argument], stdin=subprocess.PIPE) as process:
        with temporary.folder():
            pass
        assert process.stdin
        process.stdin.close()

    stays = {*another, *young, *used, *broken, elsewhere[0], kept}
    assert set(folder.iterdir()) == stays, (ours, elsewhere)


def test_the_names_are_those_of_the_installed_prefect():
    """A newer Prefect that names its folders otherwise is noticed here."""
    from prefect.runner import _workspace_starter
    from prefect.workers import process

    starter = Path(_workspace_starter.__file__).read_text()
    assert f'prefix="{temporary._PREFECT}"' in starter
    assert "str(self._config_path)" in starter
    assert all(f'runtime_root / "{name}"' in starter for name in ("supervisor.json", "workspace.json"))
    assert 'tempfile.TemporaryDirectory(suffix="prefect")' in Path(process.__file__).read_text()
