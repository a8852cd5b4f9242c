"""The connection with MLflow's store: its address, its client, and what is said where it does not work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stages.common import reasons, secrecy
from stages.common.errors import PipelineError, ServiceUnavailable
from stages.running import proxies
from stages.running.console import say
from stages.running.tracking import database

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

#: Seconds that what belongs to no stage may take: the end of a run, a tag, a look at a page.
END_SECONDS = 20.0
#: Seconds that publishing the results of a run may take.
PUBLISH_SECONDS = 120.0

_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # MLflow's defaults are 120 seconds and seven attempts.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    # With the default level it reports every table that it creates.
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def uri(root: Path = Path()) -> str:
    """The address of the store: MLFLOW_TRACKING_URI, or else mlflow.db in ``root``.

    A sqlite file's path is absolute in it: a run with other values works in another folder.
    """
    return database.absolute(os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db", root)


def load() -> None:
    """Import mlflow in the calling thread: of imports in two threads one can meet a module that is not complete."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401


def client(root: Path) -> MlflowClient:
    """A client of the store that is used in a folder; errors as `client_of`."""
    return client_of(uri(root))


def client_of(where: str) -> MlflowClient:
    """A client of a store, whose database is made, or brought up to date, before.

    Args:
        where: address of the store.

    Raises:
        sqlite3.Error: the database cannot be used.
        OSError: it cannot be made.
        ConfigError: a password or token would go unencrypted to another machine.
    """
    from mlflow import MlflowClient

    _require_secrecy(where)
    if (path := database.path_of(where)) is not None:
        database.prepare(path)
    return MlflowClient(tracking_uri=where)


def _require_secrecy(where: str) -> None:
    """Refuse to send what MLflow logs in with where others can read it; arguments and errors as `secrecy.require`."""
    from mlflow.utils import credentials

    untyped: Any = credentials
    found = untyped.get_default_host_creds(where)
    if found.username or found.password or found.token or secrecy.has_user(where):
        fix = "set MLFLOW_TRACKING_URI to an https:// address"
        secrecy.require(where, "MLflow's password or token", named_by="MLFLOW_TRACKING_URI", fix=fix)


def prepare() -> None:
    """Make the store's database if it is a sqlite file that is not made yet, or bring it up to date.

    Raises:
        ConfigError: a newer MLflow has made it.
        ServiceUnavailable: the database cannot be used.
    """
    path = database.path_of(uri())
    if path is None:
        return
    try:
        if not database.is_finished(path):
            doing = (
                "bringing MLflow's database up to date" if database.state(path) == "old" else "making MLflow's database"
            )
            say(f"{doing}, {path}: it takes some seconds, once")
            load()
            database.prepare(path)
    except PipelineError:
        raise
    except Exception as error:
        fix = "set MLFLOW_TRACKING_URI to another address, or move the file away"
        raise ServiceUnavailable(f"MLflow's database {path}: {why(error)}", fix) from error


def bounded(action: Callable[[], T], seconds: float) -> T:
    """Run an action in a thread and wait for it.

    Args:
        action: what to run.
        seconds: longest wait.

    Raises:
        NoAnswer: the action takes longer. Its thread ends with the process.
    """
    outcome: list[T] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            outcome.append(action())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="tracking", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not outcome:
        raise reasons.NoAnswer(seconds)
    return outcome[0]


def safely(action: Callable[[], T], seconds: float) -> T | None:
    """The result of an action; None, with a line that says why, where MLflow does not do it in time.

    Args:
        action: what to run.
        seconds: longest wait.
    """
    try:
        load()
        return bounded(action, seconds)
    except Exception as error:
        warn(error)
        return None


def why(error: Exception) -> str:
    """Why MLflow does not work: one of our errors with its fix, or what the system or MLflow says; no password."""
    if not isinstance(error, PipelineError):
        return secrecy.hidden(reasons.reason(error))
    return secrecy.hidden(" ".join(str(error).replace("\n  to fix it:", "; to fix it:").split()))


def warn(error: Exception, tell: Callable[[str], object] = say) -> None:
    """Say in one line that tracking does not work.

    Args:
        error: why.
        tell: function that is given the line.
    """
    tell(f"tracking: MLflow at {shown_uri()}{_through()} does not work, going on without it: {why(error)}")


def _through() -> str:
    """The proxy that a server is asked through, for a message; a SOCKS proxy needs a package."""
    proxy = proxies.proxy_for(uri()) if uri().lower().startswith(("http://", "https://")) else None
    if proxy is None:
        return ""
    needs = ", which needs the package PySocks" if proxy.is_socks else ""
    return f" ({proxy}{needs}; to fix it: {proxy.fix})"


def shown_uri(root: Path = Path()) -> str:
    """`uri` without a password."""
    return secrecy.hidden(uri(root))
