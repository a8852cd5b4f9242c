"""The servers that `make ui` has started in this folder, in a file: a run uses them and starts no second one.

Two Prefect servers on one database lock each other out. The file names the process that runs them, so that the file of
one that was killed counts for nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from flows import prefect_server
from stages.common.files import atomic_file
from stages.running.tracking import execution, started_pages

#: Where MLflow's pages are once `make ui` has started them.
_MLFLOW = "http://127.0.0.1:5000"
#: Settings of Prefect's database. A server with other ones is no server of this run.
_DATABASE = ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL")


@contextlib.contextmanager
def kept(prefect: str, mlflow: str | None) -> Iterator[None]:
    """Keep the addresses in the file for the length of the block.

    Args:
        prefect: address of the Prefect server.
        mlflow: address of MLflow's pages; None where this process has not started them.
    """
    with atomic_file(_path()) as stream:
        known = {"process": execution.identity(), "prefect": prefect, "mlflow": mlflow, "database": _database()}
        stream.write(json.dumps(known))
    try:
        yield
    finally:
        if _read().get("process") == execution.identity():
            _path().unlink(missing_ok=True)


def prefect_address() -> str | None:
    """The address of the Prefect server of `make ui`; None where another is configured, or none answers."""
    if prefect_server.configured():
        return None
    address = _read().get("prefect")
    return address if address and prefect_server.answers(f"{address}/api") else None


def environment() -> dict[str, str]:
    """The environment variables by which a flow uses the Prefect server of `make ui`, if there is one."""
    address = prefect_address()
    return {} if address is None else {"PREFECT_API_URL": f"{address}/api"}


def mlflow_address() -> str:
    """The address of MLflow's pages of `make ui`; where they are not started, the one that they get by default."""
    return _read().get("mlflow") or _MLFLOW


def _read() -> dict[str, str | None]:
    """What the file holds; nothing where it is missing, of a process that has ended, or of another database."""
    known = started_pages.read(_path())
    return known if known.get("database") == _database() else {}


def _path() -> Path:
    return started_pages.file_in(Path.cwd())


def _database() -> str:
    return next((os.environ[name] for name in _DATABASE if os.environ.get(name)), "")
