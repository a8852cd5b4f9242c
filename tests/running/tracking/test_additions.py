"""Figures, files, tags and comparisons that are added to a run of the flow."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from flows.mlflow_run import mlflow_run
from flows.stage_process import StageFailed
from stages.running.inputs import Begun
from stages.running.tracking import additions, description, links, tracker
from tests.running.tracking.made import runs


def test_a_run_that_fails_tells_which_stages_ran(project: Path, client: MlflowClient) -> None:
    with pytest.raises(StageFailed), mlflow_run(project, project, {}, Begun.of()) as run:  # noqa: PT012 as the flow does it
        run.ran.update({"data.dvc", "download", "split"})
        raise StageFailed("tokenize", 65, "tokenize: row 3 is wrong")
    (found,) = runs(client)
    assert found.info.status == "FAILED"
    assert {name: value for name, value in found.data.tags.items() if name.startswith("stage.")} == {
        "stage.download": "ran",
        "stage.split": "ran",
        "stage.tokenize": "failed",
    }


def test_a_run_in_which_nothing_was_to_be_done_is_set_aside(project: Path, client: MlflowClient) -> None:
    with mlflow_run(project, project, {"prefect.flow_run_id": "first"}, Begun.of()) as run:
        run.ran.add("judge")
    assert run.earlier is None
    with mlflow_run(project, project, {"prefect.flow_run_id": "second"}, Begun.of()) as run:
        run.ran.add("data.dvc")
    (first,) = runs(client)
    assert run.earlier == first.info.run_id
    (second,) = client.search_runs([first.info.experiment_id], run_view_type=ViewType.DELETED_ONLY)
    assert first.data.tags["prefect.flow_run_id"] == "first"
    assert second.data.tags["prefect.flow_run_id"] == "second"
    assert (second.data.tags["nothing-to-do"], second.info.status) == (first.info.run_id, "FINISHED")
    # The summary still finds the results in MLflow.
    assert links.store_lines(project, stays=True)[0].startswith("MLflow      sqlite:")


def test_figures_files_and_tags_are_added_and_a_run_that_is_none_takes_nothing(
    project: Path, client: MlflowClient
) -> None:
    (project / "table.txt").write_text("two runs\n")
    run_id = tracker.create_run(project)
    additions.add(run_id, {"seeds/mean": 51.5}, [project / "table.txt"])
    assert description.NOTE not in client.get_run(run_id).data.tags
    client.set_tag(run_id, "git.commit", "c0ffee1234")
    client.set_tag(run_id, "differs", "epochs=2")
    additions.add(run_id, {}, [], ["Mean score 51.5 of 100"])
    note = client.get_run(run_id).data.tags[description.NOTE]
    assert note == "Mean score 51.5 of 100\n\nDiffers from commit c0ffee1 in `epochs=2`"
    additions.tag(run_id, {"equal": "yes"})
    additions.tag_stages(run_id, {"split": "ran", "data.dvc": "ran"})
    found = client.get_run(run_id)
    assert found.data.metrics["seeds/mean"] == 51.5
    assert found.data.tags["equal"] == "yes"
    assert {name for name in found.data.tags if name.startswith("stage.")} == {"stage.split"}
    assert [file.path for file in client.list_artifacts(run_id)] == ["table.txt"]

    additions.add(None, {"x": 1.0}, [])
    additions.tag(None, {"x": "y"})
    additions.tag_stages(None, {"split": "ran"})
    assert additions.set_aside(project, None) is None
    assert len(runs(client)) == 1


def test_comparisons_are_files_and_the_last_lines_of_the_description(project: Path, client: MlflowClient) -> None:
    (project / "table.txt").write_text("two runs\n")
    run_id = tracker.create_run(project)
    additions.add_comparisons(run_id, [project / "table.txt"], ["beside calm-otter: no difference"])
    additions.add_comparisons(run_id, [], ["beside calm-otter: better"])
    assert [file.path for file in client.list_artifacts(run_id, "judge")] == ["judge/table.txt"]
    note = client.get_run(run_id).data.tags[description.NOTE]
    assert "beside calm-otter: better" in note
