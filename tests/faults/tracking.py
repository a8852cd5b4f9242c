"""Faults that would end tracking: a half-made database, a deleted experiment, an MLflow that does not answer."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import time
from collections.abc import Sequence

from tests.faults import checks
from tests.faults.clones import Clone, Templates, expect
from tests.faults.records import OTHER_JUDGE, complete
from tests.faults.table import Bench, Fault

#: An address at which nothing listens.
_NOWHERE = "http://127.0.0.1:9"
#: Moments of the making of the database at which it is killed.
_MOMENTS = 4


def _half_made(bench: Bench, clone: Clone) -> str:
    path = clone.root / "mlflow.db"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER NOT NULL, name VARCHAR(256) NOT NULL)")
        connection.execute("CREATE TABLE runs (run_uuid VARCHAR(32) NOT NULL)")
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('181f10493468')")
    connection.close()
    os.utime(path, (1e9, 1e9))
    complete(clone, clone.door("dvc"))
    expect("was left half made" in clone.lives[-1].said, "it does not say so")
    return "set aside, made again, and the run is tracked"


def _pages_and_two_runs_at_once(bench: Bench, clone: Clone) -> str:
    servers = clone.python("-m", "flows.servers", "--mlflow-port", "0", "--prefect-port", "0")
    runs = [clone.door("dvc"), clone.door("isolated")]
    for life in runs:
        life.ends_with(0)
    servers.at("Ctrl-C")
    servers.kill("door", signal.SIGINT)
    servers.end()
    states = [run.info.status for run in checks.tracked(clone.root)]
    expect(states == ["FINISHED", "FINISHED"], f"MLflow has {states}")
    return "one database, and both runs in it"


def _deleted(bench: Bench, clone: Clone) -> str:
    bench.learn(OTHER_JUDGE)
    _delete_experiment(clone)
    clone.edit(OTHER_JUDGE)
    complete(clone, clone.door("dvc"))
    expect("was deleted in MLflow: restored" in clone.lives[-1].said, "it does not say so")
    return "restored, which one line says, and the run is tracked"


def _deleted_while_at_work(bench: Bench, clone: Clone) -> str:
    bench.learn(OTHER_JUDGE)
    clone.edit(OTHER_JUDGE)
    life = clone.door("flow").at("Running stage 'judge'")
    _delete_experiment(clone)
    complete(clone, life)
    return "restored, and the run is tracked"


def _delete_experiment(clone: Clone) -> None:
    from mlflow import MlflowClient

    (run, *_) = checks.tracked(clone.root)
    MlflowClient(f"sqlite:///{clone.root / 'mlflow.db'}").delete_experiment(run.info.experiment_id)


def _down(bench: Bench, clone: Clone) -> str:
    life = clone.door("flow", MLFLOW_TRACKING_URI=_NOWHERE, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    life.ends_with(0, "to add these results: python -m flows.publish")
    expect(not re.search(r"^MLflow +http", life.said, re.MULTILINE), "the summary names a place that did not work")
    clone.python("-m", "flows.publish").ends_with(0, "published as run ")
    return "the run goes on; at its end the summary says how to publish it, and that works"


def _lost(bench: Bench, clone: Clone) -> str:
    shutil.rmtree(clone.root / "mlruns")
    (clone.root / "mlflow.db").unlink()
    clone.python("-m", "flows.publish").ends_with(0, "published as run ")
    (run,) = checks.tracked(clone.root)
    expect(run.info.status == "FINISHED", f"MLflow has {run.info.status}")
    return "flows.publish puts the results into a new one"


def _killed_while_it_is_made(bench: Bench, clone: Clone) -> str:
    _forget(clone)
    for moment in range(_MOMENTS):
        life = clone.door("dvc")
        while not any(clone.root.glob(".mlflow.db.*.making/*")):
            expect(life.code is None and not (clone.root / "mlflow.db").exists(), "the database is not made apart")
            time.sleep(0.005)
        time.sleep(0.3 * moment)
        life.kill("all")
        life.end()
        left = checks.left_processes(clone)
        expect(not left, "; ".join(left))
        _forget(clone)
    complete(clone, clone.door("dvc"))
    names = sorted(path.name for path in clone.root.glob("*mlflow.db*"))
    expect(names == ["mlflow.db"], f"there are {names}")
    return f"{_MOMENTS} times; then one whole database, and the run is tracked"


def _forget(clone: Clone) -> None:
    """Remove a database that is whole: the kill came too late, or the clone had one."""
    (clone.root / "mlflow.db").unlink(missing_ok=True)
    shutil.rmtree(clone.root / "mlruns", ignore_errors=True)


def _tokenized(templates: Templates) -> Clone:
    return templates.tokenized()


def _finished(templates: Templates) -> Clone:
    return templates.finished()


def _finished_but_for_the_judge(templates: Templates) -> Clone:
    """All but the last stage is there, and no MLflow."""
    clone = templates.finished()
    _forget(clone)
    text = (clone.root / "dvc.lock").read_text()
    (clone.root / "dvc.lock").write_text(re.sub(r"^  judge:\n(    .*\n|  - .*\n)*", "", text, flags=re.MULTILINE))
    shutil.rmtree(clone.root / "artifacts" / "judge")
    shutil.rmtree(clone.root / ".dvc" / "cache" / "runs")
    return clone


FAULTS: Sequence[Fault] = (
    Fault(
        "a kill while MLflow's database is made",
        "no later run is tracked",
        "dvc",
        _finished_but_for_the_judge,
        _killed_while_it_is_made,
    ),
    Fault(
        "MLflow's database left half made",
        "no later run is tracked",
        "dvc",
        _finished_but_for_the_judge,
        _half_made,
    ),
    Fault(
        "the pages and two runs at once, without a database",
        "no later run is tracked",
        "make ui, dvc, isolated",
        _tokenized,
        _pages_and_two_runs_at_once,
    ),
    Fault("an experiment deleted in MLflow", "no later run is tracked", "dvc", _finished, _deleted),
    Fault(
        "an experiment deleted in MLflow during a run",
        "the run is not tracked",
        "flow",
        _finished,
        _deleted_while_at_work,
    ),
    Fault("an MLflow that does not answer", "the run is never tracked", "flow", _finished_but_for_the_judge, _down),
    Fault("a lost store of MLflow", "the results are never tracked", "publish", _finished, _lost),
)
