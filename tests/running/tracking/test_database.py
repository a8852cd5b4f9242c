"""MLflow's database is made whole or not at all: killed makers, several at once, and what earlier versions left."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.running.tracking import database, mlflow_access, tracker
from tests.root import ROOT
from tests.running.tracking.made import made_by_an_older_mlflow, runs, wait_until

#: What a run does first: it makes the database, and its run in it.
_RUN = """
from pathlib import Path
from stages.running.tracking import mlflow_access, tracker
print("importing is done", flush=True)
run = tracker.create_run(Path())
print(run, flush=True)
tracker.end(run, "FINISHED")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without a database, and the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    return tmp_path


def start(folder: Path, uri: str = "") -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), **({"MLFLOW_TRACKING_URI": uri} if uri else {})}
    command = [sys.executable, "-c", _RUN]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def output(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=300)[0]


def makes_tables(folder: Path) -> bool:
    """Whether a file of a database that is being made has anything in it."""
    return any(path.stat().st_size > 0 for path in folder.rglob("*.db") if path.exists())


def left_half_made(path: Path) -> None:
    """A database as MLflow 3.17 leaves it when it is killed after its first tables and its third migration."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER NOT NULL, name VARCHAR(256) NOT NULL)")
        connection.execute("CREATE TABLE runs (run_uuid VARCHAR(32) NOT NULL)")
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('181f10493468')")
    connection.close()
    os.utime(path, (1e9, 1e9))


@pytest.mark.parametrize("written", [1e9, 4e9], ids=["long ago", "by a clock that was ahead"])
def test_one_that_was_left_half_made_is_set_aside_and_the_run_is_tracked(
    folder: Path, capsys: pytest.CaptureFixture[str], written: float
) -> None:
    left_half_made(folder / "mlflow.db")
    os.utime("mlflow.db", (written, written))
    before = (folder / "mlflow.db").read_bytes()
    run_id = tracker.create_run(folder)
    (aside,) = folder.glob("mlflow.db.half-made-*")
    assert aside.read_bytes() == before
    (line,) = capsys.readouterr().out.splitlines()
    assert line == (
        f"tracking: {folder}/mlflow.db was left half made, with no run in it: set aside as {aside.name}, and made again"
    )
    assert [run.info.run_id for run in runs(MlflowClient(f"sqlite:///{folder}/mlflow.db"))] == [run_id]
    assert sorted(path.name for path in folder.iterdir()) == ["mlflow.db", aside.name, "params.yaml"]


def test_an_empty_file_elsewhere_becomes_a_database_and_its_artifacts_are_beside_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///else where/runs.db")
    (folder / "else where").mkdir()
    (folder / "else where" / "runs.db").touch()
    os.utime("else where/runs.db", (1e9, 1e9))
    run_id = tracker.create_run(folder)
    run = MlflowClient(f"sqlite:///{folder}/else where/runs.db").get_run(run_id)
    assert run.info.artifact_uri.startswith(f"file://{folder}/else%20where/mlruns/")
    assert capsys.readouterr().out == ""
    assert [path.name for path in (folder / "else where").iterdir()] == ["runs.db"]


def test_a_database_with_runs_is_never_set_aside(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left_half_made(folder / "mlflow.db")
    with sqlite3.connect("mlflow.db") as connection:
        connection.execute("INSERT INTO experiments VALUES (0, 'Default')")
    connection.close()
    assert tracker.create_run(folder) is None
    assert "does not work, going on without it: " in capsys.readouterr().out
    assert list(folder.glob("mlflow.db.*")) == []


def test_a_database_that_an_mlflow_is_making_is_waited_for(
    folder: Path, empty_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left_half_made(folder / "mlflow.db")
    os.utime("mlflow.db")
    # At once, as MLflow's transactions are: a reader meets no half of a file.
    copy = "import os, shutil, sys, time; time.sleep(1); shutil.copy(sys.argv[1], 'n'); os.replace('n', sys.argv[2])"
    other = subprocess.Popen([sys.executable, "-c", copy, str(empty_database), str(folder / "mlflow.db")])
    assert tracker.create_run(folder) is not None
    other.wait()
    assert capsys.readouterr().out == ""
    assert list(folder.glob("mlflow.db.half-made-*")) == []


def test_a_database_that_another_program_keeps_for_itself_is_told_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database: Path
) -> None:
    """It can be read, and MLflow would try for minutes to write to it."""
    shutil.copy(empty_database, folder / "mlflow.db")
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    other = sqlite3.connect("mlflow.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert database.is_finished(folder / "mlflow.db")
    with pytest.raises(sqlite3.OperationalError, match="database is locked"):
        database.prepare(folder / "mlflow.db")

    began = time.monotonic()
    assert tracker.create_run(folder) is None
    assert time.monotonic() - began < 30
    said = capsys.readouterr().out
    assert "does not work, going on without it: " in said
    assert "database is locked" in said
    other.close()

    database.prepare(folder / "mlflow.db")
    with sqlite3.connect("mlflow.db") as after:
        assert after.execute("BEGIN IMMEDIATE"), "nothing is left locked"
    after.close()


@pytest.mark.thorough
def test_a_killed_maker_and_one_beside_it_leave_no_run_untracked(folder: Path) -> None:
    first, second = start(folder), start(folder)
    wait_until(lambda: makes_tables(folder), 120)
    time.sleep(0.5)
    first.send_signal(signal.SIGKILL)
    output(first)
    assert output(second).splitlines()[-1] != "None"
    assert tracker.create_run(folder) is not None
    # What the killed one has left, hidden, is gone too.
    assert sorted(path.name for path in folder.glob("*")) == ["mlflow.db", "params.yaml"]


@pytest.mark.slow
def test_kills_at_twenty_moments_leave_no_run_untracked(folder: Path) -> None:
    began = time.monotonic()
    tracker.create_run(folder)
    seconds = time.monotonic() - began
    untracked = []
    for number in range(20):
        place = folder / str(number)
        place.mkdir()
        shutil.copy("params.yaml", place)
        victim = start(place)
        wait_until(functools.partial(makes_tables, place), 120)
        time.sleep(number / 20 * seconds)
        victim.send_signal(signal.SIGINT if number % 4 == 3 else signal.SIGKILL)
        output(victim)
        if tracker.create_run(place) is None:
            untracked.append(number)
        assert sorted(path.name for path in place.glob("[!.]*")) == ["mlflow.db", "params.yaml"]
        shutil.rmtree(place)
    assert untracked == []


@pytest.mark.slow
@pytest.mark.parametrize("uri", ["", "sqlite:///elsewhere/runs.db"])
def test_four_at_once_are_all_tracked(folder: Path, uri: str) -> None:
    started = [start(folder, uri) for _ in range(4)]
    told = [output(process) for process in started]
    assert [text.splitlines()[-1] != "None" for text in told] == [True] * 4, told
    name = database.path_of(mlflow_access.uri()) if not uri else folder / "elsewhere" / "runs.db"
    assert len(runs(MlflowClient(f"sqlite:///{name}"))) == 4


def test_the_pages_find_the_database_ready(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left_half_made(folder / "mlflow.db")
    mlflow_access.prepare()
    assert database.is_finished(folder / "mlflow.db")
    made, aside = capsys.readouterr().out.splitlines()
    assert made == f"making MLflow's database, {folder}/mlflow.db: it takes some seconds, once"
    assert "left half made" in aside
    mlflow_access.prepare()
    assert capsys.readouterr().out == ""
    Path("mlflow.db").write_text("no database " * 100)
    with pytest.raises(
        ServiceUnavailable, match=r"mlflow.db: file is not a database\n  to fix it: set MLFLOW_TRACKING"
    ):
        mlflow_access.prepare()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:////home/me/mlflow.db", "/home/me/mlflow.db"),
        ("sqlite:///some where/m.db?timeout=30", "some where/m.db"),
        ("sqlite+pysqlite:///m.db", "m.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("sqlite:///file:m.db?uri=true", None),
        ("http://127.0.0.1:5000", None),
        ("postgresql://me@host/db", None),
        ("./mlruns", None),
    ],
)
def test_which_addresses_are_files(uri: str, expected: str | None) -> None:
    assert database.path_of(uri) == (None if expected is None else Path(expected))


def test_a_relative_address_starts_at_the_project(folder: Path) -> None:
    assert database.absolute("sqlite:///m.db?timeout=30", folder) == f"sqlite:///{folder}/m.db?timeout=30"
    assert database.absolute("sqlite:////m.db", folder) == "sqlite:////m.db"
    assert database.absolute("http://host", folder) == "http://host"


@pytest.mark.parametrize("door", ["run", "make ui"])
def test_a_database_of_an_older_mlflow_is_brought_up_to_date_and_kept(
    folder: Path, capsys: pytest.CaptureFixture[str], door: str
) -> None:
    path = folder / "mlflow.db"
    before = made_by_an_older_mlflow(path)
    assert not database.is_finished(path)

    if door == "run":
        run = tracker.create_run(folder)
        assert run is not None
        tracker.end(run, "FINISHED")
    else:
        mlflow_access.prepare()

    assert database.is_finished(path)
    [kept] = folder.glob("mlflow.db.before-*")
    with sqlite3.connect(kept) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(before,)]
        assert connection.execute("SELECT name FROM runs").fetchall() == [("earlier",)]
    assert MlflowClient(f"sqlite:///{path}").get_run("a" * 32).info.run_name == "earlier"
    said = capsys.readouterr().out
    assert f"made by an older MLflow: brought up to date, and kept as it was in {kept.name}" in said
    assert [line for line in said.splitlines() if "does not work" in line] == []
    assert list(folder.glob(".mlflow.db*")) == []


def test_where_the_file_system_has_no_hard_links_an_older_database_is_kept_as_a_copy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")  # as link(2) says it of exFAT

    path = folder / "mlflow.db"
    before = made_by_an_older_mlflow(path)
    monkeypatch.setattr(os, "link", refuse)
    database.prepare(path)

    assert database.is_finished(path)
    [kept] = folder.glob("mlflow.db.before-*")
    with contextlib.closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(before,)]
    assert list(folder.glob(".mlflow.db*")) == []


def test_a_database_of_a_newer_mlflow_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "mlflow.db"
    mlflow_access.load()
    database.prepare(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    content = path.read_bytes()
    capsys.readouterr()

    assert tracker.create_run(folder) is None
    said = capsys.readouterr().out
    assert "does not work, going on without it: " in said
    assert f"{path}: made by a newer MLflow than the installed one" in said
    assert "to fix it: install that version, or set MLFLOW_TRACKING_URI" in said
    assert path.read_bytes() == content
    with pytest.raises(ConfigError, match="made by a newer MLflow"):
        mlflow_access.prepare()
