"""What the page says of Python and packages: what MLflow keeps with the results, or this machine as it makes them."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from stages.common.files import write_json
from stages.judge.report import machine
from stages.running import made_on
from stages.running.tracking import lookup, mlflow_access, published
from tests.judge.report import a_run


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    a_run.write(tmp_path)
    a_run.lock(tmp_path)
    return tmp_path


def publish(root: Path, kept: object) -> None:
    """A run of a real store that has the results here, and what it keeps of its machine."""
    mlflow_access.load()
    client = mlflow_access.client(root)
    run = client.create_run(client.create_experiment("instruct-pipeline/quick", str(root / "files")))
    if kept is not None:
        client.log_dict(run.info.run_id, kept, made_on.FILE)
    published.keep(root, run.info.run_id)


@pytest.mark.thorough
def test_the_run_that_has_the_results_says_what_they_were_made_on(root: Path) -> None:
    assert machine.of_these_results(made_here=False) == {}, "no run has them"
    then = {"python": "3.1.4", "packages": {"torch": "0.1"}}
    publish(root, then)
    assert machine.of_these_results(made_here=False) == then
    write_json(root / "artifacts/judge/metrics.json", {})
    assert machine.of_these_results(made_here=False) == {}, "these are other results"


@pytest.mark.thorough
def test_a_run_that_keeps_nothing_of_its_machine_leaves_it_unknown(root: Path) -> None:
    publish(root, None)
    assert machine.of_these_results(made_here=False) == {}


def test_what_is_made_now_is_made_here() -> None:
    assert machine.of_these_results(made_here=True)["python"] == platform.python_version()


@pytest.mark.thorough
def test_a_tracker_that_does_not_answer_is_in_the_way_of_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "kept", lambda root: published.Note("x", "1f"))
    monkeypatch.setattr(lookup, "_exists", lambda root: True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert machine.of_these_results(made_here=False) == {}
