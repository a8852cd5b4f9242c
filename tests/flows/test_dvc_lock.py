"""A run while somebody works in the folder with DVC: it waits, says so once, and gives up in the end."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flows import dvc_lock
from flows.stage_process import run_stage
from stages.common.errors import TemporaryFailure
from tests.flow_project import Project, wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    return tmp_path


@pytest.mark.slow
def test_a_stage_waits_for_a_dvc_at_the_shell_and_says_so_once(project: Project) -> None:
    said: list[str] = []
    project.tell("zeta", "wait")
    with project.start("-m", "dvc", "repro", "zeta") as shell:
        project.hanging("zeta")
        # Unlike the stage that the run would start, the one at the shell is held by DVC's record of who writes what.
        outcome: list[str] = []

        def run() -> None:
            outcome.append(run_stage("zeta", project.root, log=said.append, variables=project.env).outcome)

        running = threading.Thread(target=run)
        running.start()
        wait_until(lambda: said)
        # Long enough for DVC's own patience of three seconds, and for the retries of a stage.
        running.join(8)
        assert running.is_alive()
        assert len(said) == 1, said
        assert re.fullmatch(r"process \d+ \(dvc repro zeta\) is at work in this folder: waiting for it to end", said[0])
        project.go_on("zeta")
        running.join(60)
        assert shell.wait(60) == 0
    assert outcome == ["up to date"]
    assert project.calls("zeta") == 1


def test_the_wait_has_an_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_WAIT_SECONDS", "0")
    said: list[str] = []
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        entry = f'{{"pid": {other.pid}, "cmd": "dvc pull"}}'
        (folder / ".dvc" / "tmp" / "rwlock").write_text(f'{{"read": {{"data": [{entry}]}}, "write": {{}}}}')
        with pytest.raises(TemporaryFailure, match=rf"process {other.pid} \(dvc pull\) is still at work after 0 s"):
            dvc_lock.wait(folder, log=said.append)
        other.communicate(b"\n")
    assert said == [f"process {other.pid} (dvc pull) is at work in this folder: waiting for it to end"]
    dvc_lock.wait(folder, log=said.append)
    assert len(said) == 1
