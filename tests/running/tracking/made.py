"""What all stages leave behind, and what a store holds of it."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from stages.common.files import write_json, write_jsonl
from stages.common.metrics.generate import GenerateMetrics
from stages.common.metrics.judge import Mean
from stages.common.records import write_metrics
from stages.common.results.download import DATASET
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY
from stages.common.results.generate import GENERATE_METRICS, RESPONSES
from stages.common.results.judge import JUDGE_METRICS, VERDICTS
from stages.common.results.split import SPLIT_METRICS, split_file
from stages.common.results.tokenize import TOKENS_METRICS
from stages.running.tracking import tracker
from tests import results

STEPS = [
    {"step": 0, "val_loss": 9.0, "tokens_seen": 0, "epoch": 0},
    {"step": 1, "train_loss": 8.0, "learning_rate": 0.1, "tokens_seen": 10, "epoch": 1},
    {"step": 2, "train_loss": 4.0, "val_loss": 5.0, "learning_rate": 0.05, "tokens_seen": 20, "epoch": 1},
]


def fill() -> None:
    """Write what all six stages leave, into the working directory."""
    Path("dvc.yaml").write_text("stages: {}\n")
    Path("dvc.lock").write_text("schema: '2.0'\nstages:\n  split: {cmd: b}\n  judge: {cmd: old}\n")
    DATASET.parent.mkdir(parents=True)
    DATASET.write_text("[]")
    write_metrics(SPLIT_METRICS, results.split_metrics(train=8, test=2))
    write_json(TOKENS_METRICS, {"train": {"tokens": 105, "dropped": ["7"]}})
    write_metrics(FINETUNE_METRICS, results.finetune_metrics(val_loss=4.5, last_val_loss=5.0, kept_step=1))
    write_jsonl(HISTORY, STEPS)
    tuned = results.answer_metrics(tokens=7, exact_match=0.5, chrf=40.0, bf16_changed=0.25)
    write_metrics(GENERATE_METRICS, GenerateMetrics(tuned=tuned, base=results.answer_metrics(tokens=9)))
    example = {"instruction": "Spell it.", "input": "", "output": "it", "category": "spelling"}
    write_jsonl(split_file("test"), [{"id": "a"} | example, {"id": "b"} | example])
    answer = {"stop_reason": "end_of_text", "tokens": 2}
    write_jsonl(
        RESPONSES,
        [{"id": i, "model": m, "text": f"{i} by {m}"} | answer for m in ("base", "tuned") for i in "ba"],
    )
    verdicts = [
        {"id": "b", "model": "tuned", "status": "invalid", "score": None, "detail": ""},
        {"id": "a", "model": "tuned", "status": "scored", "score": 60.0, "detail": ""},
        {"id": "a", "model": "base", "status": "scored", "score": 20.0, "detail": ""},
    ]
    write_jsonl(VERDICTS, verdicts)
    write_judged()


def write_judged(**parts: Any) -> None:
    """The judge's metrics in the working directory, with these parts besides the models' scores."""
    tuned, base = (results.model_scores(mean, scored=1, n=2) for mean in (60.0, 20.0))
    difference = Mean(n=1, mean=40.0, interval=results.interval(None, None))
    judge = results.identity(measures="chrF")
    write_metrics(JUDGE_METRICS, results.judge_metrics(judge, tuned, base=base, difference=difference, **parts))


def runs(client: MlflowClient) -> list[Any]:
    named = client.get_experiment_by_name("instruct-pipeline/quick")
    return list(client.search_runs([named.experiment_id], order_by=["attributes.start_time"])) if named else []


def points(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in client.get_metric_history(run_id, name))


def answers(client: MlflowClient, run_id: str) -> Any:
    (table,) = json.loads(client.get_run(run_id).data.tags["mlflow.loggedArtifacts"])
    return json.loads(Path(client.download_artifacts(run_id, table["path"])).read_text())


def through_the_flow(root: Path, ran: set[str]) -> str:
    """What the flow does around its stages."""
    run_id = tracker.create_run(root, tags={"prefect.flow_run_id": "1234"})
    assert run_id is not None
    tracker.publish(root, run_id, ran=ran)
    tracker.end(run_id, "FINISHED")
    return run_id


def wait_until(condition: Any, seconds: float = 30) -> None:
    """Wait for a condition; the limit is there for a test that fails."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def made_by_an_older_mlflow(path: Path) -> str:
    """A database as MLflow made it before its last migration, with a run in it; returns the migration that it has."""
    from alembic import command
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base

    engine = utils.create_sqlalchemy_engine_with_retry(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    config = utils._get_alembic_config(f"sqlite:///{path}")
    before = ScriptDirectory.from_config(config).get_revision("head").down_revision
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, before)
    engine.dispose()
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time, "
            "last_update_time) VALUES (0, 'Default', ?, 'active', 1, 1)",
            [(path.parent / "mlruns").as_uri()],
        )
        connection.execute(
            "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, lifecycle_stage, "
            "artifact_uri, experiment_id) "
            "VALUES (?, 'earlier', 'LOCAL', 'me', 'FINISHED', 1, 'active', 'file:///none', 0)",
            ["a" * 32],
        )
    return str(before)
