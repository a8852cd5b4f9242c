"""Mirrors the files of the stages into an MLflow run. Mirroring them a second time changes nothing."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from stages.common import paths
from stages.common.errors import DataError
from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.metrics.generate import GenerateMetrics
from stages.common.metrics.judge import JudgeMetrics
from stages.common.records import Metrics, read_metrics, read_records
from stages.common.results.download import LEFT_OUT
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY, StepRecord
from stages.common.results.generate import GENERATE_METRICS, RESPONSES
from stages.common.results.judge import JUDGE_METRICS, PAIRWISE, SCORES_PLOT, VERDICTS
from stages.common.results.split import GATE_PAGE, GATE_REPORT, SPLIT_METRICS, split_file
from stages.common.results.tokenize import TOKENS_METRICS, TOKENS_PAGE
from stages.params import reading, whole
from stages.running import costs, curves, lock, report
from stages.running.console import say
from stages.running.stage_results import RESULTS
from stages.running.tracking import (
    answers_table,
    datasets,
    description,
    metric_names,
    mlflow_experiment,
    published,
    store,
)
from stages.running.tracking.answers_table import ANSWERS, MOST_ROWS

if TYPE_CHECKING:
    from mlflow import MlflowClient

M = TypeVar("M", bound=Metrics)

#: Files kept in the run, and the folder of each there. Weights stay with DVC.
FILES: Sequence[tuple[Path, str | None]] = (
    (paths.PARAMS, None),  # the first
    (Path("dvc.yaml"), None),
    (LEFT_OUT, "download"),
    (SPLIT_METRICS, "split"),
    (GATE_REPORT, "split"),
    (GATE_PAGE, "split"),
    (TOKENS_METRICS, "tokenize"),
    (TOKENS_PAGE, "tokenize"),
    (FINETUNE_METRICS, "finetune"),
    (HISTORY, "finetune"),
    (GENERATE_METRICS, "generate"),
    (JUDGE_METRICS, "judge"),
    (VERDICTS, "judge"),
    (SCORES_PLOT, "judge"),
)
#: The picture of the losses: drawn for the run from history.jsonl, so that no result of a stage depends on its looks.
LOSS_PLOT = "finetune/loss.png"


def publish(
    mlflow: MlflowClient,
    run_id: str,
    ran: Collection[str],
    root: Path,
    *,
    lock_is_final: bool,
    compared: Sequence[str] = (),
    reports: Sequence[Callable[[], object]] = (),
    made_here: bool = False,
) -> None:
    """Mirror the files under ``root``. A file that is not what it should be is told in one line, and left out.

    Args:
        mlflow: the client.
        run_id: id of the run.
        ran: stages that ran in this execution. The others are tagged as cached if their files are there.
        root: folder with params.yaml, dvc.lock and artifacts/.
        lock_is_final: whether DVC has written the last stage's entry in dvc.lock. Under plain `dvc repro` it does so
            only after that stage, which publishes, has ended.
        compared: what comparisons with other runs have found, a line each, for the description.
        reports: functions that wait until a report is made. They are called late: meanwhile all else is sent.
        made_here: whether this execution has made the results, and in the project's folder (`published.keep`).
    """
    mlflow_experiment.restore(mlflow, run_id)
    run = mlflow.get_run(run_id)
    there = run.data
    values = reading.flatten(whole.load(root / paths.PARAMS).model_dump())
    same = store.log_params(mlflow, run_id, values, there.params)
    trained = _metrics(root, FINETUNE_METRICS, FinetuneMetrics, "finetune")
    answered = _metrics(root, GENERATE_METRICS, GenerateMetrics, "generate")
    judged = _metrics(root, JUDGE_METRICS, JudgeMetrics, "judge")
    tags = _stage_tags(ran, root, there.tags) | (judge_tags(judged) if judged else {})
    history = _history(root)
    points = [*_new(metric_names.of_run(trained, answered, judged), there.metrics)]
    points += _missing_points(mlflow, run_id, history)
    now = time.time_ns() // 1_000_000
    store.log_metrics(mlflow, run_id, [(name, value, now, step) for name, value, step in points])
    _log_lock(mlflow, run_id, root, tags, lock_is_final=lock_is_final)
    if note := description.of_results(there.tags | tags, trained, judged, compared):
        tags[description.NOTE] = note
    if _log_answers(mlflow, run_id, root):
        # By this tag MLflow's page finds tables; its own log_table would append the rows a second time.
        tags["mlflow.loggedArtifacts"] = json.dumps([{"path": ANSWERS, "type": "table"}])
    datasets.log(mlflow, run_id, root)
    store.set_tags(mlflow, run_id, tags)
    # A params.yaml that was edited after the stages had read it is not this run's.
    _log_files(mlflow, run_id, root, FILES if same else FILES[1:])
    _log_costs(mlflow, run_id, root)
    if history:
        mlflow.log_figure(run_id, curves.figure(history), LOSS_PLOT)
    if judged and judged.pairwise and (root / PAIRWISE).exists():
        mlflow.log_artifact(run_id, str(root / PAIRWISE), "judge")
    _log_report(mlflow, run_id, root, reports)
    # Last: a run with this tag holds all of it.
    mlflow.set_tag(run_id, published.TAG, published.digest(root))
    with contextlib.suppress(OSError):  # a note for the summary; the run is there without it
        name, experiment = str(run.info.run_name or ""), str(run.info.experiment_id)
        published.keep(root, run_id, name, experiment, made_here=made_here or not _noted_run_stands(mlflow, root))


def _noted_run_stands(mlflow: MlflowClient, root: Path) -> bool:
    """Whether the run that is noted for these results is there: a server's may have been deleted meanwhile."""
    from mlflow.exceptions import MlflowException

    if (noted := published.kept(root)) is None:
        return False
    try:
        return bool(mlflow.get_run(noted.run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        return bool(error.error_code != "RESOURCE_DOES_NOT_EXIST")  # a server that cannot tell now changes no note


def _new(metrics: Mapping[str, float], there: Mapping[str, float]) -> Iterator[tuple[str, float, int]]:
    """Metrics that a run does not have, or has with another value, each with step 0."""
    yield from ((name, value, 0) for name, value in metrics.items() if there.get(name) != value)


def _log_report(mlflow: MlflowClient, run_id: str, root: Path, reports: Sequence[Callable[[], object]]) -> None:
    """Wait until the report is made, and keep it, if it is that of these results."""
    for made in reports:
        made()
    if report.is_current(root):
        mlflow.log_artifact(run_id, str(root / report.REPORT))


def every_result() -> list[Path]:
    """The results of stages that a run in MLflow is made of."""
    files = {file for file, _ in FILES if file.is_relative_to(paths.ARTIFACTS)}
    return sorted(files | {split_file("test"), RESPONSES, PAIRWISE})


def results(root: Path) -> list[Path]:
    """Those of `every_result` that are under ``root``, relative to it."""
    return [file for file in every_result() if (root / file).exists()]


def _metrics(root: Path, path: Path, kind: type[M], stage: str) -> M | None:
    """A stage's metrics; None where the file is missing, or, which is said, not what it should be."""
    if not (root / path).exists():
        return None
    try:
        return read_metrics(root / path, kind, made_by=f"dvc repro {stage}")
    except DataError as error:
        _say_left_out(error)
        return None


def _say_left_out(error: DataError) -> None:
    """Say in one line that a file is not what it should be, as one of an earlier version is not."""
    say(f"tracking: left out of the run: {error.what}; to make it again: {error.fix}")


def _stage_tags(ran: Collection[str], root: Path, there: Collection[str]) -> dict[str, str]:
    tags = {}
    for name, file in RESULTS.items():
        if name in ran:
            tags[f"stage.{name}"] = "ran"
        elif (root / file).exists() and f"stage.{name}" not in there:
            tags[f"stage.{name}"] = "cached"
    return tags


def _history(root: Path) -> list[StepRecord]:
    """The steps of the training; none where the file is missing, or, which is said, not what it should be."""
    if not (root / HISTORY).exists():
        return []
    try:
        return list(read_records(root / HISTORY, StepRecord, made_by="dvc repro finetune"))
    except DataError as error:
        _say_left_out(error)
        return []


def _missing_points(
    mlflow: MlflowClient, run_id: str, history: Sequence[StepRecord]
) -> Iterator[tuple[str, float, int]]:
    """The points of the curves that were not logged live: all of them when DVC restored the training."""
    logged: dict[str, set[int]] = {}
    for row in history:
        for name, value in metric_names.of_step(row).items():
            if name not in logged:
                logged[name] = {point.step for point in mlflow.get_metric_history(run_id, name)}
            if row.step not in logged[name]:
                yield name, value, row.step


def _log_files(mlflow: MlflowClient, run_id: str, root: Path, files: Sequence[tuple[Path, str | None]] = FILES) -> None:
    for file, folder in files:
        if (root / file).exists():
            mlflow.log_artifact(run_id, str(root / file), folder)
    if missing := [str(file) for file, _ in files if not (root / file).exists()]:
        say(f"tracking: not in the run, as they are not there: {', '.join(missing)}")


def _log_lock(mlflow: MlflowClient, run_id: str, root: Path, tags: dict[str, str], *, lock_is_final: bool) -> None:
    path = root / lock.LOCK
    if not path.exists():
        return
    tags["dvc.lock.sha256"] = published.lineage(lock.read(root))
    if lock_is_final:
        mlflow.log_artifact(run_id, str(path))
        return
    # The file's entry of the last stage is of an earlier run.
    mlflow.log_text(run_id, lock.text_without(root, published.LAST_STAGE), str(lock.LOCK))


def _log_answers(mlflow: MlflowClient, run_id: str, root: Path) -> bool:
    """Log the answers beside instruction, reference and scores, in the format of MLflow's tables."""
    try:
        table = answers_table.made(root)
    except DataError as error:
        _say_left_out(error)
        return False
    if table is None:
        return False
    kept, rows = answers_table.sample(table), len(table["data"])
    if rows > len(kept["data"]):
        say(f"tracking: {ANSWERS} has {MOST_ROWS:,} of {rows:,} rows, drawn by a hash of their ids")
    mlflow.log_dict(run_id, kept, ANSWERS)
    return True


def _log_costs(mlflow: MlflowClient, run_id: str, root: Path) -> None:
    """Log the ledgers of what the results have cost, as far as these were made in this folder; they are no result."""
    for path, of_these, folder in _LEDGERS:
        with contextlib.suppress(DataError, OSError):
            if of_these(root) is not None:
                mlflow.log_artifact(run_id, str(root / path), folder)


#: The ledgers, what reads one if it is of the results that are there, and their folders in the run.
_LEDGERS: Sequence[tuple[Path, Callable[[Path], object], str]] = (
    (costs.TRAINING_COSTS, costs.of_training, "finetune"),
    (costs.JUDGING_COSTS, costs.of_judging, "judge"),
)


def judge_tags(found: JudgeMetrics) -> dict[str, str]:
    """Who judged, as tags: scores of two judges are comparable only if these are equal."""
    tags = {f"judge.{name}": str(value) for name, value in found.judge.model_dump().items()}
    if found.pairwise:
        tags["judge.pairwise.fingerprint"] = found.pairwise.judge.fingerprint
        if found.pairwise.judge.mark:
            tags["judge.pairwise.self_test"] = found.pairwise.judge.mark
    if found.panel:
        judges = zip(found.panel.names, [found.judge, *found.panel.judges], strict=True)
        tags["judge.panel"] = "; ".join(judge.marked(f"{name} {judge.fingerprint}") for name, judge in judges)
    return tags
