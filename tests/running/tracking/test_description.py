"""The description of a run in MLflow."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.common.errors import DataError
from stages.common.metrics.judge import Right
from stages.running.signals import Interrupted
from stages.running.tracking import description, execution, store, tracker
from tests import results
from tests.running.tracking.made import runs

TAGS = {"git.commit": "c0ffee1234", "differs": "epochs=2 lr=0.002", "prefect.flow_run_url": "http://127.0.0.1:4200/r/1"}


def test_score_interval_judge_and_its_caveat_stand_first() -> None:
    share = results.interval(0.26, 0.458)
    tuned = results.model_scores(39.3, scored=9, n=9, right=Right(n=190, right=67, share=0.353, interval=share))
    judged = results.judge_metrics(results.identity(measures="chrF"), tuned)
    trained = results.finetune_metrics(val_loss=0.9, last_val_loss=0.9, kept_step=462)
    lines = description.of_results(TAGS, trained, judged, ["Compared with x"]).split("\n\n")
    assert lines[0] == (
        "Score 39.3 of 100 (95 % interval 34.3 to 44.3). Right: 67 of 190 (95 % interval 26.0 to 45.8 %)."
    )
    assert lines[1].startswith("Judge: built-in reference judge; it compares words")
    assert lines[2:] == [
        "Validation loss 0.900 at step 462, 0.000 before",
        "Compared with x",
        "Differs from commit c0ffee1 in `epochs=2 lr=0.002`",
        "[This run in Prefect](http://127.0.0.1:4200/r/1)",
    ]


def test_a_judge_that_is_not_to_be_believed_is_marked_and_its_name_is_no_markup() -> None:
    judge = results.identity(backend="ollama", model="[x](http://evil)", self_test="refused")
    text = description.of_results({}, None, results.judge_metrics(judge, results.model_scores(1.0, scored=1, n=1)))
    assert "\\[x\\](http://evil) (REFUSED); a language model, whose scores" in text


def test_a_run_that_was_broken_off_says_how_and_why() -> None:
    text = description.of_end("FAILED", "finetune: row 3 is wrong\n  to fix it: ```correct``` row 3", TAGS)
    assert text.split("\n\n")[:2] == [
        "Failed: finetune: row 3 is wrong",
        "```text\n  to fix it: '''correct''' row 3\n```",
    ]
    assert description.of_end("KILLED", "", {}) == "Stopped before its end"


def test_the_line_of_a_message_has_its_first_problem() -> None:
    message = "download: rows.csv: 2 problems in 60 rows:\n  - row 8: answer: missing\n  - row 9: no object"
    assert store.in_a_line(message) == "download: rows.csv: 2 problems in 60 rows: row 8: answer: missing"
    assert store.in_a_line("judge: no answer\n  to fix it: wait") == "judge: no answer"
    assert (store.in_a_line("a:"), store.in_a_line("")) == ("a:", "")


def test_a_failed_stage_is_told_in_its_run(project: Path, client: MlflowClient) -> None:
    with pytest.raises(DataError), tracker.stage("judge"):
        raise DataError("artifacts/x.jsonl: missing", "dvc repro generate")
    (failed,) = runs(client)
    tags = failed.data.tags
    assert failed.info.status == "FAILED"
    assert tags["mlflow.note.content"].startswith("Failed: judge: artifacts/x.jsonl: missing")
    assert "to fix it: dvc repro generate" in tags["mlflow.note.content"]
    assert tags[store.ENDED] == "judge: artifacts/x.jsonl: missing"


def test_a_stopped_stage_is_no_failure(project: Path, client: MlflowClient) -> None:
    with pytest.raises(Interrupted), tracker.stage("finetune"):
        raise Interrupted("SIGTERM")
    (stopped,) = runs(client)
    assert stopped.info.status == "KILLED"
    assert stopped.data.tags["mlflow.note.content"] == "Stopped before its end: finetune: stopped by SIGTERM"


def test_a_run_whose_process_is_gone_says_that_nobody_knows_why(project: Path, client: MlflowClient) -> None:
    left = tracker.create_run(project, name="left")
    process = subprocess.Popen(["true"])
    gone = execution.identity(process.pid)
    process.wait()
    client.set_tag(left, "pipeline.owner", gone)
    tracker.create_run(project, name="next")
    run = client.get_run(left)
    assert run.info.status == "KILLED"
    assert run.data.tags["mlflow.note.content"].startswith("Stopped before its end: its process ended without a word")


def test_a_run_that_goes_on_after_a_failure_has_the_description_of_its_results(
    project: Path, client: MlflowClient
) -> None:
    with pytest.raises(DataError), tracker.stage("judge"):
        raise DataError("artifacts/x.jsonl: missing", "dvc repro generate")
    with tracker.stage("judge") as run:
        run.publish()
    (only,) = runs(client)
    assert only.data.tags["mlflow.note.content"].startswith("Score 60.0 of 100")
    assert store.ENDED not in only.data.tags
