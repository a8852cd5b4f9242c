"""The files that the stages wrote, mirrored into an MLflow run. What is there already is not written again."""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from stages.common import paths
from stages.common.files import read_json, read_jsonl
from stages.common.records import read_records
from stages.common.results.download import DATASET
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY, StepRecord
from stages.common.results.generate import GENERATE_METRICS, RESPONSES, Response
from stages.common.results.judge import JUDGE_METRICS, PAIRWISE, SCORES_PLOT, VERDICTS, Verdict
from stages.common.results.split import SPLIT_METRICS, Example, split_file
from stages.common.results.tokenize import TOKENS_METRICS
from stages.params import reading, whole
from stages.running import curves
from stages.running.console import say
from stages.running.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: A file of each stage: where it is missing, the stage has not been run.
STAGES = {
    "download": DATASET,
    "split": SPLIT_METRICS,
    "tokenize": TOKENS_METRICS,
    "finetune": FINETUNE_METRICS,
    "generate": GENERATE_METRICS,
    "judge": JUDGE_METRICS,
}
LAST_STAGE = "judge"

#: What of fine-tuning's metrics file is a result to compare runs by, besides the curves. What else the stages' files
#: say is in the run as files: among a hundred metrics nobody finds the loss curves.
BEST = {
    "val_loss": "val/kept_loss",
    "kept_step": "val/kept_step",
    "best_val_loss": "val/best_loss",
    "best_step": "val/best_step",
}

#: What of the answers' metrics file is: the measures that need no judge, and what bf16 changes.
MEASURES = (
    *("exact_match", "token_f1", "chrf", "length_ratio"),
    *("end_of_text_rate", "cap_hit_rate", "template_leaks"),
    "bf16_changed",
)

#: Fields of history.jsonl, and the metrics that show them by step.
CURVES = {
    "train_loss": "train/loss",
    "val_loss": "val/loss",
    "learning_rate": "train/learning_rate",
    "grad_norm": "train/grad_norm",
    "tokens_seen": "train/tokens_seen",
}

#: Files kept in the run, and the folder each goes to there. Weights stay with DVC.
FILES = (
    (paths.PARAMS, None),
    (Path("dvc.yaml"), None),
    (SPLIT_METRICS, "split"),
    (TOKENS_METRICS, "tokenize"),
    (FINETUNE_METRICS, "finetune"),
    (HISTORY, "finetune"),
    (GENERATE_METRICS, "generate"),
    (JUDGE_METRICS, "judge"),
    (VERDICTS, "judge"),
    (SCORES_PLOT, "judge"),
)
#: The picture of the losses: drawn for the run from history.jsonl, so that no result of a stage depends on its looks.
LOSS_PLOT = "finetune/loss.png"
ANSWERS = "judge/answers.json"
ANSWERS_ROWS = 2000


def publish(mlflow: MlflowClient, run_id: str, ran: Collection[str], root: Path, *, lock_is_final: bool) -> None:
    """Mirror the files under ``root``.

    Args:
        mlflow: the client.
        run_id: the run.
        ran: the stages that ran in this execution; those that did not are tagged as cached if their files are there.
        root: the folder with params.yaml, dvc.lock and artifacts/.
        lock_is_final: whether DVC has written the last stage's entry in dvc.lock. Under plain `dvc repro` it does so
            only after that stage, which publishes, has ended.
    """
    there = mlflow.get_run(run_id).data
    store.log_params(mlflow, run_id, reading.flatten(whole.load(root / paths.PARAMS).model_dump()), there.params)
    tags = _judge(root)
    for name, file in STAGES.items():
        if name in ran:
            tags[f"stage.{name}"] = "ran"
        elif (root / file).exists() and f"stage.{name}" not in there.tags:
            tags[f"stage.{name}"] = "cached"
    metrics = dict(final_metrics(root))
    now = time.time_ns() // 1_000_000
    points = [(name, value, 0) for name, value in metrics.items() if there.metrics.get(name) != value]
    points += _missing_points(mlflow, run_id, root)
    store.log_metrics(mlflow, run_id, [(name, value, now, step) for name, value, step in points])
    _log_lock(mlflow, run_id, root, tags, lock_is_final=lock_is_final)
    if note := _note(metrics):
        tags["mlflow.note.content"] = note
    if _log_answers(mlflow, run_id, root):
        # By this tag MLflow's page finds tables; its own log_table would append the rows a second time.
        tags["mlflow.loggedArtifacts"] = json.dumps([{"path": ANSWERS, "type": "table"}])
    for name, value in tags.items():
        mlflow.set_tag(run_id, name, value)
    missing = [str(file) for file, _ in FILES if not (root / file).exists()]
    for file, folder in FILES:
        if (root / file).exists():
            mlflow.log_artifact(run_id, str(root / file), folder)
    if (root / HISTORY).exists():
        history = list(read_records(root / HISTORY, StepRecord, made_by="dvc repro finetune"))
        mlflow.log_figure(run_id, curves.figure(history), LOSS_PLOT)
    if "judge_pairwise/n_wins" in metrics and (root / PAIRWISE).exists():
        mlflow.log_artifact(run_id, str(root / PAIRWISE), "judge")
    if missing:
        say(f"tracking: not in the run, as they are not there: {', '.join(missing)}")


def final_metrics(root: Path) -> Iterator[tuple[str, float]]:
    """The results in the stages' metrics files.

    The tuned model's scores are ``judge/...``, the base model's ``judge_base/...``, and the mean of tuned minus base is
    ``judge/difference``; a mean put right by better scores is ``calibrated_mean``. What comes of their answers side by
    side is ``judge_pairwise/...``, with rates from 0 to 1.
    The measures of the answers are ``generate/...`` and ``generate_base/...``.
    """
    if (root / FINETUNE_METRICS).exists():
        trained = read_json(root / FINETUNE_METRICS, made_by="dvc repro finetune")
        for field, name in BEST.items():
            if field in trained:
                yield from _numbers(name, trained[field])
    if (root / GENERATE_METRICS).exists():
        answered = read_json(root / GENERATE_METRICS, made_by="dvc repro generate")
        for model, prefix in (("tuned", "generate"), ("base", "generate_base")):
            for name in MEASURES:
                if name in answered.get(model, {}):
                    yield from _numbers(f"{prefix}/{name}", answered[model][name])
    if not (root / JUDGE_METRICS).exists():
        return
    found = read_json(root / JUDGE_METRICS, made_by=f"dvc repro {LAST_STAGE}")
    for model, name in (("tuned", "judge"), ("base", "judge_base")):
        if model in found:
            yield from _scores(name, found[model])
    if "difference" in found:
        difference = found["difference"]
        yield from _numbers("judge/difference", difference["mean"])
        yield from _interval("judge/difference_ci95", difference["interval"])
    if "calibration" in found:
        yield from _calibrated(found["calibration"])
    if "pairwise" in found:
        yield from _pairwise(found["pairwise"])


def lineage(lock: dict[str, Any]) -> str:
    """SHA-256 of dvc.lock without the last stage's entry, as sorted JSON: all that the scores rest on.

    The hash of the whole file cannot be known in the last stage, and the run is to be the same by every door.
    """
    stages = {name: entry for name, entry in lock.get("stages", {}).items() if name != LAST_STAGE}
    return hashlib.sha256(json.dumps(stages, sort_keys=True).encode()).hexdigest()


def _scores(name: str, found: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """One model's mean with its interval and the counts beside it; the rest of its statistics is in the file."""
    names = {"mean": "score_mean", "scored": "n_scored", "invalid": "n_invalid", "failed": "n_failed"}
    for field, shown in names.items():
        yield from _numbers(f"{name}/{shown}", found[field])
    yield from _interval(f"{name}/ci95", found["interval"])


def _calibrated(found: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The means as better scores put them right; what the judge agrees in with these is in the file."""
    for model, name in (("tuned", "judge"), ("base", "judge_base")):
        one = (found["means"] or {}).get(model)
        if one is not None and one["calibrated"] is not None:
            yield from _numbers(f"{name}/calibrated_mean", one["calibrated"])
            yield from _interval(f"{name}/calibrated_ci95", one["interval"])


def _pairwise(found: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """What came of the answers side by side."""
    for name in ("wins", "ties", "losses", "invalid", "failed"):
        yield from _numbers(f"judge_pairwise/n_{name}", found[name])
    for name in ("consistency", "first_position_share"):
        yield from _numbers(f"judge_pairwise/{name}", found[name])
    rate, controlled = found["win_rate"], found["length_controlled"]
    for name, value, ends in (("win_rate", rate["mean"], rate), ("lc_win_rate", controlled["win_rate"], controlled)):
        yield from _numbers(f"judge_pairwise/{name}", value)
        yield from _interval(f"judge_pairwise/{name}_ci95", ends["interval"])


def _interval(name: str, found: dict[str, Any]) -> Iterator[tuple[str, float]]:
    yield from _numbers(f"{name}_low", found["low"])
    yield from _numbers(f"{name}_high", found["high"])


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """The numbers in a tree by name."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(f"{name}/{key}", item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        # The characters that MLflow takes in a name.
        yield re.sub(r"[^\w\-. :/]", "_", name), float(value)


def _missing_points(mlflow: MlflowClient, run_id: str, root: Path) -> Iterator[tuple[str, float, int]]:
    """The points of history.jsonl that were not logged live: all of them when DVC restored the training."""
    if not (root / HISTORY).exists():
        return
    rows = [row for _, row in read_jsonl(root / HISTORY, made_by="dvc repro finetune")]
    for field, name in CURVES.items():
        logged = {point.step for point in mlflow.get_metric_history(run_id, name)}
        for row in rows:
            if row.get(field) is not None and row["step"] not in logged:
                yield name, float(row[field]), int(row["step"])


def _log_lock(mlflow: MlflowClient, run_id: str, root: Path, tags: dict[str, str], *, lock_is_final: bool) -> None:
    path = root / "dvc.lock"
    if not path.exists():
        return
    yaml = YAML()
    lock = yaml.load(path.read_text(encoding="utf-8"))
    tags["dvc.lock.sha256"] = lineage(lock)
    if lock_is_final:
        mlflow.log_artifact(run_id, str(path))
        return
    # What the file says of the last stage is from an earlier run.
    lock.get("stages", {}).pop(LAST_STAGE, None)
    text = io.StringIO()
    yaml.dump(lock, text)
    mlflow.log_text(run_id, text.getvalue(), "dvc.lock")


def _log_answers(mlflow: MlflowClient, run_id: str, root: Path) -> bool:
    """Log the answers beside instruction, reference and scores, in the format of MLflow's tables."""
    test = root / split_file("test")
    if not all(file.exists() for file in (test, root / RESPONSES, root / VERDICTS)):
        return False
    responses = read_records(root / RESPONSES, Response, made_by="dvc repro generate")
    texts: dict[tuple[str, str], str] = {(row.id, row.model): row.text for row in responses}
    judged = read_records(root / VERDICTS, Verdict, made_by="dvc repro judge")
    verdicts: dict[tuple[str, str], Verdict] = {(row.id, row.model): row for row in judged}
    models = [model for model in ("base", "tuned") if any(key[1] == model for key in texts)]
    columns = ["id", "category", "instruction", "input", "reference"]
    columns += [name for model in models for name in (model, f"{model}_score", f"{model}_verdict")]
    rows: list[list[Any]] = []
    for example in read_records(test, Example, made_by="dvc repro split"):
        row: list[Any] = [example.id, example.category, example.instruction, example.input, example.output]
        for model in models:
            verdict = verdicts.get((example.id, model))
            row += [texts.get((example.id, model))]
            row += [verdict.score, verdict.status] if verdict else [None, None]
        rows.append(row)
    if len(rows) > ANSWERS_ROWS:
        say(f"tracking: {ANSWERS} has the first {ANSWERS_ROWS} of {len(rows)} answers")
    mlflow.log_dict(run_id, {"columns": columns, "data": rows[:ANSWERS_ROWS]}, ANSWERS)
    return True


def _judge(root: Path) -> dict[str, str]:
    """Who judged, as tags: scores of two judges are comparable only if these are equal."""
    if not (root / JUDGE_METRICS).exists():
        return {}
    found = read_json(root / JUDGE_METRICS, made_by=f"dvc repro {LAST_STAGE}")
    tags = {f"judge.{name}": str(value) for name, value in found["judge"].items()}
    if "pairwise" in found:
        tags["judge.pairwise.fingerprint"] = str(found["pairwise"]["judge"]["fingerprint"])
    return tags


def _note(metrics: dict[str, float]) -> str:
    """The scores in a line, for the head of the run's page."""
    parts = []
    for name, label in (("judge_base", "base"), ("judge", "tuned")):
        if (mean := metrics.get(f"{name}/score_mean")) is not None:
            low, high = metrics.get(f"{name}/ci95_low"), metrics.get(f"{name}/ci95_high")
            interval = "" if low is None or high is None else f" (95 % interval {low:.1f} to {high:.1f})"
            parts.append(f"{label} {mean:.1f}{interval}")
    return f"Score: {', '.join(parts)}" if parts else ""
