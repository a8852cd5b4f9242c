"""MLflow's sqlite database: made whole or not at all, and set aside where it was left half made.

MLflow makes its tables in a hundred steps, in the file itself and without a lock. A process that is killed in between,
or two that start at once, leave a file with which MLflow never works again: `table ... already exists`. Here one
process at a time makes the database under a temporary name, and renames it when it is finished.

The last thing that MLflow writes is its default experiment. A database without any experiment is therefore not
finished, and holds no run that could be lost.

A database of an older MLflow is brought up to date in a copy, which then takes its place. MLflow itself would change
the file, without a copy of it, or refuse it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from stages.common.errors import ConfigError, ServiceUnavailable
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

#: A migration of MLflow's, which names itself and the one before it.
_REVISION = re.compile(r"^(?P<which>down_revision|revision)\s*(?::[^=]*)?=\s*[\"'](?P<name>\w+)[\"']", re.MULTILINE)

State = Literal["missing", "empty", "half made", "old", "newer", "finished"]


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
        path: file of the database. One that was left half made is set aside, and one of an older MLflow is brought up
            to date and kept beside as it was; both are said in one line.

    Raises:
        sqlite3.Error: the file is no database, or cannot be written to.
        OSError: the folder cannot be written to.
        ConfigError: a newer MLflow has made it.
        ServiceUnavailable: it cannot be brought up to date.
    """
    if (found := state(path)) == "newer":
        version = importlib.metadata.version("mlflow")
        what = f"{path}: made by a newer MLflow than the installed one, {version}"
        raise ConfigError(what, "install that version, or set MLFLOW_TRACKING_URI to another address")
    if found != "finished":
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            _finish(path)
    require_writable(path)


def require_writable(path: Path) -> None:
    """See that a database can be written to; nothing is written.

    Args:
        path: file of a database, of which `state` says that it has tables.

    Raises:
        sqlite3.Error: the file is no database, or cannot be written to.
    """
    with contextlib.closing(_connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")


def is_finished(path: Path) -> bool:
    """Whether `prepare` has nothing to make or to bring up to date. It does not need MLflow.

    Raises:
        sqlite3.Error: the file is no database, or is locked.
    """
    return state(path) == "finished"


def holds(path: Path, run_id: str) -> bool:
    """Whether a run is in the database, and not deleted; False where the database cannot be read."""
    query = "SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'"
    try:
        with contextlib.closing(_connect(path)) as connection:
            return connection.execute(query, [run_id]).fetchone() is not None
    except sqlite3.Error:
        return False


def has_finished_runs(path: Path) -> bool:
    """Whether there is a finished run in the database; False where the database is not there or cannot be read."""
    query = "SELECT 1 FROM runs WHERE status = 'FINISHED' AND lifecycle_stage = 'active' LIMIT 1"
    try:
        with contextlib.closing(_connect(path)) as connection:
            return connection.execute(query).fetchone() is not None
    except sqlite3.Error:
        return False


def best(path: Path, experiment: str, judge: str, scores: Sequence[str], other_than: str) -> tuple[str, str] | None:
    """The finished run with the highest mean score. It takes no import of MLflow, which takes seconds.

    Args:
        path: file of the database.
        experiment: name of the run's experiment.
        judge: fingerprint of the judge.
        scores: the names that the mean score has.
        other_than: digest of the results that the run may not have.

    Returns:
        Its id and its name; None without one, and where the database cannot be read.
    """
    query = """
        SELECT runs.run_uuid, runs.name FROM runs
        JOIN experiments ON experiments.experiment_id = runs.experiment_id
        JOIN tags AS judge ON judge.run_uuid = runs.run_uuid AND judge.key = 'judge.fingerprint'
        JOIN tags AS results ON results.run_uuid = runs.run_uuid AND results.key = 'results.sha256'
        JOIN latest_metrics AS score ON score.run_uuid = runs.run_uuid
        AND score.key IN (SELECT value FROM json_each(?))
        WHERE experiments.name = ? AND judge.value = ? AND results.value != ?
        AND runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active'
        ORDER BY score.value DESC LIMIT 1
    """
    try:
        with contextlib.closing(_connect(path)) as connection:
            found = connection.execute(query, [json.dumps(list(scores)), experiment, judge, other_than]).fetchone()
            return None if found is None else (str(found[0]), str(found[1]))
    except sqlite3.Error:
        return None


def judged(path: Path, experiments: str, judge: str, most: int) -> list[tuple[str, str, str, str, dict[str, str]]]:
    """The finished runs that a judge has scored, the newest first. It takes no import of MLflow, which takes seconds.

    Args:
        path: file of the database.
        experiments: pattern of SQL of the names of their experiments.
        judge: fingerprint of the judge.
        most: the largest number of runs.

    Returns:
        Of each its id, its name, the address of its files, the digest of its results, which is empty where it has none,
        and its parameters; no run where the database cannot be read.
    """
    query = """
        SELECT runs.run_uuid, runs.name, runs.artifact_uri, COALESCE(results.value, '') FROM runs
        JOIN experiments ON experiments.experiment_id = runs.experiment_id
        JOIN tags AS judge ON judge.run_uuid = runs.run_uuid AND judge.key = 'judge.fingerprint'
        LEFT JOIN tags AS results ON results.run_uuid = runs.run_uuid AND results.key = 'results.sha256'
        WHERE experiments.name LIKE ? AND judge.value = ?
        AND runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active'
        ORDER BY runs.start_time DESC LIMIT ?
    """
    try:
        with contextlib.closing(_connect(path)) as connection:
            return [
                (
                    str(run),
                    str(name),
                    str(address),
                    str(results),
                    dict(connection.execute("SELECT key, value FROM params WHERE run_uuid = ?", [run])),
                )
                for run, name, address, results in connection.execute(query, [experiments, judge, most]).fetchall()
            ]
    except sqlite3.Error:
        return []


def _finish(path: Path) -> None:
    """Make the database, unless another process has made it meanwhile."""
    while (found := state(path)) in ("empty", "half made") and not _is_settled(path):
        time.sleep(_POLL_SECONDS)  # an MLflow that was not started from here may be making it
    if found == "old":
        _bring_up_to_date(path)
    if found in ("old", "finished"):
        return
    if found == "half made":
        kept = _set_aside(path)
        say(f"tracking: {path} was left half made, with no run in it: set aside as {kept.name}, and made again")
    _make(path)


def _make(path: Path) -> None:
    with _beside(path) as new:
        _create_tables(new, artifacts=path.parent.resolve() / "mlruns")
        os.replace(new, path)
        sync_folder(path.parent)


def _bring_up_to_date(path: Path) -> None:
    """Migrate a copy of the database to the installed MLflow, put it in its place, and keep the database as it was.

    Raises:
        ServiceUnavailable: MLflow cannot migrate it; it stays as it is.
    """
    kept = path.with_name(f"{path.name}.before-{importlib.metadata.version('mlflow')}-{_now()}")
    with _beside(path) as new:
        with contextlib.closing(_connect(path)) as old, contextlib.closing(sqlite3.connect(new)) as copy:
            old.backup(copy)
        try:
            _migrate(new)
        except Exception as error:
            reason = " ".join(str(error).split())
            what = f"{path}: made by an older MLflow, and cannot be brought up to date: {reason[:200]}"
            raise ServiceUnavailable(what, "move the file away, and a new one is made") from error
        _keep(path, kept, new.with_name("kept"))
        os.replace(new, path)
        sync_folder(path.parent)
    say(f"tracking: {path} was made by an older MLflow: brought up to date, and kept as it was in {kept.name}")


def _keep(path: Path, kept: Path, made: Path) -> None:
    """Give a database a second name, or a copy where the file system has no hard links, such as exFAT or SMB.

    Args:
        path: the database.
        kept: its second name.
        made: path at which a copy is made, before it gets that name.
    """
    try:
        os.link(path, kept)
    except OSError:
        shutil.copy2(path, made)
        os.replace(made, kept)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a path for a new database on the same disk; what is left there at the end is removed."""
    for left in path.parent.glob(f".{path.name}.*.making"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".making", dir=path.parent))
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _migrate(path: Path) -> None:
    """What `mlflow db upgrade` does."""
    from mlflow.store.db import utils

    found: Any = utils  # which has no types
    engine = found.create_sqlalchemy_engine_with_retry(f"sqlite:///{path}")
    try:
        found._upgrade_db(engine)
    finally:
        engine.dispose()


@functools.cache
def _revisions() -> tuple[frozenset[str], str | None]:
    """The migrations of the installed MLflow, and the last one; None where it cannot be told.

    They are read from its files, since to import MLflow takes seconds, and every stage asks.
    """
    package = importlib.util.find_spec("mlflow")
    roots = [Path(root) for root in (package.submodule_search_locations or [])] if package else []
    found: dict[str, set[str]] = {"revision": set(), "down_revision": set()}
    for root in roots:
        for file in (root / "store" / "db_migrations" / "versions").glob("*.py"):
            for one in _REVISION.finditer(file.read_text(encoding="utf-8")):
                found[one["which"]].add(one["name"])
    last = found["revision"] - found["down_revision"]
    return frozenset(found["revision"]), last.pop() if len(last) == 1 else None


def _create_tables(path: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    made: Any = SqlAlchemyStore  # which has no types
    made(f"sqlite:///{path}", artifacts.as_uri()).engine.dispose()


def _set_aside(path: Path) -> Path:
    """Give the database another name, and return it."""
    name = f"{path.name}.half-made-{_now()}"
    for end in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{end}", path.with_name(name + end))
    return path.rename(path.with_name(name))


def _now() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def state(path: Path) -> State:
    """How far a database is made.

    Raises:
        sqlite3.Error: the file is no database, or is locked.
    """
    if not path.exists():
        return "missing"
    with contextlib.closing(_connect(path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return "empty"
        if "experiments" not in tables or not connection.execute("SELECT 1 FROM experiments").fetchone():
            return "half made"
        known, last = _revisions()
        if last is None or "alembic_version" not in tables:
            return "finished"
        [revision] = connection.execute("SELECT version_num FROM alembic_version").fetchone() or [last]
        if revision == last:
            return "finished"
        return "old" if revision in known else "newer"


def _is_settled(path: Path) -> bool:
    """Whether no process has written to a database lately. A time in the future is none at which one has written."""
    times = []
    for file in (path, *(Path(f"{path}{end}") for end in _COMPANIONS)):
        with contextlib.suppress(FileNotFoundError):
            times.append(file.stat().st_mtime)
    return all(abs(time.time() - at) > _SETTLED_SECONDS for at in times)


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
