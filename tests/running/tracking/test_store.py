"""What was deleted in MLflow's pages is restored, and said."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.running.tracking import tracker
from tests.running.tracking.made import points, runs, through_the_flow

_SAID = (
    "tracking: the experiment instruct-pipeline/quick was deleted in MLflow: "
    "restored, with its runs, as this run belongs there"
)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines about what was deleted."""
    return [line for line in capsys.readouterr().out.splitlines() if "deleted" in line]


def test_after_its_experiment_was_deleted_the_flows_run_is_tracked(
    project: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    first = through_the_flow(project, {"judge"})
    client.delete_experiment(runs(client)[0].info.experiment_id)
    second = through_the_flow(project, {"judge"})
    assert [run.info.run_id for run in runs(client)] == [first, second]
    assert said(capsys) == [_SAID]
    third = through_the_flow(project, {"judge"})
    assert client.get_run(third).info.status == "FINISHED"
    assert said(capsys) == []


def test_after_its_experiment_was_deleted_a_stage_started_without_the_flow_is_tracked(
    project: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    through_the_flow(project, {"judge"})
    client.delete_experiment(runs(client)[0].info.experiment_id)
    with tracker.stage("judge") as run:
        run.publish()
    _, ours = runs(client)
    assert (ours.info.status, ours.data.metrics["score/mean"]) == ("FINISHED", 60.0)
    assert said(capsys) == [_SAID]


@pytest.mark.parametrize("what", ["run", "experiment"])
def test_a_run_that_is_deleted_while_it_is_at_work_is_restored(
    project: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    run_id = tracker.create_run(project)
    assert run_id is not None
    if what == "run":
        client.delete_run(run_id)
    else:
        client.delete_experiment(client.get_run(run_id).info.experiment_id)
    tracker.publish(project, run_id, ran={"judge"})
    tracker.end(run_id, "FINISHED")
    (only,) = runs(client)
    assert only.info.status == "FINISHED"
    assert points(client, run_id, "loss/train") == [(1, 8.0), (2, 4.0)]
    (line,) = said(capsys)
    assert ": restored" in line


def test_what_a_stage_logged_to_a_run_deleted_meanwhile_is_there(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = tracker.create_run(project)
    for name, value in tracker.stage_variables(run_id).items():
        monkeypatch.setenv(name, value)
    with tracker.stage("finetune") as run:
        client.delete_run(run_id)
        run.log_metrics({"loss/train": 1.5}, step=1)
    assert points(client, str(run_id), "loss/train") == [(1, 1.5)]
    assert [run.info.lifecycle_stage for run in runs(client)] == ["active"]


@pytest.mark.parametrize(("ran", "kept"), [(set(), []), ({"data.dvc"}, []), ({"judge"}, ["environment.json"])])
def test_the_machine_is_kept_with_a_run_only_where_a_stage_ran(
    project: Path, client: MlflowClient, ran: set[str], kept: list[str]
) -> None:
    run_id = through_the_flow(project, ran)
    assert [one.path for one in client.list_artifacts(run_id) if one.path == "environment.json"] == kept
