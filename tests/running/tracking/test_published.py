"""Which run the results in a folder are said to be of, where several runs in MLflow have the same ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.mlflow_run import mlflow_run
from stages.common import paths
from stages.running.inputs import Begun
from stages.running.tracking import late, links, published, tracker
from tests.running.tracking.made import runs


def copy_of(project: Path) -> Path:
    """A copy of the project with its .cache and the same results, as a run with other values may make them there."""
    copy = project / paths.CACHE / "workspaces" / "run-x" / "tree"
    shutil.rmtree(copy, ignore_errors=True)
    ours = shutil.ignore_patterns(".cache", "mlruns", "mlflow.db*")
    shutil.copytree(project, copy, ignore=ours)
    (copy / paths.CACHE).symlink_to(project / paths.CACHE)
    return copy


def through_the_flow(project: Path, tree: Path, name: str, ran: set[str]) -> None:
    with mlflow_run(project, tree, {}, Begun.of(tree), name=name) as run:
        run.ran.update(ran)


def names(client: MlflowClient) -> list[str]:
    return [run.info.run_name for run in runs(client)]


def test_a_run_in_a_copy_leaves_the_note_of_the_run_in_the_folder(project: Path, client: MlflowClient) -> None:
    through_the_flow(project, project, "wise-otter", {"finetune", "judge"})
    through_the_flow(project, copy_of(project), "calm-moth", {"judge"})
    assert names(client) == ["quick (wise-otter)", "quick (calm-moth)"]
    assert links.name_lines(project) == ["quick (wise-otter)"]
    through_the_flow(project, project, "new-otter", {"judge"})
    assert links.name_lines(project) == ["quick (new-otter)"], "it has made them once more"


def test_where_no_run_is_noted_a_run_in_a_copy_is(project: Path, client: MlflowClient) -> None:
    through_the_flow(project, copy_of(project), "calm-moth", {"finetune", "judge"})
    assert links.name_lines(project) == ["quick (calm-moth)"]
    through_the_flow(project, project, "idle-otter", {"data.dvc"})
    assert names(client) == ["quick (calm-moth)"], "nothing was made in the other one, which is deleted"
    assert links.name_lines(project) == ["quick (calm-moth)"]


def test_a_run_that_finds_nothing_to_do_leaves_the_note_of_the_folder(project: Path, client: MlflowClient) -> None:
    through_the_flow(project, project, "wise-otter", {"finetune", "judge"})
    through_the_flow(project, copy_of(project), "calm-moth", {"judge"})
    through_the_flow(project, project, "idle-otter", set())
    assert names(client) == ["quick (wise-otter)", "quick (calm-moth)"]
    assert links.name_lines(project) == ["quick (wise-otter)"]


def test_a_note_of_a_run_that_was_deleted_makes_way(project: Path, client: MlflowClient) -> None:
    through_the_flow(project, project, "wise-otter", {"finetune", "judge"})
    client.delete_run(runs(client)[0].info.run_id)
    through_the_flow(project, copy_of(project), "calm-moth", {"judge"})
    assert links.name_lines(project) == ["quick (calm-moth)"]


@pytest.mark.parametrize("how", ["deleted", "gone for good"])
def test_a_note_of_a_run_that_a_server_has_lost_makes_way(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    through_the_flow(project, project, "wise-otter", {"finetune", "judge"})
    # As of a server, in whose database nothing is looked up.
    monkeypatch.setattr(published.database, "path_of", lambda _: None)
    through_the_flow(project, copy_of(project), "calm-moth", {"judge"})
    assert links.name_lines(project) == ["quick (wise-otter)"]
    if how == "deleted":
        client.delete_run(runs(client)[0].info.run_id)
    else:
        published.keep(project, "0" * 32, "quick (wise-otter)", made_here=True)
    through_the_flow(project, copy_of(project), "new-moth", {"judge"})
    assert links.name_lines(project) == ["quick (new-moth)"]


def test_results_published_later_are_those_of_the_run_that_made_them_here(project: Path, client: MlflowClient) -> None:
    through_the_flow(project, project, "wise-otter", {"finetune", "judge"})
    through_the_flow(project, copy_of(project), "calm-moth", {"judge"})
    digest = published.digest(project)
    assert late._with_results(client, project, digest).info.run_name == "quick (wise-otter)"
    shutil.rmtree(project / paths.CACHE / "published")
    assert late._with_results(client, project, digest).info.run_name == "quick (calm-moth)", "the newest"


def test_a_stage_of_plain_dvc_is_noted_in_the_folder_and_not_in_an_experiment_s_copy(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    through_the_flow(project, project, "wise-otter", {"finetune", "judge"})
    monkeypatch.setenv(paths.ROOT_VARIABLE, str(project))  # as `experiments.join_project` sets it
    with tracker.stage("judge") as run:
        run.publish()
    assert links.name_lines(project) == ["quick (wise-otter)"]
    monkeypatch.delenv(paths.ROOT_VARIABLE)
    with tracker.stage("judge") as run:
        run.publish()
    assert links.name_lines(project) == [runs(client)[-1].info.run_name]
    assert links.name_lines(project) != ["quick (wise-otter)"]
