"""Whether MLflow can take runs: its database or server, whether it can be written, and the profile's experiment.

MLflow itself is not imported, which takes seconds: the database is read by SQL, a server is asked over HTTP.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from stages.common import paths, secrecy
from stages.common.errors import ConfigError, ServiceUnavailable
from stages.params import whole
from stages.running.checks.row import Row, ok, problem, warning
from stages.running.tracking import database, mlflow_access, mlflow_experiment

_SECONDS = 5.0
#: What MLflow logs in with, besides what the address holds.
_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_ELSEWHERE = "set MLFLOW_TRACKING_URI to another address"


def mlflow(root: Path) -> Iterator[Row]:
    """The store that MLFLOW_TRACKING_URI names, or mlflow.db."""
    try:
        experiment = mlflow_experiment.name_of(whole.load(root / paths.PARAMS).profile)
    except ConfigError:
        yield warning("MLflow", "not looked at, since params.yaml is wrong")
        return
    uri = mlflow_access.uri(root)
    if (path := database.path_of(uri)) is not None:
        yield from _file(path, experiment)
    elif uri.lower().startswith(("http://", "https://")):
        yield from _server(uri.rstrip("/"), experiment)
    else:
        yield ok("MLflow", f"{mlflow_access.shown_uri(root)}; not asked")


def _file(path: Path, experiment: str) -> Iterator[Row]:
    try:
        state = database.state(path)
        if state in ("missing", "empty"):
            yield ok("MLflow", f"{path}: made by the first run")
            return
        if state == "half made":
            found = f"{path}: left half made, without any run; MLflow does not work with it"
            yield warning("MLflow", found, f"rm {path}; the next run makes it again, as it would by itself")
            return
        if state == "newer":
            database.prepare(path)  # which refuses it
        database.require_writable(path)
        lifecycle = _lifecycle(path, experiment)
    except (sqlite3.Error, OSError) as error:
        fix = f"make it writable, move it away, or {_ELSEWHERE}"
        yield problem("MLflow", ServiceUnavailable(f"{path}: {error}", fix))
        return
    older = "; an older MLflow made it, and the next run brings it up to date" if state == "old" else ""
    yield ok("MLflow", f"{path}, which can be written{older}")
    if lifecycle is not None:
        yield _experiment(experiment, *lifecycle)


def _lifecycle(path: Path, experiment: str) -> tuple[str, str] | None:
    """The id and the stage of life of an experiment; None where it is yet to be made."""
    query = "SELECT experiment_id, lifecycle_stage FROM experiments WHERE name = ?"
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute(query, [experiment]).fetchone()
    return None if found is None else (str(found[0]), str(found[1]))


def _experiment(name: str, number: str, stage: str) -> Row:
    if stage == "active":
        return ok("MLflow experiment", f"{name} is active")
    fix = f"python -m flows mlflow experiments restore --experiment-id {number}"
    return warning("MLflow experiment", f"{name} is deleted: its runs are hidden, and the next run restores it", fix)


def _server(uri: str, experiment: str) -> Iterator[Row]:
    shown = mlflow_access.shown_uri()
    if secrecy.has_user(uri) or any(os.environ.get(name) for name in _SECRETS):
        fix = "set MLFLOW_TRACKING_URI to an https:// address"
        secrecy.require(uri, "MLflow's password or token", named_by="MLFLOW_TRACKING_URI", fix=fix)
    path = f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={urllib.parse.quote(experiment, safe='')}"
    try:
        with urllib.request.urlopen(_request(uri, path), timeout=_SECONDS) as answer:  # noqa: S310 - the user's own
            found = json.load(answer)["experiment"]
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            yield warning("MLflow", f"{shown} answers, and says no more without other credentials ({error.code})")
            return
        if error.code != 404:
            wrong = ServiceUnavailable(
                f"{shown}: answered {error.code} {error.reason}", f"see its log, or {_ELSEWHERE}"
            )
            yield problem("MLflow", wrong)
            return
        found = None
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "reason", error)
        fix = f"start it, or unset MLFLOW_TRACKING_URI to record runs in mlflow.db; or {_ELSEWHERE}"
        yield problem("MLflow", ServiceUnavailable(f"{shown} does not answer: {reason}", fix))
        return
    yield ok("MLflow", f"{shown} answers")
    if found is not None:
        yield _experiment(experiment, str(found["experiment_id"]), str(found["lifecycle_stage"]))


def _request(uri: str, path: str) -> urllib.request.Request:
    """A request to a server whose address may hold a user's name and password."""
    parts = urllib.parse.urlsplit(uri)
    user, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(parts._replace(netloc=host).geturl() + path)  # noqa: S310 - http or https
    if user:
        told = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {told}")
    return request
