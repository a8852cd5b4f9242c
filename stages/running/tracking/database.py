"""MLflow's sqlite database: made whole or not at all, and set aside where it was left half made.

MLflow makes its tables in a hundred steps, in the file itself and without a lock. A process that is killed in between,
or two that start at once, leave a file with which MLflow never works again: `table ... already exists`. Here one
process at a time makes the database under a temporary name, and renames it when it is finished.

The last thing that MLflow writes is its default experiment. A database without any experiment is therefore not
finished, and holds no run that could be lost.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from stages.common.files import sync_folder
from stages.common.locks import open_locked
from stages.running.console import say

#: Seconds to wait for a locked sqlite file.
BUSY_SECONDS = 5.0
#: An MLflow that makes tables writes to the file more often than this, in seconds, also on a busy machine.
_SETTLED_SECONDS = 8.0
_POLL_SECONDS = 0.2
#: Files that sqlite keeps beside a database; they belong to it by their names.
_COMPANIONS = ("-journal", "-wal", "-shm")

#: A file's address, such as ``sqlite:////home/me/mlflow.db``: after three slashes comes the path as it is.
_ADDRESS = re.compile(r"sqlite(\+\w+)?:///(?P<name>(?!file:)[^?]+)(\?.*)?", re.IGNORECASE)

_State = Literal["missing", "empty", "half made", "finished"]


def path_of(uri: str) -> Path | None:
    """The file of a sqlite address; None for another address, and for a database in memory."""
    found = _ADDRESS.fullmatch(uri)
    return None if found is None or found["name"] == ":memory:" else Path(found["name"])


def absolute(uri: str, root: Path) -> str:
    """An address whose path starts at ``root``, if it is that of a sqlite file, or a folder, and relative.

    Any other address is left as it is.
    """
    path = path_of(uri)
    if uri.startswith(("./", "../")):
        return str(root.resolve() / uri)
    if path is None or path.is_absolute():
        return uri
    return uri.replace(f":///{path}", f":///{root.resolve() / path}", 1)


def prepare(path: Path) -> None:
    """Make the database if there is none, and see that it can be written to.

    MLflow itself retries a broken or locked file for minutes before it says so.

    Args:
        path: file of the database. One that was left half made is set aside, which is said in one line.

    Raises:
        sqlite3.Error: the file is no database, or cannot be written to.
        OSError: the folder cannot be written to.
    """
    if _state(path) != "finished":
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            _finish(path)
    with contextlib.closing(_connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")


def is_finished(path: Path) -> bool:
    """Whether `prepare` has nothing to make. It does not need MLflow.

    Raises:
        sqlite3.Error: the file is no database, or is locked.
    """
    return _state(path) == "finished"


def holds(path: Path, run_id: str) -> bool:
    """Whether a run is in the database, and not deleted; False where the database cannot be read."""
    query = "SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'"
    try:
        with contextlib.closing(_connect(path)) as connection:
            return connection.execute(query, [run_id]).fetchone() is not None
    except sqlite3.Error:
        return False


def _finish(path: Path) -> None:
    """Make the database, unless another process has made it meanwhile."""
    while (state := _state(path)) not in ("missing", "finished") and not _is_settled(path):
        time.sleep(_POLL_SECONDS)  # an MLflow that was not started from here may be making it
    if state == "finished":
        return
    if state == "half made":
        kept = _set_aside(path)
        say(f"tracking: {path} was left half made, with no run in it: set aside as {kept.name}, and made again")
    _make(path)


def _make(path: Path) -> None:
    for left in path.parent.glob(f".{path.name}.*.making"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".making", dir=path.parent))
    try:
        new = folder / path.name
        _create_tables(new, artifacts=path.parent.resolve() / "mlruns")
        os.replace(new, path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _create_tables(path: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    made: Any = SqlAlchemyStore  # which has no types
    made(f"sqlite:///{path}", artifacts.as_uri()).engine.dispose()


def _set_aside(path: Path) -> Path:
    """Give the database another name, and return it."""
    name = f"{path.name}.half-made-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    for end in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{end}", path.with_name(name + end))
    return path.rename(path.with_name(name))


def _state(path: Path) -> _State:
    if not path.exists():
        return "missing"
    with contextlib.closing(_connect(path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return "empty"
        if "experiments" not in tables or not connection.execute("SELECT 1 FROM experiments").fetchone():
            return "half made"
        return "finished"


def _is_settled(path: Path) -> bool:
    """Whether no process has written to a database lately."""
    times = []
    for file in (path, *(Path(f"{path}{end}") for end in _COMPANIONS)):
        with contextlib.suppress(FileNotFoundError):
            times.append(file.stat().st_mtime)
    return time.time() - max(times, default=0.0) > _SETTLED_SECONDS


def _connect(path: Path) -> sqlite3.Connection:
    """Open an existing database. To read one whose writer was killed, sqlite has to write to it."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process of ours makes this database. The kernel frees the lock however a process ends."""
    lock = path.with_name(f".{path.name}.lock")
    descriptor = open_locked(lock, on_busy=lambda: None)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)
