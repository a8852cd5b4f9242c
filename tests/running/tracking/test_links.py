"""Addresses of MLflow's pages, and the lines of a summary that lead there."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.running.summary_parts.lines import entry
from stages.running.tracking import links, tracker, views
from tests import mlflow_server
from tests.running.tracking.made import runs


def test_the_page_of_a_run_is_on_the_server_or_where_make_ui_shows_it(project: Path, client: MlflowClient) -> None:
    run_id = tracker.create_run(project)
    (only,) = runs(client)
    page = links.page(run_id, "http://127.0.0.1:5000/")
    assert page is not None
    assert page.name == only.info.run_name
    at = f"http://127.0.0.1:5000/#/experiments/{only.info.experiment_id}/runs/{run_id}"
    assert page.address == f"{at}?workflowType=machine_learning"
    assert links.page(None, "http://127.0.0.1:5000") is None


def test_the_tables_of_all_experiments_have_addresses_before_the_first_run(project: Path, client: MlflowClient) -> None:
    client.create_experiment("instruct-pipeline/gpt2-medium")
    client.create_experiment("another project")
    found = links.runs_pages(project, "http://127.0.0.1:5000")
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
        ((name, address),) = links.runs_pages(project, "")
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
    assert links.store_lines(project, stays=True)[1] == "compare     make ui"
    _, line = links.store_lines(project, stays=True, pages="http://127.0.0.1:5000")
    (shown,) = entry("", [line])
    address = views.runs_page("http://127.0.0.1:5000", experiment)
    assert shown == f"            compare     {address}", "on one line, though it is a long one"
