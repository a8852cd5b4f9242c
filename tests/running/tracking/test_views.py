"""The saved view of MLflow's table of runs."""

from __future__ import annotations

import json
from pathlib import Path

from mlflow import MlflowClient

from stages.running.tracking import metric_names, tracker, views


def test_the_address_of_the_table_opens_model_training_with_the_saved_view() -> None:
    key, value = views.saved_view(1700000000000)
    share = key.removeprefix("mlflow.sharedViewState.")
    at = f"http://127.0.0.1:5000/#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey={share}"
    assert views.runs_page("http://127.0.0.1:5000/", "7") == at
    assert views.runs_page("http://127.0.0.1:5000", "7", charts=True) == f"{at}&compareRunsMode=CHART"
    envelope = json.loads(value)
    assert (envelope["createdAt"], envelope["updatedAt"]) == (1700000000000, 1700000000000)
    assert len(value) < 20000, "MLflow's limit of an experiment's tag"


def test_the_view_shows_scores_right_answers_loss_and_what_differs_by_time() -> None:
    state = json.loads(json.loads(views.saved_view(0)[1])["state"])
    assert state["selectedColumns"][:10] == [
        "metrics.`score/mean`",
        "metrics.`score/mean_ci95_lower`",
        "metrics.`score/mean_ci95_upper`",
        "metrics.`seeds/score_mean`",
        "metrics.`seeds/score_mean_ci95_lower`",
        "metrics.`seeds/score_mean_ci95_upper`",
        "metrics.`score/right_n`",
        "metrics.`score/right_of`",
        "metrics.`loss/val_kept`",
        "tags.`differs`",
    ]
    assert (state["orderByKey"], state["orderByAsc"]) == ("attributes.start_time", False)
    curves, *_ = state["compareRunCharts"]
    assert (curves["type"], curves["selectedMetricKeys"]) == ("LINE", ["loss/train", "loss/val"])
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == sections


def test_every_metric_of_the_view_is_one_that_runs_have(project: Path, client: MlflowClient) -> None:
    run_id = tracker.create_run(project)
    tracker.publish(project, run_id, ran=["judge"])
    run = client.get_run(run_id)
    state = json.loads(json.loads(views.saved_view(0)[1])["state"])
    drawn = {name for chart in state["compareRunCharts"] for name in chart["selectedMetricKeys"]}
    missing = drawn - run.data.metrics.keys()
    assert missing <= {metric_names.RIGHT_N}, "this judge does not say which answers are right"


def test_an_experiment_has_the_view_and_one_that_was_changed_on_the_page_stays(
    project: Path, client: MlflowClient
) -> None:
    tracker.create_run(project)
    experiment = client.get_experiment_by_name("instruct-pipeline/quick")
    key, value = views.saved_view(int(experiment.creation_time or 0))
    assert experiment.tags[key] == value
    client.set_experiment_tag(experiment.experiment_id, key, "changed")
    tracker.create_run(project)
    assert client.get_experiment(experiment.experiment_id).tags[key] == "changed"
