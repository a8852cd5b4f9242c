"""Tracking, against real MLflow stores: sqlite files, a server, a closed port, a server that never answers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from flows.mlflow_run import mlflow_run
from flows.stage_process import Stopped
from stages.common.files import write_json, write_jsonl
from stages.common.metrics.judge import CalibratedMean
from stages.common.records import ModelName
from stages.common.results.download import LEFT_OUT
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY
from stages.common.results.judge import JUDGE_FOLDER, PAIRWISE
from stages.params import whole
from stages.running import dvc_yaml, gpu, held, inputs, program, report
from stages.running.inputs import Begun
from stages.running.stage_results import RESULTS
from stages.running.tracking import (
    database,
    execution,
    live,
    metric_names,
    mirror,
    mlflow_access,
    sending,
    store,
    tracker,
)
from tests import flow_project, mlflow_server, results
from tests.root import ROOT
from tests.running.tracking.made import answers, points, runs, through_the_flow, wait_until, write_judged


def test_a_run_holds_parameters_curves_scores_tags_and_files(project: Path, client: MlflowClient) -> None:
    run_id = through_the_flow(project, {"generate", "judge"})
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("quick (20")
    assert run.data.params["finetune.learning_rate"] == str(whole.load(project / "params.yaml").finetune.learning_rate)
    assert run.data.params["finetune.max_steps"] == "null"
    assert run.data.params["generate.models"] == '["base", "tuned"]'
    assert points(client, run_id, "loss/train") == [(1, 8.0), (2, 4.0)]
    assert points(client, run_id, "loss/val") == [(0, 9.0), (2, 5.0)]
    # Of the model that is kept, which is not that of the last step here.
    assert (run.data.metrics["loss/val_kept"], run.data.metrics["loss/val_kept_step"]) == (4.5, 1.0)
    assert points(client, run_id, "train/tokens_seen") == [(0, 0.0), (1, 10.0), (2, 20.0)]
    scores = {name: value for name, value in run.data.metrics.items() if name.startswith(("score", "split", "tok"))}
    one = {"n_scored": 1.0, "n_invalid": 1.0, "n_failed": 0.0}
    expected = {f"{name}/{key}": value for name in ("score", "score_base") for key, value in one.items()}
    for name, mean in (("score", 60.0), ("score_base", 20.0)):
        ends = {f"{name}/mean_ci95_lower": mean - 5, f"{name}/mean_ci95_upper": mean + 5}
        expected |= {f"{name}/mean": mean, **ends}
    expected |= {"score/vs_base": 40.0}
    assert scores == expected
    measures = {name: value for name, value in run.data.metrics.items() if name.startswith("text")}
    zero = ("token_f1", "length_ratio", "end_of_text_rate", "cap_hit_rate", "template_leaks")
    others = {f"{name}/{measure}": 0.0 for name in ("text", "text_base") for measure in zero}
    assert measures == others | {
        "text/exact_match": 0.5,
        "text/chrf": 40.0,
        "text/bf16_changed": 0.25,
        "text_base/exact_match": 0.0,
        "text_base/chrf": 0.0,
    }
    tags = run.data.tags
    assert tags["profile"] == "quick"
    assert tags["door"] == "flow"
    assert tags["prefect.flow_run_id"] == "1234"
    assert tags["judge.backend"] == "reference"
    assert {name: tags[f"stage.{name}"] for name in RESULTS} == {
        "download": "cached",
        "split": "cached",
        "tokenize": "cached",
        "finetune": "cached",
        "generate": "ran",
        "judge": "ran",
    }
    assert tags["mlflow.note.content"].split("\n\n") == [
        "Score 60.0 of 100 (95 % interval 55.0 to 65.0), before fine-tuning 20.0.",
        "Judge: built-in reference judge; it compares words with the reference and is no language model: "
        "docs/judge.md says how far to believe it",
        "Validation loss 4.500 at step 1, 0.000 before",
    ]
    kept = {file.path for folder in (None, "judge", "finetune") for file in client.list_artifacts(run_id, folder)}
    assert {"params.yaml", "dvc.yaml", "dvc.lock", "finetune/loss.png", "judge/answers.json"} <= kept
    assert (project / "mlruns").is_dir()


def test_the_report_of_these_results_is_an_artifact_and_that_of_others_is_none(
    project: Path, client: MlflowClient
) -> None:
    report.REPORT.write_text('<meta name="about" content="results of another run">')
    without = through_the_flow(project, {"judge"})
    report.REPORT.write_text(f'<meta name="about" content="{report.mark(project)}">')
    run_id = through_the_flow(project, {"judge"})

    assert "report.html" not in {file.path for file in client.list_artifacts(without)}
    assert "report.html" in {file.path for file in client.list_artifacts(run_id)}


def test_the_rows_that_were_left_out_are_an_artifact(project: Path, client: MlflowClient) -> None:
    """The copy of the repository in which a run with --set works is removed with the file."""
    write_json(project / LEFT_OUT, {"left_out": {"count": 1, "rows": [{"row": 7}]}})
    run_id = through_the_flow(project, {"download"})

    assert [file.path for file in client.list_artifacts(run_id, "download")] == ["download/left_out.json"]


def test_answers_side_by_side_are_metrics_and_a_file(project: Path, client: MlflowClient) -> None:
    half = results.interval(0.5, None)
    counts = {"wins": 1, "ties": 0, "consistency": 1.0}
    write_judged(pairwise=results.pairwise_metrics(1.0, half, 0.75, half, **counts))
    PAIRWISE.write_text("{}\n")
    run_id = through_the_flow(project, {"judge"})
    run = client.get_run(run_id)
    assert {name: value for name, value in run.data.metrics.items() if name.startswith("score_pairwise/")} == {
        "score_pairwise/n_wins": 1.0,
        "score_pairwise/n_ties": 0.0,
        "score_pairwise/n_losses": 0.0,
        "score_pairwise/n_invalid": 1.0,
        "score_pairwise/n_failed": 0.0,
        "score_pairwise/consistency": 1.0,
        "score_pairwise/first_position_share": 0.5,
        "score_pairwise/win_rate": 1.0,
        "score_pairwise/win_rate_ci95_lower": 0.5,
        "score_pairwise/lc_win_rate": 0.75,
        "score_pairwise/lc_win_rate_ci95_lower": 0.5,
    }
    assert run.data.tags["judge.pairwise.fingerprint"] == "ab12"
    assert "judge/pairwise.jsonl" in {file.path for file in client.list_artifacts(run_id, "judge")}
    write_judged()
    PAIRWISE.write_text("\n")  # as where nothing was compared
    without = through_the_flow(project, {"judge"})
    assert "judge/pairwise.jsonl" not in {file.path for file in client.list_artifacts(without, "judge")}


def test_means_corrected_by_human_labels_are_metrics() -> None:
    tuned = results.calibrated(60.0, 41.5, results.interval(30.0, 50.0), n=20)
    base = results.calibrated(None, None, None, n=0)

    def found(means: dict[ModelName, CalibratedMean]) -> dict[str, float]:
        scores = results.model_scores(60.0, scored=1, n=2)
        calibration = results.calibration_metrics(means, difference=results.interval(-30.0, -5.0) if means else None)
        judged = results.judge_metrics(results.identity(), scores, calibration=calibration)
        return {name: value for name, value in metric_names.of_run(None, None, judged).items() if "calibrated" in name}

    assert found({"tuned": tuned, "base": base}) == {
        "score/calibrated_mean": 41.5,
        "score/calibrated_mean_ci95_lower": 30.0,
        "score/calibrated_mean_ci95_upper": 50.0,
        "score/calibrated_vs_base": -17.5,
        "score/calibrated_vs_base_ci95_lower": -30.0,
        "score/calibrated_vs_base_ci95_upper": -5.0,
    }
    assert found({}) == {}


def test_a_file_of_an_earlier_version_is_said_in_a_line_and_all_else_is_in_the_run(
    project: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(FINETUNE_METRICS, {"val_loss": 4.5})
    write_jsonl(HISTORY, [{"step": 1, "loss": 8.0}])
    run_id = through_the_flow(project, {"judge"})
    said = capsys.readouterr().out.splitlines()
    start = f"tracking: left out of the run: {project}/artifacts/finetune"
    assert said[0] == f"{start}/metrics.json: parameters: missing; to make it again: dvc repro finetune"
    assert said[1].startswith(f"{start}/history.jsonl, line 1: epoch: missing; to make it again: ")
    assert client.get_run(run_id).data.metrics["score/mean"] == 60.0
    assert "loss/val_kept" not in client.get_run(run_id).data.metrics


def test_the_answers_are_a_table_that_joins_on_the_id(project: Path, client: MlflowClient) -> None:
    run_id = through_the_flow(project, set())
    a, b = ("", "scored", "scored", "", "spelling", "a", 1), ("", "", "invalid", "", "spelling", "b", 2)
    assert answers(client, run_id) == {
        "columns": [
            *("instruction", "reference", "before", "after", "score", "right", "input"),
            *("score_before", "right_before", "verdict_before", "verdict", "faults", "category", "id", "row"),
        ],
        "data": [
            [*("Spell it.", "it", "a by base", "a by tuned", 60.0, "", "", 20.0), *a],
            [*("Spell it.", "it", "b by base", "b by tuned", None, "", "", None), *b],
        ],
    }


def test_publishing_twice_changes_nothing(project: Path, client: MlflowClient) -> None:
    run_id = through_the_flow(project, {"judge"})
    once = client.get_run(run_id).data
    tracker.publish(project, run_id, ran={"judge"})
    again = client.get_run(run_id).data
    assert (again.params, again.metrics, again.tags) == (once.params, once.metrics, once.tags)
    assert points(client, run_id, "loss/train") == [(1, 8.0), (2, 4.0)]
    assert points(client, run_id, "score/mean") == [(0, 60.0)]
    assert len(answers(client, run_id)["data"]) == 2


def test_without_the_flow_stages_share_one_run_that_ends_as_the_flows_does(project: Path, client: MlflowClient) -> None:
    theirs = client.get_run(through_the_flow(project, {"finetune", "judge"})).data
    with tracker.stage("finetune") as run:
        run.log_metrics({"loss/train": 8.0}, step=1)
        wait_until(lambda: len(runs(client)) == 2)
        assert runs(client)[1].info.status == "RUNNING"
    assert runs(client)[1].info.status == "FINISHED"
    with tracker.stage("judge") as run:
        run.publish()
    _, ours = runs(client)
    assert ours.info.status == "FINISHED"
    assert points(client, ours.info.run_id, "loss/train") == [(1, 8.0), (2, 4.0)]
    assert ours.data.metrics == theirs.metrics
    assert ours.data.params == theirs.params
    own = {"door", "prefect.flow_run_id", "pipeline.execution", "mlflow.runName"}
    assert {n: v for n, v in ours.data.tags.items() if n not in own} == {
        n: v for n, v in theirs.tags.items() if n not in own
    }
    assert ours.data.tags["door"] == "stage by hand"
    lock = Path(client.download_artifacts(ours.info.run_id, "dvc.lock")).read_text()
    assert "split" in lock
    assert "judge" not in lock, "DVC has not written the entry of the stage that is under way"


@pytest.mark.thorough
def test_a_stage_logs_to_the_flows_run_and_leaves_its_state_alone(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = tracker.create_run(project)
    assert run_id is not None
    for name, value in tracker.stage_variables(run_id).items():
        monkeypatch.setenv(name, value)
    with tracker.stage("finetune") as run:
        for step in range(2500):
            run.log_metrics({"loss/train": float(step)}, step=step)
    assert points(client, run_id, "loss/train") == [(step, float(step)) for step in range(2500)]
    with pytest.raises(program.Interrupted), tracker.stage("judge") as run:  # noqa: PT012
        run.publish()
        raise program.Interrupted("SIGTERM")
    (only,) = runs(client)
    assert only.info.status == "RUNNING"
    assert only.data.tags["stage.judge"] == "cancelled"
    assert "score/mean" not in only.data.metrics
    tracker.publish(project, run_id, ran={"judge"})
    assert client.get_run(run_id).data.tags["stage.judge"] == "ran", "it was run again"


@pytest.mark.parametrize(
    ("error", "status", "tag"),
    [(program.PipelineError("no"), "FAILED", "failed"), (program.Interrupted("SIGTERM"), "KILLED", "cancelled")],
)
def test_a_stage_that_breaks_off_ends_the_run_that_it_owns(
    project: Path, client: MlflowClient, error: BaseException, status: str, tag: str
) -> None:
    with pytest.raises(type(error)), tracker.stage("finetune") as run:  # noqa: PT012
        run.log_metrics({"loss/train": 1.0}, step=1)
        raise error
    (only,) = runs(client)
    assert only.info.status == status
    assert only.data.tags["stage.finetune"] == tag
    assert points(client, only.info.run_id, "loss/train") == [(1, 1.0)]


@pytest.mark.thorough  # a program is started
def test_the_report_is_made_also_where_mlflow_does_not_take_the_results(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mirror, "publish", refuse)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with tracker.stage("judge") as run:
        run.begin_report()
        run.publish()

    assert "No space left on device" in capsys.readouterr().out
    assert report.is_current(project)
    assert "score/mean" not in runs(client)[0].data.metrics


@pytest.mark.thorough  # a program is started
@pytest.mark.parametrize("early", [True, False])
def test_the_report_is_made_also_where_mlflow_does_not_answer(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], early: bool
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with tracker.stage("judge") as run:
        if early:
            run.begin_report()
        run.publish()

    assert "MLflow at http://127.0.0.1:9 does not work" in capsys.readouterr().out
    assert report.is_current(project)


def test_results_that_dvc_will_not_record_are_not_published(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", "judge")
    monkeypatch.setattr(held, "_stage", "judge")
    read = inputs.Inputs.of(dvc_yaml.Entry("", {Path("params.yaml"): ("judge",)}, (), (), ""))
    monkeypatch.setattr(held, "_before", read)
    text = Path("params.yaml").read_text()
    for edited, expected in ((text.replace("max_invalid: 0.02", "max_invalid: 0.2"), []), (text, [60.0])):
        Path("params.yaml").write_text(edited)
        with tracker.stage("judge") as run:
            run.publish()
        newest = runs(client)[-1]
        assert [value for name, value in newest.data.metrics.items() if name == "score/mean"] == expected


def test_the_card_that_a_stage_used_is_a_tag(
    project: Path, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_GPU_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("PIPELINE_GPUS", "GPU-a")
    with tracker.stage("finetune"), gpu.lease():
        pass
    assert runs(client)[0].data.tags["gpu.uuid"] == "GPU-a"


def test_runs_whose_owner_was_killed_are_set_killed(project: Path, client: MlflowClient) -> None:
    left, alive, elsewhere = (tracker.create_run(project) for _ in range(3))
    owner = subprocess.Popen(["sleep", "600"])
    client.set_tag(left, "pipeline.owner", execution.identity(owner.pid))
    client.set_tag(elsewhere, "pipeline.owner", f"other-host:{owner.pid}:1:1")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    tracker.create_run(project)
    states = [client.get_run(run_id).info.status for run_id in (left, alive, elsewhere)]
    assert states == ["KILLED", "RUNNING", "RUNNING"]


def test_an_identity_is_not_that_of_a_later_process_with_the_same_id() -> None:
    own = execution.identity()
    host, pid, start, namespace = own.rsplit(":", 3)
    assert not execution.is_gone(own)
    assert execution.is_gone(f"{host}:{pid}:{int(start) - 1}:{namespace}")


def test_marks_that_ended_executions_have_left_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    host, pid, _, namespace = execution.identity().rsplit(":", 3)
    ended, elsewhere, long_ago = (f"{host}:{pid}:1:{namespace}", f"box:{pid}:1:5", f"other-box:{pid}:1:5")
    for name in (ended, elsewhere, long_ago):
        (execution.MARKS / name).mkdir(parents=True)
    os.utime(execution.MARKS / long_ago, (0, 0))
    execution.mark(execution.Execution(execution.identity(), "dvc repro"), "split")
    assert {path.name for path in execution.MARKS.iterdir()} == {elsewhere, execution.identity()}


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("/usr/bin/dvc repro", ["repro"]),
        ("/v/bin/python3.11 /v/bin/dvc --wait-for-lock repro", ["--wait-for-lock", "repro"]),
        ("python -m dvc repro -s dvc", ["repro", "-s", "dvc"]),
        ("python -X faulthandler -um dvc repro", ["repro"]),
        ("python -mdvc", []),
        ("python /v/lib/site-packages/dvc/__main__.py exp queue-worker", ["exp", "queue-worker"]),
        ("python -P /p/flows/waiting_dvc.py 7 dvc repro -s split", ["repro", "-s", "split"]),
        ("python -P /p/flows/guard.py 10 python -P /p/flows/waiting_dvc.py 7 dvc repro", None),
        ("python watch.py dvc.lock", None),
        ("python -m watch dvc", None),
        ("python -c pass dvc", None),
        ("python", None),
        ("dvc.sh repro", None),
        ("sh -c dvc", None),
        ("make dvc", None),
        ("python -m flows.run", None),
        ("", None),
    ],
)
def test_which_command_lines_are_dvc(command: str, arguments: list[str] | None) -> None:
    assert execution.arguments_of_dvc(command.split()) == arguments


def test_a_closed_port_costs_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    Path("quiet_program.py").touch()
    monkeypatch.setattr(report, "PROGRAM", "quiet_program")
    with tracker.stage("judge") as run:
        run.log_metrics({"loss/train": 1.0}, step=1)
        run.publish()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"tracking: MLflow at http://***@127.0.0.1:{port} does not work, going on without it: ")
    assert "secret" not in line
    assert tracker.create_run(project) is None
    tracker.publish(project, None, ran=set())
    tracker.end(None, "FINISHED")
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("uri", "variables"),
    [
        ("http://user:secret@192.0.2.1:5000", {}),
        ("http://192.0.2.1:5000", {"MLFLOW_TRACKING_USERNAME": "user", "MLFLOW_TRACKING_PASSWORD": "secret"}),
        ("http://192.0.2.1:5000", {"MLFLOW_TRACKING_TOKEN": "secret"}),
    ],
)
def test_a_password_does_not_go_unencrypted_to_another_machine(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    uri: str,
    variables: dict[str, str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert tracker.create_run(project) is None
    (line,) = capsys.readouterr().out.splitlines()
    assert "going on without it: MLFLOW_TRACKING_URI: MLflow's password or token would go unencrypted to" in line
    assert "PIPELINE_KEY_OVER_HTTP=1" in line
    assert "secret" not in line


@pytest.mark.thorough
def test_a_server_that_never_answers_holds_nothing_up(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "4")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(live, "CLOSE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with tracker.stage("finetune") as run:
            run.log_metrics({"loss/train": 1.0}, step=1)
        (still_waiting,) = [thread for thread in threading.enumerate() if thread.name == "tracking"]
        assert "no answer within 0.3 s" in capsys.readouterr().out
        still_waiting.join()


def test_a_file_that_is_no_database_costs_one_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mlflow.db").write_text("no database " * 100)
    with tracker.stage("finetune"):
        pass
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("going on without it: file is not a database")


def test_what_was_logged_while_the_database_was_locked_arrives_later(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(sending, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(sending, "RETRY_SECONDS", 0.05)
    said: list[str] = []
    for module in (mlflow_access, sending):
        monkeypatch.setattr(module, "say", said.append)
    lock = sqlite3.connect("mlflow.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    with tracker.stage("finetune") as run:
        run.log_metrics({"loss/train": 1.0}, step=1)
        wait_until(lambda: said)
        lock.close()
        run.log_metrics({"loss/train": 2.0}, step=2)
        wait_until(lambda: len(said) > 1)
    assert "database is locked" in said[0]
    assert said[1:] == ["tracking: MLflow answers again; nothing was lost"]
    assert points(client, runs(client)[0].info.run_id, "loss/train") == [(1, 1.0), (2, 2.0)]


def test_a_flow_without_a_run_keeps_its_stages_from_opening_their_own(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in tracker.stage_variables(None).items():
        monkeypatch.setenv(name, value)
    with tracker.stage("judge") as run:
        run.log_metrics({"loss/train": 1.0}, step=1)
        run.publish()
    assert runs(client) == []


def test_what_is_missing_is_skipped_and_said(
    project: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(JUDGE_FOLDER)
    HISTORY.unlink()
    run_id = through_the_flow(project, set())
    said = capsys.readouterr().out
    missing = said.partition("not in the run, as they are not there: ")[2]
    assert "artifacts/finetune/history.jsonl" in missing
    assert "artifacts/judge/metrics.json" in missing
    tags = client.get_run(run_id).data.tags
    assert "stage.judge" not in tags
    assert tags["mlflow.note.content"] == "Validation loss 4.500 at step 1, 0.000 before"


def test_a_run_has_the_values_that_it_began_with(project: Path, client: MlflowClient) -> None:
    """MLflow takes seconds to load, in which params.yaml may be edited."""
    begun = Begun.of()
    own = execution.Execution(execution.identity(), "dvc repro")
    execution.first(own, begun.to_json)
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("learning_rate: 0.005", "learning_rate: 0.0001"))

    run_id = tracker.create_run(project, begun=begun)

    assert client.get_run(run_id).data.params["finetune.learning_rate"] == "0.005"
    assert store.params_of(own, project).finetune.learning_rate == 0.005
    other = execution.Execution(execution.identity(), "stage by hand")
    shutil.rmtree(execution.MARKS)
    assert store.params_of(other, project).finetune.learning_rate == 0.0001


def test_a_run_that_is_stopped_is_killed_at_once_and_at_the_end(project: Path, client: MlflowClient) -> None:
    with pytest.raises(Stopped), mlflow_run(project, project, {"prefect.flow_run_id": "1234"}, Begun.of()) as run:  # noqa: PT012
        run.ran.add("split")
        tracker.stopping(run.id, "finetune")  # which may be saving its work for a minute
        (found,) = runs(client)
        assert (found.info.status, found.data.tags["stage.finetune"]) == ("KILLED", "cancelled")
        raise Stopped("finetune")
    (found,) = runs(client)
    assert found.info.status == "KILLED"
    assert stage_tags(found) == {"split": "ran", "finetune": "cancelled"}


def test_a_changed_parameter_is_said_and_the_first_is_kept(
    project: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = tracker.create_run(project)
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("batch_size: 24", "batch_size: 4"))
    tracker.publish(project, run_id, ran=set())
    assert "finetune.batch_size was 24 when this run began, and is 4 now" in capsys.readouterr().out
    assert client.get_run(run_id).data.params["finetune.batch_size"] == "24"


STAGE = """
import subprocess, sys, time
from stages.running import program
from stages.running.tracking import links, tracker

def split():
    pass

def finetune():
    with tracker.stage("finetune") as run:
        run.log_metrics({"loss/train": 1.5}, step=1)
        hang("finetune")

def hang(name):
    if open(f"{name}.txt").read() == "hang":
        open("hangs", "w").close()
        time.sleep(600)

def generate():
    hang("generate")
    if open("generate.txt").read() == "bad":
        raise program.PipelineError("no answers")

def judge():
    with tracker.stage("judge") as run:
        run.publish()
    # As the summary starts a comparison, which has nothing to compare.
    assert subprocess.run([sys.executable, __file__, "compare"]).returncode == 70

def compare():
    raise program.PipelineError("nothing to compare")

if __name__ == "__main__":
    try:
        program.run(sys.argv[1], globals()[sys.argv[1]])
    finally:
        assert "mlflow" not in sys.modules or sys.argv[1] != "split"
"""


@pytest.mark.thorough
def test_one_dvc_repro_is_one_run(project: Path, client: MlflowClient) -> None:
    dvc_project(project, {"split": "", "finetune": "split", "judge": "finetune"})
    assert repro(project).returncode == 0
    (only,) = runs(client)
    assert only.info.status == "FINISHED"
    assert only.data.tags["door"] == "dvc repro"
    ran = dict.fromkeys(["split", "finetune", "judge"], "ran")
    assert stage_tags(only) == dict.fromkeys(["download", "tokenize", "generate"], "cached") | ran
    assert points(client, only.info.run_id, "loss/train") == [(1, 1.5), (2, 4.0)]


@pytest.mark.slow
def test_a_failed_stage_fails_the_run_of_its_dvc_repro_and_no_other(project: Path, client: MlflowClient) -> None:
    dvc_project(project, {"split": "", "finetune": "split", "generate": "finetune", "judge": "generate"})
    assert repro(project, "split", "finetune", "generate").returncode == 0
    Path("generate.txt").write_text("bad")
    Path("split.txt").write_text("again")
    assert "generate: no answers" in repro(project).stderr
    Path("generate.txt").write_text("good")
    assert repro(project).returncode == 0
    first, second, third = runs(client)
    assert [run.info.status for run in (first, second, third)] == ["FINISHED", "FAILED", "FINISHED"]
    assert stage_tags(second) == {"finetune": "ran", "generate": "failed"}
    cached = dict.fromkeys(["download", "split", "tokenize", "finetune"], "cached")
    assert stage_tags(third) == cached | {"generate": "ran", "judge": "ran"}
    assert points(client, first.info.run_id, "loss/train") == [(1, 1.5)]
    assert points(client, third.info.run_id, "loss/train") == [(1, 8.0), (2, 4.0)]
    left = [path.name for path in (project / ".cache" / "tracking").iterdir()]
    assert left == [third.data.tags["pipeline.execution"]], "what was noted of earlier executions is gone"


@pytest.mark.slow
@pytest.mark.parametrize("who", ["finetune", "generate"])  # tracked, and not
def test_ctrl_c_on_a_dvc_repro_leaves_its_run_killed_and_the_stage_cancelled(
    project: Path, client: MlflowClient, who: str
) -> None:
    dvc_project(project, {"split": "", "finetune": "split", "generate": "finetune", "judge": "generate"})
    Path(f"{who}.txt").write_text("hang")
    command = [sys.executable, "-m", "dvc", "repro", "--quiet"]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True) as dvc:
        try:
            flow_project.wait_until(Path("hangs").exists, 120)
            os.killpg(dvc.pid, signal.SIGINT)
            assert dvc.wait(60) != 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(dvc.pid, signal.SIGKILL)
    (only,) = runs(client)
    assert only.info.status == "KILLED"
    assert stage_tags(only)[who] == "cancelled"


def stage_tags(run: Any) -> dict[str, str]:
    return {n.removeprefix("stage."): v for n, v in run.data.tags.items() if n.startswith("stage.")}


def dvc_project(project: Path, chain: Mapping[str, str]) -> None:
    """Make it a DVC project whose stages, one after the other, touch a file each."""
    (project / "stage.py").write_text(STAGE)
    lines = ["stages:"]
    for name, after in chain.items():
        (project / f"{name}.txt").write_text("good")
        lines += [
            f"  {name}:",
            f"    cmd: {sys.executable} stage.py {name} && echo x >> {name}.out",
            "    deps:",
            f"      - {name}.txt",
            *([f"      - {after}.out"] if after else []),
            f"    outs: [{{{name}.out: {{persist: true}}}}]",
        ]
    (project / "dvc.yaml").write_text("\n".join(lines) + "\n")
    (project / "dvc.lock").unlink()
    (project / ".dvc").mkdir()
    (project / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")


def repro(project: Path, *stages: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "dvc", "repro", *stages]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def server(tmp_path: Path, empty_database: Path) -> Iterator[str]:
    """The address of a real MLflow server."""
    with mlflow_server.running(tmp_path, empty_database) as address:
        yield address


@pytest.mark.slow
def test_a_server_keeps_the_same_run(project: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    with tracker.stage("judge") as run:
        run.log_metrics({"loss/train": 8.0}, step=1)
        run.publish()
    client = MlflowClient(server)
    (only,) = runs(client)
    assert only.info.status == "FINISHED"
    assert points(client, only.info.run_id, "loss/train") == [(1, 8.0), (2, 4.0)]
    table = client.load_table(only.info.experiment_id, mirror.ANSWERS, [only.info.run_id])
    assert table["id"].tolist() == ["a", "b"]
    assert not (project / "mlruns").exists()
