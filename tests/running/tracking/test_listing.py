"""The runs of a real MLflow store, as every door leaves them."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.common.results.judge import VERDICTS
from stages.running.tracking import doors, execution, links, listing, tracker
from stages.running.tracking.execution import Execution
from tests.quiet_server import QuietServer
from tests.running.tracking import made


def by_name(found: listing.Listing) -> dict[str, listing.Run]:
    return {run.short_name: run for run in found.runs}


def test_each_door_has_its_word_and_each_run_one_name(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker.end(tracker.create_run(project, name="calm-otter", tags={"git.commit": "c0ffee"}), "FAILED")
    tracker.end(tracker.create_run(project, name="wise-crow", tags={doors.SCHEDULED: "true"}), "KILLED")
    with tracker.stage("judge"):
        pass
    monkeypatch.setattr(execution, "current", lambda: Execution(execution.identity(), "dvc repro"))
    monkeypatch.setenv("DVC_EXP_NAME", "dizzy-moth")
    with tracker.stage("judge") as run:
        run.publish()

    found = listing.listed(project, None)

    assert found.source == f"sqlite:///{project / 'mlflow.db'}"
    assert not found.more
    assert [(run.door, run.state) for run in found.runs] == [
        ("dvc exp", "finished"),
        ("stage by hand", "finished"),
        ("schedule", "killed"),
        ("flow", "failed"),
    ]
    runs = by_name(found)
    assert {"calm-otter", "wise-crow", "dizzy-moth"} < runs.keys()
    assert runs["dizzy-moth"].metrics["score/mean"] == 60.0
    assert runs["dizzy-moth"].judge == "reference"
    assert runs["dizzy-moth"].values["finetune"]["epochs"] == 3
    assert runs["dizzy-moth"].values["finetune"]["lora"] is None
    assert runs["calm-otter"].commit == "c0ffee"
    assert links.name_lines(project) == ["quick (dizzy-moth)"], "the summary has the same name"
    assert [run.name for run in listing.listed(project, 1).runs] == ["quick (dizzy-moth)"]
    assert listing.listed(project, 1).more


def test_a_run_whose_owner_was_killed_is_not_running(project: Path, client: MlflowClient) -> None:
    left, _alive = (tracker.create_run(project, name=name) for name in ("left", "alive"))
    owner = subprocess.Popen(["sleep", "600"])
    client.set_tag(left, "pipeline.owner", execution.identity(owner.pid))
    owner.kill()
    owner.wait()

    found = listing.listed(project, None).runs
    assert {run.short_name: run.state for run in found} == {"left": "killed", "alive": "running"}


def test_the_best_run_is_of_this_judge_and_has_other_results(project: Path, client: MlflowClient) -> None:
    made.through_the_flow(project, set())
    ours = made.runs(client)[0]
    judge = ours.data.tags["judge.fingerprint"]
    assert listing.best_run(project, judge) is None
    VERDICTS.write_text("".join(VERDICTS.read_text().splitlines(keepends=True)[1:]))
    assert listing.best_run(project, judge) == (ours.info.run_id, ours.info.run_name)
    assert listing.best_run(project, "another") is None
    client.delete_run(ours.info.run_id)
    assert listing.best_run(project, judge) is None


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of a server that is no MLflow."""
    server = QuietServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://me:secret@127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_where_the_server_is_away_the_runs_are_those_of_the_local_file(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, refusing: str
) -> None:
    tracker.end(tracker.create_run(project, name="calm-otter"), "FINISHED")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", refusing)

    found = listing.listed(project, None)

    assert [run.short_name for run in found.runs] == ["calm-otter"]
    first, second = found.notes
    assert "://***@127.0.0.1" in first
    assert "does not answer" in first
    assert "secret" not in first
    assert second == f"these are the runs of {project / 'mlflow.db'}"


def test_asking_sends_no_password_unencrypted_to_another_machine(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")

    assert "would go unencrypted" in listing.listed(project, None).notes[0]


def test_a_database_of_an_older_mlflow_is_brought_up_to_date_before_it_is_read(project: Path) -> None:
    path = project / "mlflow.db"
    path.unlink()
    made.made_by_an_older_mlflow(path)

    assert listing.listed(project, None).source == f"sqlite:///{path}"
    assert [kept.name.partition(".before-")[0] for kept in project.glob("mlflow.db.before-*")] == ["mlflow.db"]


def test_without_a_store_the_files_of_the_folder_are_the_only_row(project: Path) -> None:
    (project / "mlflow.db").unlink()

    found = listing.listed(project, None)

    (run,) = found.runs
    assert (run.name, run.metrics["loss/val_kept"], run.metrics["score/mean"]) == ("(this folder)", 4.5, 60.0)
    assert found.source == ""
    assert found.notes == [
        f"MLflow: {project / 'mlflow.db'}: no such file: no run of this project is on record there",
        "this is of the files in this folder alone",
    ]
    assert not (project / "mlflow.db").exists(), "asking makes no database"


def test_parameters_become_the_tree_that_they_were(project: Path) -> None:
    assert listing.tree_of({"a.b": "1e-05", "a.c": "[1, 2]", "a.d.e": "null", "f": "text", "f.g": "1"}) == {
        "a": {"b": 1e-05, "c": [1, 2], "d": {"e": None}},
        "f": "text",
    }
