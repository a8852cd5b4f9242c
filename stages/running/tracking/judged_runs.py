"""The runs of MLflow that a judge has scored: their values, and their files when they are asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from stages.running.tracking import database, listing, lookup, mlflow_access, mlflow_experiment, published

#: Runs that are looked at, the newest first.
_MOST = 500
#: Seconds that a server may take to answer.
_SECONDS = 10.0


@dataclass(frozen=True)
class Judged:
    """A finished run with scores.

    Args:
        run_id: its id.
        name: its name.
        values: its values of params.yaml, as a tree.
        folder: folder of its files, where that is on this machine.
        results: digest of its results (`published.digest`); empty where it has none.
    """

    run_id: str
    name: str
    values: dict[str, Any]
    folder: Path | None
    results: str

    def files(self, root: Path, names: Sequence[str], folder: Path) -> list[Path] | None:
        """Some of its files, which are fetched into ``folder`` from a server; None where one of them is not there."""
        if self.folder is not None:
            there = [self.folder / name for name in names]
            return there if all(path.is_file() for path in there) else None
        with contextlib.suppress(Exception):
            mlflow_access.load()
            return mlflow_access.bounded(lambda: lookup.download(root, self.run_id, names, folder), _SECONDS)
        return None


def known(root: Path, judge: str) -> list[Judged]:
    """As `judged`; none where MLflow does not tell."""
    try:
        return judged(root, judge)
    except Exception:
        return []  # what is known of other runs is a courtesy


def judged(root: Path, judge: str) -> list[Judged]:
    """The finished runs of this project that a judge has scored, of all profiles, the newest first.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        judge: fingerprint of the judge.
    """
    where = mlflow_access.uri(root)
    if (path := database.path_of(where)) is not None:
        found = database.judged(path, f"{mlflow_experiment.PROJECT}/%", judge, _MOST)
        return [
            Judged(run, name, listing.tree_of(params), _local(at), results) for run, name, at, results, params in found
        ]
    mlflow_access.load()
    return mlflow_access.bounded(lambda: _of_server(where, judge), _SECONDS)


def _of_server(where: str, judge: str) -> list[Judged]:
    if "'" in judge:  # MLflow's filters cannot express it
        return []
    mlflow = mlflow_access.client_of(where)
    ours = mlflow_experiment.ids_of_all(mlflow)
    if not ours:
        return []
    query = f"tags.`judge.fingerprint` = '{judge}' and attributes.status = 'FINISHED'"
    found = mlflow.search_runs(ours, query, max_results=_MOST, order_by=["attributes.start_time DESC"])
    return [_of(run) for run in found]


def _of(run: Any) -> Judged:
    results = str(run.data.tags.get(published.TAG, ""))
    return Judged(
        str(run.info.run_id), str(run.info.run_name), listing.tree_of(run.data.params), folder=None, results=results
    )


def _local(address: str) -> Path | None:
    """The folder of an address of files on this machine; None for another one, such as that of a bucket."""
    parts = urlsplit(address)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None
