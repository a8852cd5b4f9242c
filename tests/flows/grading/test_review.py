"""Grading in MLflow: answers go into a review queue of a real server, are graded by its API, and come back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from mlflow.entities import AssessmentSource
from mlflow.genai import label_schemas, review_queues

from flows.grading import answers, review
from stages.common.errors import DataError, ServiceUnavailable
from stages.common.files import sha256
from stages.params import whole
from tests import mlflow_server
from tests.flows.grading.made import fill
from tests.root import ROOT

#: MLflow imports the modules of its agents when the first trace starts, and they warn of their own type hints.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType")


@pytest.fixture
def mlflow_at(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a real MLflow server, which is that of this process too."""
    before = mlflow.get_tracking_uri()
    (tmp_path / "server").mkdir()
    with mlflow_server.running(tmp_path / "server", empty_database) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        mlflow.set_tracking_uri(address)
        yield address
    mlflow.set_tracking_uri(before)


def command(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`python -m flows.grade .` in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "flows.grade", ".", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def queue() -> tuple[Any, list[Any]]:
    """The only queue, and its items."""
    named = mlflow.get_experiment_by_name("instruct-pipeline-grading")
    assert named is not None
    (only,) = review_queues.list_review_queues(experiment_id=named.experiment_id)
    return only, list(review_queues.list_review_queue_items(only.queue_id, max_results=500))


def give(trace_id: str, value: object, person: str = "ann", kind: str = "HUMAN") -> None:
    """A grade, as MLflow's page of reviews gives it."""
    mlflow.log_feedback(trace_id=trace_id, name="score", value=value, source=AssessmentSource(kind, person))


@pytest.mark.slow
def test_from_the_queue_to_params_yaml(tmp_path: Path, mlflow_at: str) -> None:
    fill(tmp_path, rows=20)
    done = command(tmp_path, "--rows", "12")
    assert done.returncode == 0, done.stderr
    only, items = queue()
    assert f"{len(items)} wait in the review queue “{only.name}”, {len(items)} new" in done.stdout
    page = next(line for line in done.stdout.splitlines() if line.startswith("grade them at ")).split()[-1]
    assert page.startswith(f"{mlflow_at}/#/experiments/{only.experiment_id}/review-queue?")
    assert page.endswith(f"&selectedQueueId={only.queue_id}")
    assert requests.get(page, timeout=30).status_code == 200

    (schema,) = only.schema_ids
    question = label_schemas.get_label_schema(schema_id=schema)
    assert (question.name, question.input.min_value, question.input.max_value) == ("score", 0, 100)
    give(items[0].item_id, 50)
    for item in items:
        trace = mlflow.get_trace(item.item_id)
        everything = json.dumps([trace.to_dict(), only.to_proto().SerializeToString().decode(errors="replace")])
        assert "tuned" not in everything
        assert '"base"' not in everything
        said = trace.data.spans[0].outputs["answer"]
        give(item.item_id, 100 if said == trace.data.spans[0].inputs["reference"] else 10)
        review_queues.set_review_queue_item_status(
            only.queue_id, item_id=item.item_id, status="complete", completed_by="ann"
        )
    done = command(tmp_path, "--collect")
    assert done.returncode == 0, done.stderr
    assert f"MLflow: {len(items)} graded, 0 not yet, 0 declined" in done.stdout
    assert "1 was graded again under the same name: the last grade counts. Without a login" in done.stdout
    calibration = whole.load(tmp_path / "params.yaml").judge.calibration
    assert calibration is not None
    assert calibration.sha256 == sha256(tmp_path / calibration.source)
    rows = [json.loads(line) for line in (tmp_path / calibration.source).read_text().splitlines()]
    assert {row["model"] for row in rows} == {"base", "tuned"}
    assert all(row["score"] == (10.0 if row["answer"] == "no" else 100.0) for row in rows)
    assert len(rows) == 24, "twelve rows, and each model's answer"


@pytest.mark.slow
def test_more_rows_are_added_and_what_is_graded_stays(tmp_path: Path, mlflow_at: str) -> None:
    fill(tmp_path, rows=20)
    found = answers.of_run(tmp_path, answers.HERE)
    first = review.put(tmp_path, "abc", found[:4])
    _, items = queue()
    give(items[0].item_id, 40)
    again = review.put(tmp_path, "abc", found[:6])
    assert (first.added, again.added, again.waiting) == (4, 2, 6)
    known = review.read(tmp_path, "abc")
    assert known is not None
    assert (list(known.grades.values()), known.waiting) == ([[40.0]], 5)
    assert review.read(tmp_path, "another") is None


@pytest.mark.slow
def test_what_a_crash_left_is_queued_and_two_traces_of_an_answer_are_one(tmp_path: Path, mlflow_at: str) -> None:
    """A crash before the queue was filled is played by items that are taken out of it; two commands at one time, by a
    copy of a trace.
    """
    fill(tmp_path, rows=20)
    found = answers.of_run(tmp_path, answers.HERE)
    review.put(tmp_path, "abc", found[:4])
    only, items = queue()
    review_queues.remove_items_from_review_queue(only.queue_id, item_ids=[item.item_id for item in items])
    again = review.put(tmp_path, "abc", found[:6])
    _, queued = queue()
    assert (again.added, again.waiting) == (6, 6)
    assert {item.item_id for item in items} < {item.item_id for item in queued}, "no trace is made a second time"
    assert len(mlflow.MlflowClient().search_traces(locations=[only.experiment_id])) == 6

    first = mlflow.get_trace(queued[0].item_id)
    texts, tags = first.data.spans[0].inputs, {k: v for k, v in first.info.tags.items() if k.startswith("grading.")}
    copy = mlflow.MlflowClient().start_trace("answer", inputs=texts, tags=tags, experiment_id=only.experiment_id)
    mlflow.MlflowClient().end_trace(copy.trace_id, outputs=first.data.spans[0].outputs)
    review_queues.add_items_to_review_queue(only.queue_id, item_ids=[copy.trace_id])
    give(queued[0].item_id, 10, "ann")
    give(queued[0].item_id, 30, "bob")
    give(copy.trace_id, 20, "ann")
    merged = review.read(tmp_path, "abc")
    assert merged is not None
    assert {key: sorted(scores) for key, scores in merged.grades.items()} == {tags["grading.item"]: [20.0, 30.0]}
    assert merged.waiting == 5


@pytest.mark.slow
def test_which_feedback_is_a_grade(tmp_path: Path, mlflow_at: str) -> None:
    """The last one of each person counts; a program's does not, nor one of an answer that was declined."""
    fill(tmp_path, rows=20)
    review.put(tmp_path, "abc", answers.of_run(tmp_path, answers.HERE)[:4])
    only, items = queue()
    for value in (10, 20.5):
        give(items[0].item_id, value, "ann")
    for value in (60, 60):
        give(items[0].item_id, value, "bob")
    give(items[1].item_id, 99, "a model", "LLM_JUDGE")
    give(items[2].item_id, 50)
    review_queues.set_review_queue_item_status(
        only.queue_id, item_id=items[2].item_id, status="declined", completed_by="ann"
    )
    found = review.read(tmp_path, "abc")
    assert found is not None
    assert list(found.grades.values()) == [[20.5, 60.0]]
    assert (found.waiting, found.declined, found.again) == (2, 1, 1)
    give(items[3].item_id, 101)
    with pytest.raises(DataError, match=r"MLflow trace tr-\w+: score: expected a number from 0 to 100; found 101"):
        review.read(tmp_path, "abc")


def test_a_server_that_is_away_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, rows=4)
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ServiceUnavailable, match=r"MLflow at http://127.0.0.1:9: ") as caught:
        review.put(tmp_path, "abc", answers.of_run(tmp_path, answers.HERE))
    assert "--here" in str(caught.value.fix)
    mlflow.set_tracking_uri(before)
