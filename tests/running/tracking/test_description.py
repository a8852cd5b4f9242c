"""The description of a run in MLflow."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.common.errors import DataError
from stages.common.metrics.judge import Right
from stages.running import progress_file
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


def test_a_run_as_committed_does_not_differ() -> None:
    tags = {"git.commit": "c0ffee1234", "differs": "nothing"}
    assert description.of_links(tags | {"git.dirty": "false"}) == ["Does not differ from commit c0ffee1"]
    assert description.of_links(tags | {"git.dirty": "true"}) == [
        "Does not differ from commit c0ffee1 in its values; other files differ"
    ]
    assert description.of_links({"git.commit": "c0ffee1234"}) == [], "that is not known"


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


def test_a_stopped_stage_is_no_failure_and_says_how_far_it_was(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_file, "_told", progress_file.Progress({}, []))
    with pytest.raises(Interrupted), tracker.stage("finetune"):
        raise Interrupted("SIGTERM")
    (stopped,) = runs(client)
    assert stopped.info.status == "KILLED"
    assert stopped.data.tags["mlflow.note.content"] == "Stopped before its end: finetune: stopped by SIGTERM"

    progress_file.tell_work("finetune", progress_file.Work(357, 616, "step"))
    with pytest.raises(Interrupted), tracker.stage("finetune"):
        raise Interrupted("SIGTERM")
    told = (
        "finetune: stopped by SIGTERM at step 357 of 616; the next run with the same code, data and values goes on "
        "from its newest checkpoint, if it has saved one"
    )
    assert runs(client)[-1].data.tags["mlflow.note.content"] == f"Stopped before its end: {told}"


def test_what_is_known_at_the_end_of_a_stage_takes_the_place_of_what_was_said_as_it_was_stopped(
    project: Path, client: MlflowClient
) -> None:
    run_id = tracker.create_run(project)
    tracker.stopping(run_id, "finetune", "stopped at step 355 of 616")
    assert client.get_run(run_id).data.tags[store.ENDED] == "finetune: stopped at step 355 of 616"
    tracker.end(run_id, "KILLED", "finetune: stopped at step 357 of 616; more")
    tracker.end(run_id, "KILLED")
    tags = client.get_run(run_id).data.tags
    assert tags[store.ENDED] == "finetune: stopped at step 357 of 616; more"
    assert tags["mlflow.note.content"].startswith("Stopped before its end: finetune: stopped at step 357 of 616; more")


def test_a_run_whose_process_is_gone_says_that_nobody_knows_why(project: Path, client: MlflowClient) -> None:
    left = tracker.create_run(project, name="left")
    process = subprocess.Popen(["true"])
    gone = execution.identity(process.pid)
    process.wait()
    client.set_tag(left, "pipeline.owner", gone)
    for step in (2, 350, 10):
        client.log_metric(left, "loss/train", 0.5, step=step)
    tracker.create_run(project, name="next")
    run = client.get_run(left)
    assert run.info.status == "KILLED"
    assert run.data.tags["mlflow.note.content"].startswith("Stopped before its end: its process ended without a word")
    assert run.data.tags[store.ENDED].endswith("; its loss curve ends at step 350")


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
