"""stages/running/tracking/relay.py and sending.py: a stage under a flow tells, and the flow sends."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.running.tracking import database, relay, sending, tracker
from tests.root import ROOT
from tests.running.tracking.made import points, wait_until

pytestmark = pytest.mark.thorough

STAGE = """
import sys, time
from pathlib import Path
from stages.running.signals import Interrupted
from stages.running.tracking import tracker

with tracker.stage("finetune") as run:
    for step in range(2500):
        run.log_metrics({"loss/train": float(step)}, step=step)
    Path("begun").touch()
    while Path("hold").exists():
        time.sleep(0.05)
    run.log_metrics({"loss/train": 0.5}, step=2500)
    if Path("stop").exists():
        raise Interrupted("SIGTERM")
"""
#: It says at its end, whether as a success or not, whether it has loaded MLflow.
LOADED = """
import atexit
atexit.register(lambda: print("mlflow" in sys.modules))
"""
FLOW = """
import sys, time
from stages.running.tracking import relay
with relay.relayed(sys.argv[1], print) as variables:
    print(variables[relay.VARIABLE], flush=True)
    time.sleep(600)
"""
LOGGED = [*((step, float(step)) for step in range(2500)), (2500, 0.5)]


def begin(run_id: str, variables: dict[str, str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **tracker.stage_variables(run_id), **variables}
    command = [sys.executable, "-c", LOADED.replace("import atexit", "import atexit, sys") + STAGE]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_run_has_what_a_stage_tells_that_does_not_load_mlflow(project: Path, client: MlflowClient) -> None:
    run_id = tracker.create_run(project)
    assert run_id is not None
    with relay.relayed(run_id, print) as variables:
        stage = begin(run_id, variables)
        printed, said = stage.communicate(timeout=120)
    assert (stage.returncode, printed, said) == (0, "False\n", "")
    assert points(client, run_id, "loss/train") == LOGGED
    run = client.get_run(run_id)
    assert run.info.status == "RUNNING"
    assert "stage.finetune" not in run.data.tags, "the flow says at its end that it ran"


def test_the_metrics_of_a_training_arrive_while_it_is_at_work(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FLUSH_SECONDS", 0.1)
    run_id = tracker.create_run(project)
    assert run_id is not None
    Path("hold").touch()
    with relay.relayed(run_id, print) as variables:
        stage = begin(run_id, variables)
        wait_until(lambda: points(client, run_id, "loss/train") == LOGGED[:-1])
        assert stage.poll() is None
        Path("hold").unlink()
        stage.communicate(timeout=120)
    assert points(client, run_id, "loss/train") == LOGGED


def test_a_stage_that_is_stopped_is_tagged_as_cancelled(project: Path, client: MlflowClient) -> None:
    run_id = tracker.create_run(project)
    assert run_id is not None
    Path("stop").touch()
    with relay.relayed(run_id, print) as variables:
        stage = begin(run_id, variables)
        printed, _ = stage.communicate(timeout=120)
    assert printed == "False\n"
    assert points(client, run_id, "loss/train") == LOGGED
    assert client.get_run(run_id).data.tags["stage.finetune"] == "cancelled"


def test_a_stage_whose_flow_was_killed_sends_everything_itself(project: Path, client: MlflowClient) -> None:
    run_id = tracker.create_run(project)
    assert run_id is not None
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    flow = subprocess.Popen([sys.executable, "-c", FLOW, run_id], env=environment, stdout=subprocess.PIPE, text=True)
    assert flow.stdout
    file = flow.stdout.readline().strip()
    Path("hold").touch()
    stage = begin(run_id, {relay.VARIABLE: file})
    wait_until(Path("begun").exists)
    flow.send_signal(signal.SIGKILL)
    flow.communicate()
    Path("hold").unlink()
    printed, said = stage.communicate(timeout=120)
    assert (stage.returncode, printed, said) == (0, "True\n", "")
    assert points(client, run_id, "loss/train") == LOGGED


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "told.jsonl"
    relay.append(file, [("loss/train", 1.5, 1000, 7)], {"gpu.uuid": "GPU-a"})
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:10])
    told = relay.Reader(file)
    told.read()
    assert told.points == [("loss/train", 1.5, 1000, 7)]
    assert told.tags == {"gpu.uuid": "GPU-a"}
    file.write_bytes(whole + whole)
    told.read()
    assert told.points == [("loss/train", 1.5, 1000, 7)] * 2


def test_without_a_run_a_stage_gets_no_file() -> None:
    with relay.relayed(None, print) as variables:
        assert variables == {}


def test_where_a_folder_has_no_locks_the_stage_sends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with relay.relayed("a" * 32, print) as variables:
        assert variables == {}


def test_a_database_that_is_locked_for_a_while_is_told_in_the_flows_log_and_nothing_is_lost(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(sending, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(sending, "RETRY_SECONDS", 0.05)
    run_id = tracker.create_run(project)
    assert run_id is not None
    said: list[str] = []
    with relay.relayed(run_id, said.append) as variables:
        lock = sqlite3.connect("mlflow.db", isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        relay.append(Path(variables[relay.VARIABLE]), [("loss/train", 1.5, 1000, 7)])
        wait_until(lambda: said)
        lock.close()
        wait_until(lambda: len(said) > 1)
    assert "database is locked" in said[0]
    assert said[1:] == ["tracking: MLflow answers again; nothing was lost"]
    assert points(client, run_id, "loss/train") == [(7, 1.5)]


def test_what_mlflow_has_not_taken_at_the_end_of_a_stage_it_gets_with_the_next(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(sending, "RETRY_SECONDS", 60)
    run_id = tracker.create_run(project)
    assert run_id is not None
    lock = sqlite3.connect("mlflow.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    said: list[str] = []
    with relay.relayed(run_id, said.append) as variables:
        relay.append(Path(variables[relay.VARIABLE]), [("loss/train", 1.5, 1000, 7)])
    assert "database is locked" in said[0]
    lock.close()
    with relay.relayed(run_id, said.append) as variables:
        relay.append(Path(variables[relay.VARIABLE]), [("loss/train", 1.0, 2000, 8)], {"gpu.uuid": "GPU-a"})
    assert points(client, run_id, "loss/train") == [(7, 1.5), (8, 1.0)]
    assert client.get_run(run_id).data.tags["gpu.uuid"] == "GPU-a"
