"""Prefect's server goes away during a run, or does not take what it is given: the run's own result stands."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests import flow_project
from tests.flow_project import Project, gone, wait_until

pytestmark = pytest.mark.slow

_TOLD = "does not answer: its pages do not show how this run ended"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of which the flow has run once, so that Prefect's database is there."""
    project = flow_project.create(tmp_path_factory.mktemp("template") / "project")
    done = project.python("-m", "flows.run")
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def project(template: Project, tmp_path: Path) -> Project:
    project = flow_project.copy(template, tmp_path)
    project.tell("zeta", "wait")
    return project


def kill_server(command: subprocess.Popen[str]) -> None:
    """Kill the temporary server of a flow that `flows.run` has started."""
    below = psutil.Process(command.pid).children(recursive=True)
    (server,) = [process for process in below if "import uvicorn" in "".join(process.cmdline()[2:3])]
    server.kill()
    wait_until(lambda: gone(server))


@pytest.mark.parametrize("code", [0, 65])
def test_a_server_killed_during_a_stage_changes_neither_result_nor_exit_code(project: Project, code: int) -> None:
    project.tell("alpha", str(code))
    with project.start("-m", "flows.run", "--force") as command:
        project.hanging("zeta")
        kill_server(command)
        project.go_on("zeta")
        began = time.monotonic()
        output, _ = command.communicate(timeout=200)
    assert command.returncode == code, output
    assert time.monotonic() - began < 60  # Prefect alone takes four minutes
    assert output.count(_TOLD) == 1
    assert "View at" not in output  # the page of a server that ends with the run
    assert "Traceback" not in output
    assert "--- Error logging" not in output
    assert len(output.splitlines()) < 50, output
    if code == 0:
        assert "2 of 2 stages ran; the data were imported: data.dvc\n\nprofile     quick\n" in output
        assert "up to date" in project.dvc("repro")
    else:
        assert output.endswith("alpha: row 3 is wrong\n  to fix it: correct row 3\n")


def test_a_run_whose_server_is_gone_stops_at_once(project: Project) -> None:
    with project.start("-m", "flows.run", "--force") as command:
        stage = project.hanging("zeta")
        kill_server(command)
        command.send_signal(signal.SIGINT)
        output, _ = command.communicate(timeout=60)
    assert command.returncode == 75, output
    assert "run the same command again" in output
    assert "Traceback" not in output
    assert gone(stage)


def test_an_artifact_that_cannot_be_stored_fails_no_run(project: Project) -> None:
    project.tell("zeta", "0")
    with sqlite3.connect(project.root / ".prefect" / "prefect.db") as database:
        database.execute("DROP TABLE artifact_collection")
    done = project.python("-m", "flows.run", "--force")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 stages ran; the data were imported: data.dvc\n" in done.stdout
    assert done.stderr.count("Prefect: no artifact of this run, whose results stand: ") == 1
    assert "Traceback" not in done.stdout + done.stderr
