"""Runs of MLflow's store as they are looked up from outside: by name, by a filter, by the run that they belong to."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.common import paths
from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.printable import printable
from stages.params import whole
from stages.running.tracking import listing, mlflow_access, mlflow_experiment, names, published, store

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Children of a run that are looked up, the newest first.
_MOST_CHILDREN = 1000
#: The fewest characters of a name or an id that stand for the whole, as in git; and runs that such a text is looked for
#: among, the newest first.
_LEAST = 4
_MOST_NAMES = 1000
#: Runs that are named where several fit.
_MOST_SHOWN = 5


def download(
    root: Path, name: str, files: Sequence[str], folder: Path, *, optional: Sequence[str] = ()
) -> list[Path] | None:
    """Fetch files of a run.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        name: id or name of the run.
        files: paths of the files in the run.
        folder: folder to put them into.
        optional: paths of further files, which the run may lack.

    Returns:
        Their paths, in the order of ``files``, and then of the further ones that are there; None if there is no such
        run.

    Raises:
        ConfigError: the run lacks one of them; of one that has not finished the message says why.
        ServiceUnavailable: MLflow cannot be asked.
    """
    if not _exists(root):
        return None
    with asked(root):
        mlflow = mlflow_access.client(root)
        run_id = _named(mlflow, name)
        if run_id is None:
            return None
        folders = {str(Path(file).parent).removeprefix(".") for file in (*files, *optional)}
        there = {file.path for parent in sorted(folders) for file in mlflow.list_artifacts(run_id, parent or None)}
        if missing := [file for file in files if file not in there]:
            what = f"MLflow run {name}: {_unfinished(mlflow, run_id)}it does not hold {', '.join(missing)}"
            raise ConfigError(what, "name another run: make runs lists them")
        wanted = [*files, *(file for file in optional if file in there)]
        return [Path(mlflow.download_artifacts(run_id, file, str(folder))) for file in wanted]


def _unfinished(mlflow: MlflowClient, run_id: str) -> str:
    """How a run ended, and why, before what it lacks; empty for one that has finished."""
    found = mlflow.get_run(run_id)
    if (state := found.info.status) == "FINISHED":
        return ""
    why = printable(found.data.tags.get(store.ENDED, ""))
    told = {"FAILED": "it failed", "KILLED": "it was stopped before its end"}.get(state, "it has not ended yet")
    return f"{told}{f' ({why})' if why and why != state else ''}, and "


def require_name(name: str) -> None:
    """Refuse an empty name of a run, as of a variable that is not set: as a path it would mean this folder.

    Raises:
        ConfigError: the name is empty, or white space alone.
    """
    if not name.strip():
        raise ConfigError("an empty name: expected a run, found nothing", "make runs shows the runs that there are")


def full_name(root: Path, name: str) -> str | None:
    """The whole name or id of a run that is given by it, or by its beginning of at least four characters.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        name: id or name of the run, or the beginning of one, such as `make runs` shows with "…" behind it.

    Returns:
        ``name`` itself where it is whole; None if there is no such run.

    Raises:
        ConfigError: several names or ids begin so; the message has them.
        ServiceUnavailable: MLflow cannot be asked.
    """
    name = name.removesuffix("…")
    if not _exists(root):
        return None
    with asked(root):
        mlflow = mlflow_access.client(root)
        return name if _named(mlflow, name) is not None else _completed(mlflow, name)


def did_you_mean(root: Path, name: str, others: Sequence[str] = ()) -> str:
    """What a message on a name that no run has may end with: ``; did you mean calm-otter?``, or nothing.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        name: the name.
        others: names of what else may have been meant, besides this project's runs.

    Raises:
        ServiceUnavailable: MLflow cannot be asked.
    """
    known = list(others)
    if _exists(root):
        with asked(root):
            mlflow = mlflow_access.client(root)
            ours = mlflow_experiment.ids_of_all(mlflow)
            order = ["attributes.start_time DESC"]
            found = mlflow.search_runs(ours, max_results=_MOST_NAMES, order_by=order) if ours else []
            for run in found:
                known += [names.short_of(str(run.info.run_name)), str(run.info.run_name)]
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def id_of(root: Path, name: str) -> str | None:
    """The id of a run; of several with the name that of the newest. None if there is no such run.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        name: id or name of the run.

    Raises:
        ServiceUnavailable: MLflow cannot be asked.
    """
    if not _exists(root):
        return None
    with asked(root):
        return _named(mlflow_access.client(root), name)


def run(root: Path, name: str) -> listing.Run | None:
    """A run with its values, figures and tags; None if there is no such run.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        name: id or name of the run.

    Raises:
        ServiceUnavailable: MLflow cannot be asked.
    """
    if not _exists(root):
        return None
    with asked(root):
        mlflow = mlflow_access.client(root)
        run_id = _named(mlflow, name)
        return None if run_id is None else listing.run_of(mlflow.get_run(run_id))


def search(root: Path, query: str, *, most: int) -> list[tuple[str, str]]:
    """The ids and names of the finished runs of this project that a filter of MLflow selects, the newest first.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        query: the filter, such as ``params.`finetune.epochs` = '3'``; empty for all runs.
        most: the largest number of runs.

    Raises:
        ConfigError: MLflow does not take the filter.
        ServiceUnavailable: MLflow cannot be asked.
    """
    if not _exists(root):
        return []
    with asked(root):
        from mlflow.exceptions import MlflowException

        mlflow = mlflow_access.client(root)
        ours = mlflow_experiment.ids_of_all(mlflow)
        if not ours:
            return []
        finished_ones = " and ".join(filter(None, [query, "attributes.status = 'FINISHED'"]))
        order = ["attributes.start_time DESC"]
        try:
            found = mlflow.search_runs(ours, finished_ones, max_results=most, order_by=order)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            fix = "such as params.`finetune.epochs` = '3' and tags.profile = 'quick'"
            raise ConfigError(f"{query}: MLflow does not take the filter: {mlflow_access.why(error)}", fix) from None
        return [(str(run.info.run_id), str(run.info.run_name)) for run in found]


def children(root: Path, name: str) -> list[tuple[str, str]]:
    """The ids and names of the finished runs that belong to a run, such as the trainings of `make seeds`.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        name: id or name of the run that they belong to.

    Raises:
        ServiceUnavailable: MLflow cannot be asked.
    """
    if not _exists(root):
        return []
    with asked(root):
        run_id = _named(mlflow_access.client(root), name)
        return [] if run_id is None else search(root, f"tags.`{store.PARENT}` = '{run_id}'", most=_MOST_CHILDREN)


def finished(root: Path, *, most: int) -> list[tuple[str, str, str]]:
    """The runs of the profile under ``root`` that have finished, the newest first.

    Args:
        root: folder with params.yaml, and with mlflow.db unless MLFLOW_TRACKING_URI is set.
        most: the largest number of runs.

    Returns:
        Of each its id, its name, and the digest of its results (`published.digest`), which is empty where it is not
        known.

    Raises:
        ServiceUnavailable: MLflow cannot be asked.
    """
    if not _exists(root):
        return []
    with asked(root):
        mlflow = mlflow_access.client(root)
        named = mlflow.get_experiment_by_name(mlflow_experiment.name_of(whole.load(root / paths.PARAMS).profile))
        if named is None:
            return []
        query, order = "attributes.status = 'FINISHED'", ["attributes.start_time DESC"]
        found = mlflow.search_runs([named.experiment_id], query, max_results=most, order_by=order)
        return [(str(run.info.run_id), str(run.info.run_name), run.data.tags.get(published.TAG, "")) for run in found]


def _exists(root: Path) -> bool:
    """Whether there is a store, as far as that is known without asking a server."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI")) or (root / "mlflow.db").exists()


@contextlib.contextmanager
def asked(root: Path) -> Iterator[None]:
    """Turn the errors of MLflow within the block into ours."""
    mlflow_access.load()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError, sqlite3.Error) as error:
        raise ServiceUnavailable(
            f"MLflow at {mlflow_access.shown_uri(root)}: {mlflow_access.why(error)}", "see MLFLOW_TRACKING_URI"
        ) from error


def _named(mlflow: MlflowClient, name: str) -> str | None:
    """The id of the run with this id, name or short name, and of several with the name that of the newest."""
    if "'" in name:  # MLflow's filters cannot express it
        return None
    field = "run_id" if re.fullmatch(r"[0-9a-f]{32}", name) else "run_name"
    experiments = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    order = ["attributes.start_time DESC"]
    found = mlflow.search_runs(experiments, f"attributes.{field} = '{name}'", max_results=1, order_by=order)
    if found:
        return str(found[0].info.run_id)
    short = f"attributes.run_name LIKE '%({name})'"
    for run in mlflow.search_runs(experiments, short, max_results=_MOST_NAMES, order_by=order):
        if names.short_of(str(run.info.run_name)) == name:  # in LIKE "_" is any character
            return str(run.info.run_id)
    return None


def _completed(mlflow: MlflowClient, beginning: str) -> str | None:
    """The name, the short name or the id that begins so; None without one.

    A run that others belong to, such as that of `make seeds`, goes before these, whose names begin with its name.

    Raises:
        ConfigError: several names or ids begin so.
    """
    if len(beginning) < _LEAST or "'" in beginning:
        return None
    experiments = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    order = ["attributes.start_time DESC"]
    found: dict[str, str] = {}
    parents: dict[str, str | None] = {}
    for field, before in (("run_name", ""), ("run_name", "%("), ("run_id", "")):
        query = f"attributes.{field} LIKE '{before}{beginning}%'"
        for run in mlflow.search_runs(experiments, query, max_results=_MOST_NAMES, order_by=order):
            text = str(getattr(run.info, field))
            text = names.short_of(text) if before else text
            if text.startswith(beginning):  # in LIKE "_" is any character
                found.setdefault(str(run.info.run_id), text)
                parents[str(run.info.run_id)] = run.data.tags.get(store.PARENT)
    fitting = list(dict.fromkeys(text for run_id, text in found.items() if parents[run_id] not in found))
    if len(fitting) > 1:
        more = ", ..." if len(fitting) > _MOST_SHOWN else ""
        shown = f"{', '.join(fitting[:_MOST_SHOWN])}{more}"
        raise ConfigError(f"{beginning}: {len(fitting)} MLflow runs begin so: {shown}", "write more of the name")
    return fitting[0] if fitting else None
