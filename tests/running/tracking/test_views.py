"""The saved view of MLflow's table of runs."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.running.summary_parts.lines import entry
from stages.running.tracking import metric_names, tracker, views
from tests import mlflow_server


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
    assert state["selectedColumns"][:8] == [
        "metrics.`score/mean`",
        "metrics.`score/mean_ci95_lower`",
        "metrics.`score/mean_ci95_upper`",
        "metrics.`seeds/score_mean`",
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


def test_the_tables_of_all_experiments_have_addresses_before_the_first_run(project: Path, client: MlflowClient) -> None:
    client.create_experiment("instruct-pipeline/gpt2-medium")
    client.create_experiment("another project")
    found = tracker.runs_pages(project, "http://127.0.0.1:5000")
    assert [name for name, _ in found] == ["instruct-pipeline/quick", "instruct-pipeline/gpt2-medium"]
    key, _ = views.saved_view(0)
    assert key in client.get_experiment_by_name("instruct-pipeline/gpt2-medium").tags
    assert all("/runs?workflowType=machine_learning&viewStateShareKey=pipeline-" in address for _, address in found)


@pytest.mark.slow  # it starts a server
def test_the_address_of_a_server_s_table_names_a_view_that_its_page_is_given(
    project: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """MLflow's page asks by GraphQL, and looks for the tag that the address names."""
    with mlflow_server.running(tmp_path, empty_database) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
        ((name, address),) = tracker.runs_pages(project, "")
        assert (name, address.partition("/#/")[0]) == ("instruct-pipeline/quick", server)
        found = re.search(r"/experiments/(\d+)/runs\?workflowType=machine_learning&viewStateShareKey=(.+)", address)
        assert found is not None
        query = (
            "query MlflowGetExperimentQuery($input: MlflowGetExperimentInput!) "
            "{ mlflowGetExperiment(input: $input) { experiment { tags { key value } } } }"
        )
        asked = {"operationName": None, "query": query, "variables": {"input": {"experimentId": found[1]}}}
        request = urllib.request.Request(
            f"{server}/graphql", json.dumps(asked).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            experiment = json.load(answer)["data"]["mlflowGetExperiment"]["experiment"]
        tags = {one["key"]: one["value"] for one in experiment["tags"]}
        assert tags["mlflow.experimentKind"] == "custom_model_development"
        assert "score/mean" in tags[f"mlflow.sharedViewState.{found[2]}"]


def test_the_summary_names_the_address_where_the_pages_are_started(project: Path, client: MlflowClient) -> None:
    run_id = tracker.create_run(project)
    tracker.publish(project, run_id, ran=["judge"])
    experiment = client.get_run(str(run_id)).info.experiment_id
    assert tracker.store_lines(project, stays=True)[1] == "compare     make ui"
    _, line = tracker.store_lines(project, stays=True, pages="http://127.0.0.1:5000")
    (shown,) = entry("", [line])
    address = views.runs_page("http://127.0.0.1:5000", experiment)
    assert shown == f"            compare     {address}", "on one line, though it is a long one"
