"""The databases that `make setup` makes, by the real programs in an empty folder."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.root import ROOT


def made(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    environment = others | {"PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, "-m", "flows.databases"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)


def tables(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as opened:
        return {name for (name,) in opened.execute("select name from sqlite_master where type = 'table'")}


@pytest.mark.thorough
def test_both_are_made_where_no_other_is_configured(tmp_path):
    done = made(tmp_path)

    assert (done.stdout, done.stderr) == ("making the databases of Prefect and MLflow (once) ...\n", "")
    assert {"flow_run", "task_run", "alembic_version"} <= tables(tmp_path / ".prefect" / "prefect.db")
    assert {"runs", "metrics", "alembic_version"} <= tables(tmp_path / "mlflow.db")


@pytest.mark.thorough
def test_none_is_made_where_others_are_configured(tmp_path):
    made(tmp_path, PREFECT_API_URL="http://127.0.0.1:1/api", MLFLOW_TRACKING_URI="http://127.0.0.1:1")

    assert not list(tmp_path.rglob("*.db"))


@pytest.mark.thorough
def test_what_cannot_be_made_is_told_and_fails_nothing(tmp_path):
    (tmp_path / "mlflow.db").mkdir()
    (tmp_path / ".prefect").mkdir()
    (tmp_path / ".prefect" / "prefect.db").mkdir()

    told = made(tmp_path).stdout.splitlines()[1:]

    assert [line.split(":")[0] for line in told] == [
        "  MLflow's was not made, and the first run tries again",
        "  Prefect's was not made, and the first run tries again",
    ]
