"""The champion is marked in the list of runs and known by its results, in a real MLflow store."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.common.results.judge import VERDICTS
from stages.running.tracking import champions, listing, published, registry
from tests.running.tracking import made

NAME = "instruct-pipeline-quick"


def version_of(client: MlflowClient, run_id: str, results: str) -> None:
    registry._ensure(client, NAME)
    client.create_model_version(NAME, "nowhere", run_id, {published.TAG: results})


def test_the_champion_s_run_is_marked_and_its_results_are_known(
    project: Path,
    client: MlflowClient,
) -> None:
    first = made.through_the_flow(project, {"judge"})
    ours = published.digest(project)
    VERDICTS.write_text("".join(VERDICTS.read_text().splitlines(keepends=True)[1:]))
    second = made.through_the_flow(project, {"judge"})
    for run_id, results in ((first, ours), (second, published.digest(project))):
        version_of(client, run_id, results)
    assert champions.by_run(client) == {}
    nowhere = Path("nowhere")
    nowhere.mkdir()
    assert champions.of_results(nowhere, project) == ""
    assert list(nowhere.iterdir()) == []
    assert champions.of_results(project, project) == ""

    client.set_registered_model_alias(NAME, "champion", "1")

    assert champions.by_run(client) == {first: "instruct-pipeline-quick version 1"}
    marks = {run.run_id: run.champion for run in listing.listed(project, None).runs}
    assert marks == {first: "instruct-pipeline-quick version 1", second: ""}
    assert champions.of_results(project, project) == ""  # those of the second run

    client.set_registered_model_alias(NAME, "champion", "2")

    assert champions.of_results(project, project) == "instruct-pipeline-quick version 2"


def test_a_registry_that_does_not_answer_is_told_once_and_the_runs_are_listed(
    project: Path,
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made.through_the_flow(project, {"judge"})

    def broken(*_: object, **__: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(MlflowClient, "search_registered_models", broken)

    found = listing.listed(project, None)

    assert len(found.runs) == 1
    assert found.notes == ["the champion is not marked: MLflow's registry does not answer: Connection refused"]
