"""Publishes results of an earlier execution: MLflow was down then, or its store was lost.

Only results that dvc.lock names are published, with the values that it names: files of a stage that failed, or values
that were changed since, would make a record of a run that never was.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.common import paths
from stages.common.errors import DataError, PipelineError, ServiceUnavailable
from stages.params import reading, whole
from stages.running import digests, inputs, lock
from stages.running.tracking import doors, mirror, mlflow_access, published, registry, store

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: The tags of a published run that say where its results were, and which of them were nowhere.
SOURCE, MISSING = "published.from", "published.missing"
#: Changed values that a message lists at most.
_MOST = 5


@dataclass(frozen=True)
class Late:
    """The run that holds the results.

    Args:
        name: its name.
        run_id: its id.
        is_new: whether it was created now.
    """

    name: str
    run_id: str
    is_new: bool


@dataclass(frozen=True)
class Provenance:
    """What is known of results that were gathered from elsewhere.

    Args:
        name: name of the run; empty for one with the time.
        started: when they were made, in milliseconds since 1970; None for now.
        tags: further tags, such as those of the commit that has their code.
        missing: results that dvc.lock names, and that were nowhere.
    """

    name: str = ""
    started: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[Path, ...] = ()


def publish(root: Path, source: str, provenance: Provenance | None = None) -> Late:
    """Mirror the results under ``root`` into their run, which is created if there is none.

    Doing it again changes nothing. A run that was published halfway is completed, and so is one whose results were not
    all found. Where MLflow has all of them already, fewer change nothing.

    Args:
        root: folder with params.yaml, dvc.lock and artifacts/.
        source: where the results are, for the run's tag.
        provenance: what is known of them, where they were gathered there; None for a folder in which they were made.

    Raises:
        ConfigError: params.yaml is not what it should be.
        DataError: there are no results, or they are not those of dvc.lock and params.yaml.
        ServiceUnavailable: MLflow does not take them.
    """
    try:
        return _published(root, source, provenance)
    except PipelineError:
        raise
    except Exception as error:
        fix = "see MLFLOW_TRACKING_URI; then python -m flows.publish"
        where = mlflow_access.shown_uri(root)
        raise ServiceUnavailable(f"MLflow at {where}: {mlflow_access.why(error)}", fix) from error


def _published(root: Path, source: str, provenance: Provenance | None) -> Late:
    whole.load(root / paths.PARAMS)
    tree = lock.read(root)
    missing = provenance.missing if provenance else ()
    _check_files(root, tree, missing)
    _check_values(root, tree)
    mlflow_access.load()
    client = mlflow_access.client(root)
    digest = published.digest(root)
    found = _with_results(client, root, digest) or _of_lineage(client, root, tree, missing)
    is_new = found is None
    if found is None:
        known = (store.git_tags(root) if _is_code_here(root, tree) else {}) if provenance is None else provenance.tags
        tags = {published.TAG: digest, SOURCE: source, **known}
        name, started = (provenance.name, provenance.started) if provenance else ("", None)
        run_id = store.create_from_files(client, root, tags, name, started)
    else:
        run_id = str(found.info.run_id)
        if missing and MISSING not in found.data.tags:
            return Late(str(found.info.run_name), run_id, is_new)
    mirror.publish(client, run_id, (), root, lock_is_final=True)
    registry.register(client, run_id, root, ("published",), newest=False)
    run = client.get_run(run_id)
    _tag_missing(client, run_id, run.data.tags, missing)
    if SOURCE in run.data.tags and run.info.status != "FINISHED":
        client.set_terminated(run_id, "FINISHED", provenance.started if provenance else None)
    return Late(str(run.info.run_name), run_id, is_new)


def _with_results(mlflow: MlflowClient, root: Path, digest: str) -> Any:
    """The run that is noted to have made these results in the folder, or else the newest one with them, if any.

    A run with other values, which change no result, may have the same ones.
    """
    found = store.all_by_tag(mlflow, root, published.TAG, digest)
    noted = published.kept(root)
    of_note = (run for run in found if noted is not None and run.info.run_id == noted.run_id)
    return next(of_note, found[0] if found else None)


def _of_lineage(mlflow: MlflowClient, root: Path, tree: Mapping[str, Any], missing: Collection[Path]) -> Any:
    """The newest run of these results where not all of them were found, at this time or at that one; None without one.

    Without the judge's files their digest is another one.
    """
    for run in store.all_by_tag(mlflow, root, store.LINEAGE, published.lineage(tree)):
        if doors.of(run.data.tags) != doors.RESCORED and (missing or MISSING in run.data.tags):
            return run
    return None


def _tag_missing(mlflow: MlflowClient, run_id: str, there: Mapping[str, str], missing: Collection[Path]) -> None:
    if missing:
        mlflow.set_tag(run_id, MISSING, " ".join(map(str, missing)))
    elif MISSING in there:
        mlflow.delete_tag(run_id, MISSING)


def _check_files(root: Path, tree: Mapping[str, Any], without: Collection[Path]) -> None:
    """Refuse results that are missing, but for those that are known to be, or that are not those dvc.lock names."""
    named = _named(tree, "outs")
    found = mirror.results(root)
    wanted = (path for path in mirror.every_result() if path not in without and str(path) in named)
    missing = [path for path in wanted if not (root / path).exists()]
    if missing:
        raise DataError(f"{missing[0]}: missing, and {lock.LOCK} names it", "dvc checkout")
    if not found:
        raise DataError(f"{root}: no results to publish", "dvc repro")
    for path in found:
        if str(path) not in named:
            what = f"{path}: {lock.LOCK} does not name it: the stage that wrote it has not succeeded"
            raise DataError(what, "dvc repro, and what it says where it fails again; then python -m flows.publish")
        if (md5 := digests.md5(root / path)) != named[str(path)]:
            what = f"{path}: expected the MD5 in {lock.LOCK}, {named[str(path)]}, found {md5}"
            raise DataError(what, "dvc checkout --force for the file of dvc.lock, or dvc repro for a new run")


def _check_values(root: Path, tree: Mapping[str, Any]) -> None:
    """Refuse a params.yaml with other values than those that the results were made with."""
    made: dict[str, Any] = {}
    for entry in _stages(tree):
        made |= (entry.get("params") or {}).get(str(paths.PARAMS)) or {}
    now = reading.flatten(reading.read_values(root / paths.PARAMS))
    of_results = inputs.chosen(now, made)
    if changed := inputs.value_changes(reading.flatten(made), of_results, "when these results were made"):
        more = [f"and {len(changed) - _MOST} more"] if len(changed) > _MOST else []
        what = "; ".join([f"{paths.PARAMS}: {changed[0]}", *changed[1:_MOST], *more])
        raise DataError(what, "put the values back, or dvc repro; then python -m flows.publish")


def _is_code_here(root: Path, tree: Mapping[str, Any]) -> bool:
    """Whether the code under ``root`` is that which made the results, so that its commit may be named as theirs."""
    named = {path: md5 for path, md5 in _named(tree, "deps").items() if path.startswith("stages/")}
    return bool(named) and all(
        (root / path).is_file() and digests.md5(root / path) == md5 for path, md5 in named.items()
    )


def _named(tree: Mapping[str, Any], kind: str) -> dict[str, str]:
    """The MD5 that dvc.lock has of each output, or of each dependency."""
    entries = (one for stage in _stages(tree) for one in stage.get(kind) or [])
    return {str(one["path"]): str(one["md5"]) for one in entries if "path" in one and "md5" in one}


def _stages(tree: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [entry for entry in (tree.get("stages") or {}).values() if isinstance(entry, Mapping)]
