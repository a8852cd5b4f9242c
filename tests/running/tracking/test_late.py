"""Results that MLflow does not have are published later, once, and only if they are those of dvc.lock."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from stages.common.errors import DataError, ServiceUnavailable
from stages.common.files import sha256, write_jsonl
from stages.common.records import write_metrics
from stages.common.results.finetune import HISTORY
from stages.common.results.judge import JUDGE_METRICS, PAIRWISE, SCORES_PLOT
from stages.params import reading
from stages.running.costs import TRAINING_COSTS
from stages.running.stage_results import RESULTS
from stages.running.tracking import late, links, lookup, mirror, mlflow_access, published, store, tracker
from tests import results
from tests.root import ROOT
from tests.running.tracking.made import answers, points, runs, through_the_flow, write_judged

_NOT_THERE = "MLflow      not there; to add these results: python -m flows.publish"


@pytest.fixture
def locked(project: Path) -> Path:
    """The project, with a dvc.lock that names its results and values."""
    SCORES_PLOT.write_bytes(b"a picture")
    lock()
    return project


def lock() -> None:
    """Write the dvc.lock that DVC would write."""
    params = reading.read_values(Path("params.yaml"))
    stages: dict[str, Any] = {name: {"cmd": name, "outs": []} for name in RESULTS}
    for stage, entry in stages.items():
        entry["params"] = {"params.yaml": {stage: params[stage]}}
    for path in mirror.results(Path()):
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        stages[path.parts[1]]["outs"].append({"path": str(path), "hash": "md5", "md5": md5})
    YAML(typ="safe").dump({"schema": "2.0", "stages": stages}, Path("dvc.lock"))


def place() -> list[str]:
    """The lines of the summary that tell where in MLflow the results are."""
    return links.store_lines(Path(), stays=True)


def test_a_run_without_tracking_is_published_later_and_once(
    locked: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with monkeypatch.context() as down:
        down.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        down.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        assert tracker.create_run(locked) is None
        assert place() == [_NOT_THERE]
        with pytest.raises(ServiceUnavailable, match=r"(?s)MLflow at http://127.0.0.1.*then python -m flows.publish"):
            late.publish(locked, "here")
    theirs = late.publish(locked, "host:/somewhere")
    assert theirs.is_new
    (run,) = runs(client)
    assert (run.info.run_id, run.info.run_name, run.info.status) == (theirs.run_id, theirs.name, "FINISHED")
    tags = run.data.tags
    assert (tags["door"], tags["published.from"], tags["profile"]) == ("published", "host:/somewhere", "quick")
    assert {tags[f"stage.{name}"] for name in RESULTS} == {"cached"}
    assert "env.torch" not in tags
    assert points(client, theirs.run_id, "loss/train") == [(1, 8.0), (2, 4.0)]
    assert run.data.metrics["score/mean"] == 60.0
    assert len(answers(client, theirs.run_id)["data"]) == 2
    assert place() == [f"MLflow      {mlflow_access.uri()}", "compare     make ui"]

    again = late.publish(locked, "host:/elsewhere")
    assert again == late.Late(theirs.name, theirs.run_id, is_new=False)
    (same,) = runs(client)
    assert (same.data.tags, same.data.metrics, same.info.end_time) == (tags, run.data.metrics, run.info.end_time)
    assert points(client, theirs.run_id, "loss/train") == [(1, 8.0), (2, 4.0)]
    assert points(client, theirs.run_id, "score/mean") == [(0, 60.0)]
    client.delete_run(theirs.run_id)
    assert place() == [_NOT_THERE]
    assert late.publish(locked, "host:/somewhere").is_new


def test_no_message_shows_the_password_of_the_address(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:sec@ret@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for ask in (
        lambda: late.publish(locked, "here"),
        lambda: lookup.download(locked, "a-run", ["dvc.lock"], locked),
    ):
        with pytest.raises(ServiceUnavailable) as caught:
            ask()
        address = f"http://***@127.0.0.1:{port}"
        assert caught.value.what.startswith(f"MLflow at {address}: Connection refused")
        assert "sec@" not in str(caught.value)


def test_the_run_of_the_flow_and_that_of_a_stage_are_found(locked: Path, client: MlflowClient) -> None:
    run_id = through_the_flow(locked, {"judge"})
    shutil.rmtree(".cache")
    assert place() == [_NOT_THERE]
    assert late.publish(locked, "here").run_id == run_id
    assert place()[1:] == ["compare     make ui"]
    assert client.get_run(run_id).data.tags["stage.judge"] == "ran"
    write_judged(pairwise=results.pairwise_metrics(1.0, results.interval(0.5, None), 0.75, results.interval(0.5, None)))
    PAIRWISE.write_text("{}\n")
    with tracker.stage("judge") as run:
        run.publish()
    lock()
    ours = late.publish(locked, "here")
    assert (ours.is_new, ours.run_id) == (False, runs(client)[1].info.run_id)
    assert len(runs(client)) == 2


def test_a_run_that_was_published_halfway_is_completed(locked: Path, client: MlflowClient) -> None:
    tags = {published.TAG: published.digest(locked), late.SOURCE: "here"}
    run_id = store.create_from_files(client, locked, tags)
    client.set_terminated(run_id, "KILLED")
    assert late.publish(locked, "here").run_id == run_id
    (only,) = runs(client)
    assert (only.info.status, only.data.metrics["score/mean"]) == ("FINISHED", 60.0)


def test_costs_measured_here_are_published_too(locked: Path, client: MlflowClient) -> None:
    write_metrics(TRAINING_COSTS, results.training_costs(history=sha256(HISTORY), seconds=65.5))
    run_id = late.publish(locked, "here").run_id
    kept = Path(client.download_artifacts(run_id, "finetune/ledger.json"))
    assert json.loads(kept.read_text())["seconds"] == 65.5
    write_jsonl(HISTORY, [{"step": 0, "val_loss": 8.0, "tokens_seen": 0, "epoch": 0}])
    lock()
    other = late.publish(locked, "here").run_id
    kept_there = {file.path for file in client.list_artifacts(other, "finetune")}
    assert "finetune/ledger.json" not in kept_there, "they are another training's"


def test_the_commit_is_named_only_if_its_code_made_the_results(locked: Path, client: MlflowClient) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", *who, *arguments], check=True, capture_output=True)

    code = Path("stages/split/job.py")
    code.parent.mkdir(parents=True)
    code.write_text("first = 1\n")
    tree = YAML(typ="safe").load(Path("dvc.lock"))
    md5 = hashlib.md5(code.read_bytes(), usedforsecurity=False).hexdigest()
    tree["stages"]["split"]["deps"] = [{"path": str(code), "md5": md5}, {"path": "data", "md5": "0.dir"}]
    YAML(typ="safe").dump(tree, Path("dvc.lock"))
    git("init", "--quiet")
    git("add", "stages")
    git("commit", "--quiet", "--message", "x")
    with_commit = client.get_run(late.publish(locked, "here").run_id).data.tags
    assert len(with_commit["git.commit"]) == 40
    client.delete_run(runs(client)[0].info.run_id)
    code.write_text("second = 2\n")
    assert "git.commit" not in client.get_run(late.publish(locked, "here").run_id).data.tags


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda: replace("params.yaml", "batch_size: 24", "batch_size: 4"),
            r"params.yaml: finetune.batch_size was 24 when these results were made, and is 4 now\n"
            r"  to fix it: put the values back, or dvc repro; then python -m flows.publish",
        ),
        (
            lambda: replace("artifacts/judge/metrics.json", "60.0", "99.0"),
            "artifacts/judge/metrics.json: expected the MD5 in dvc.lock, [0-9a-f]{32}, found [0-9a-f]{32}",
        ),
        (JUDGE_METRICS.unlink, r"artifacts/judge/metrics.json: missing, and dvc.lock names it\n.*: dvc checkout"),
        (
            lambda: replace("dvc.lock", "artifacts/judge/verdicts.jsonl", "artifacts/judge/other"),
            "artifacts/judge/verdicts.jsonl: dvc.lock does not name it: the stage that wrote it has not succeeded",
        ),
        (lambda: Path("dvc.lock").write_text("schema: [\n"), "dvc.lock: cannot be read, such as after a merge: .*"),
        (
            lambda: (shutil.rmtree("artifacts"), Path("dvc.lock").unlink()),
            r"no results to publish\n  to fix it: dvc repro",
        ),
    ],
)
def test_what_is_not_a_run_that_was_is_refused(locked: Path, client: MlflowClient, change: Any, message: str) -> None:
    change()
    with pytest.raises(DataError, match=message):
        late.publish(locked, "here")
    assert runs(client) == []


def replace(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


def publish(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.publish", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.thorough
def test_the_command_puts_results_into_a_store_that_was_lost(locked: Path, empty_database: Path) -> None:
    through_the_flow(locked, {"judge"})
    assert place()[1:] == ["compare     make ui"]
    Path("mlflow.db").unlink()
    shutil.rmtree("mlruns")
    assert place() == [_NOT_THERE]
    shutil.copy(empty_database, "mlflow.db")
    assert place() == [_NOT_THERE]
    first = publish(locked)
    assert first.returncode == 0, first.stderr
    assert place()[1:] == ["compare     make ui"]
    assert first.stdout.splitlines()[-1].startswith("published as run ")
    assert first.stdout.endswith(f" at {mlflow_access.uri()}\n")
    JUDGE_METRICS.write_text(json.dumps({}))
    refused = publish(locked)
    assert (refused.returncode, refused.stderr.splitlines()[0][:37]) == (65, "publish: artifacts/judge/metrics.json")
