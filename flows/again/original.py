"""What is to be made again: a run of MLflow, or the results that a commit names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.common import paths
from stages.common.errors import ConfigError, DataError
from stages.common.files import read_json
from stages.common.results.judge import JUDGE_FOLDER, JUDGE_METRICS, PAIRWISE, SCORES_PLOT, VERDICTS
from stages.params.differences import differences, shown
from stages.running import committed, digests, git, lock, made_on, temporary
from stages.running.tracking import doors, lookup, names
from stages.running.tracking.listing import Run
from stages.running.tracking.store import RESCORE_SOURCE

#: Results of the judge that MLflow keeps: under `dvc repro` the dvc.lock there is without the judge's entry.
_JUDGED = (VERDICTS, JUDGE_METRICS, PAIRWISE, SCORES_PLOT)
_LIST = "make runs lists the runs"
_COMMIT = "dvc repro, then git commit the dvc.lock that it writes"
#: Values that a message names at most.
_MOST = 6


@dataclass(frozen=True)
class Original:
    """Results that are to be made again.

    Attributes:
        name: name of the run, or the commit.
        commit: the commit that the run names; empty where it names none.
        lock: its stages by name, as in dvc.lock.
        outputs: MD5 of each output by path, for each stage.
        run_id: id of the run; empty for a commit.
        params: text of its params.yaml; empty where it is not kept.
        values: its values of params.yaml, as a tree.
        made_on: what it was made on (`stages.running.made_on.here`), as far as it is known.
        on_gpu: whether it used a GPU; None where that is not known.
        cached: stages whose results came from DVC's cache, or were up to date: what those were made on is not known.
        figures: its figures by their names in MLflow.
        door: how it was started, in words.
        dirty: whether files were changed when it began.
    """

    name: str
    commit: str
    lock: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, Mapping[Path, str]]
    run_id: str = ""
    params: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    made_on: Mapping[str, Any] = field(default_factory=dict)
    on_gpu: bool | None = None
    cached: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    door: str = ""
    dirty: bool = False


def of_run(root: Path, name: str) -> Original:
    """A run of MLflow.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        name: its id or name, or the beginning of either, of four characters or more.

    Raises:
        ConfigError: there is no such run, or several begin so, or it is a run that made no results of its own.
        DataError: it keeps no dvc.lock, so that nobody knows what it made.
        ServiceUnavailable: MLflow cannot be asked.
    """
    lookup.require_name(name)
    full = lookup.full_name(root, name)
    run = lookup.run(root, full) if full else None
    if run is None:
        raise ConfigError(f"{name}: no such MLflow run{lookup.did_you_mean(root, name)}", _LIST)
    _require_own_results(root, run)
    with temporary.folder() as folder:
        wanted = [str(lock.LOCK), str(paths.PARAMS), made_on.FILE, *(f"judge/{path.name}" for path in _JUDGED)]
        files = lookup.download(root, run.run_id, [], folder, optional=wanted) or ()
        there = {path.name: path for path in files}
        if str(lock.LOCK) not in there:
            raise _without_lock(root, run)
        stages = lock.entries_of(there[str(lock.LOCK)].read_text(encoding="utf-8"))
        outputs = _outputs(stages, name=run.name, fix=_LIST)
        if JUDGE_FOLDER.name not in outputs:
            kept = {path: there[path.name] for path in _JUDGED if path.name in there}
            if kept:
                outputs[JUDGE_FOLDER.name] = {path: digests.md5(file) for path, file in kept.items()}
        cached = tuple(stage for stage in outputs if run.tags.get(f"stage.{stage}") == "cached")
        # Of a run in which nothing ran, the file would name another machine than that of its results.
        machine = there.get(made_on.FILE) if set(cached) != set(outputs) else None
        environment = read_json(machine, made_by=_LIST) if machine else {} if cached else _of_tags(run)
        return Original(
            name=run.short_name,
            commit=run.commit,
            lock=stages,
            outputs=outputs,
            run_id=run.run_id,
            params=there[str(paths.PARAMS)].read_text(encoding="utf-8") if str(paths.PARAMS) in there else "",
            values=run.values,
            made_on=environment,
            on_gpu=_on_gpu(run, environment),
            cached=cached,
            figures=run.metrics,
            door=run.door,
            dirty=run.tags.get("git.dirty") == "true",
        )


def of_commit(root: Path, commit: str, figures: Mapping[str, float]) -> Original:
    """The results that the dvc.lock of a commit names.

    Args:
        root: folder in the repository.
        commit: the commit, as git takes it.
        figures: its figures by their names in MLflow, as far as they are known.

    Raises:
        ConfigError: there is no such commit.
        DataError: its dvc.lock names no results.
    """
    full = git.do(root, "rev-parse", "--verify", f"{commit}^{{commit}}", fix="git log --all shows the commits").strip()
    stages = lock.entries_of(committed.lock_of(root, full))
    if not stages:
        raise DataError(f"{commit}: its {lock.LOCK} names no results, or it has none", _COMMIT)
    name = commit if full.startswith(commit) else f"{commit} ({full[:7]})"
    return Original(name, full, stages, _outputs(stages, name=f"{name}: its {lock.LOCK}", fix=_COMMIT), figures=figures)


def _outputs(stages: Mapping[str, Any], *, name: str, fix: str) -> dict[str, dict[Path, str]]:
    """The MD5 of each output of each stage, checked as `stages.running.lock.outputs_in` does."""
    found = lock.all_outputs(stages, name=name, fix=fix)
    return {stage: {one.path: one.digest for one in outs} for stage, outs in found.items()}


def _require_own_results(root: Path, run: Run) -> None:
    """Refuse a run that is at work, or whose results are those of others.

    Raises:
        ConfigError: it is one.
    """
    if run.state == "running":
        raise ConfigError(f"{run.name}: it is at work", "wait until it has ended")
    if run.door == doors.RESCORED:
        source = run.tags.get(RESCORE_SOURCE, "RUN")
        raise ConfigError(
            f"{run.name}: it has scored the answers of {source} again, and made no others",
            f"python -m flows.rerun {source}; python -m stages.judge.rescore scores answers again",
        )
    if found := lookup.children(root, run.run_id):
        children = ", ".join(sorted(names.short_of(name) for _, name in found)[:_MOST])
        what = f"{run.short_name}: others belong to it, and it has no results of its own"
        raise ConfigError(what, f"name one of: {children}")


def options_of(root: Path, run: Run) -> str:
    """The options ``--set`` by which a program at a run's commit takes its values; empty where it has that commit's.

    Args:
        root: the repository.
        run: the run.
    """
    there = committed.values(root, run.commit) if run.commit else None
    changed = [f"{key}={shown(value)}" for key, _, value in differences(there, run.values)] if there else []
    return "".join(f" --set '{one}'" for one in changed[:_MOST])


def _without_lock(root: Path, run: Run) -> DataError:
    """The error of a run that did not get as far as to keep its dvc.lock."""
    return DataError(
        f"{run.short_name} is {run.state}, and keeps no {lock.LOCK}: its stages have not all succeeded, so that "
        "there is nothing to compare with",
        f"to run its values once more: python -m flows.run{options_of(root, run)}",
    )


def _on_gpu(run: Run, environment: Mapping[str, Any]) -> bool | None:
    """Whether a run used a GPU: by its tag, or because there was none. None where that is not known."""
    if "gpu.uuid" in run.tags:
        return True
    return False if environment.get("gpus") == 0 else None


def _of_tags(run: Run) -> dict[str, Any]:
    """What a run without `made_on.FILE` was made on, by its tags."""
    found: dict[str, Any] = {}
    if python := run.tags.get("env.python"):
        found["python"] = python
    return found
