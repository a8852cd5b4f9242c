"""Which DVC works in a folder, by DVC's own files: told to people who miss a result, and waited for by the flow.

While a stage runs, DVC frees its lock of the repository. It keeps a record, .dvc/tmp/rwlock, of who reads and who
writes which path:

    {"read": {PATH: [{"pid": 1, "cmd": "dvc repro"}]}, "write": {PATH: {"pid": 1, "cmd": "dvc repro"}}}
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil

from stages.common import paths
from stages.common.errors import DataError, PipelineError, TemporaryFailure
from stages.common.locks import try_lock

_FOLDER = Path(".dvc") / "tmp"
#: Seconds by which the time of a process and that of a file may differ.
_CLOCK_SECONDS = 2.0
#: The path of DVC at the start of a command.
_PROGRAM = re.compile(r"^\S*/dvc(/__main__\.py)?(?= |$)")


def at_work(root: Path) -> str:
    """The DVC that works in a folder, in words; nothing without one.

    Args:
        root: folder of the repository.
    """
    for pid, command, _ in _living(root):
        return _told(pid, command)
    return "another DVC" if _is_locked(root / _FOLDER / "lock") else ""


def absent(root: Path, path: Path, stage: str, *, instead: str = "") -> PipelineError:
    """The error of a result that is missing. DVC removes a stage's results before it runs the stage.

    Args:
        root: folder of the repository.
        path: path of the result, relative to ``root``.
        stage: name of the stage that makes it.
        instead: what else can be done meanwhile, after "or".
    """
    wait = ", or ".join(["wait for it", *([instead] if instead else [])])
    for pid, command, written in _living(root):
        if written is not None and written.is_relative_to(root.resolve() / paths.ARTIFACTS / stage):
            return TemporaryFailure(f"{path}: not there yet; {stage} is at work: {_told(pid, command)}", wait)
    if holder := at_work(root):
        return TemporaryFailure(f"{path}: missing; a run is at work in this folder: {holder}", wait)
    return DataError(f"{path}: missing", ", or ".join([f"dvc repro {stage}", *([instead] if instead else [])]))


def forget_ended(root: Path) -> None:
    """Remove DVC's record where all that it names have ended, and DVC cannot tell, as an id is another process's.

    After a restart of the machine, or of a container, small ids come again. DVC would call the files busy for ever.

    Args:
        root: folder of the repository.
    """
    pids = {pid for pid, _, _ in _recorded(root)}
    reused = {pid for pid in pids if _is_reused(root, pid)}
    if reused and not any(psutil.pid_exists(pid) for pid in pids - reused):
        with contextlib.suppress(OSError):
            (root / _FOLDER / "rwlock").unlink()


def _told(pid: int, command: str) -> str:
    return f"process {pid} ({_PROGRAM.sub('dvc', command)})"


def _living(root: Path) -> Iterator[tuple[int, str, Path | None]]:
    """The entries of `_recorded` whose processes are there, without this one."""
    for pid, command, written in _recorded(root):
        if pid != os.getpid() and psutil.pid_exists(pid) and not _is_reused(root, pid):
            yield pid, command, written


def _recorded(root: Path) -> list[tuple[int, str, Path | None]]:
    """The id and the command of each DVC that reads or writes files, and the path that it writes; None for a reader."""
    try:
        tree = json.loads((root / _FOLDER / "rwlock").read_text(encoding="utf-8"))
        writers = [(one, Path(path)) for path, one in tree.get("write", {}).items()]
        readers = [(one, None) for several in tree.get("read", {}).values() for one in several]
        return [(int(one["pid"]), str(one["cmd"]), written) for one, written in [*writers, *readers] if one]
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return []  # none, or half written: the next look, or DVC itself, will tell


def _is_reused(root: Path, pid: int) -> bool:
    """Whether an id in DVC's record is another process's by now, which began after the record was last written."""
    with contextlib.suppress(OSError, psutil.Error):
        return psutil.Process(pid).create_time() > (root / _FOLDER / "rwlock").stat().st_mtime + _CLOCK_SECONDS
    return False


def _is_locked(path: Path) -> bool:
    """Whether a process holds the lock of DVC's repository."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_lock(descriptor)
    except OSError:
        return False  # the file system has no locks
    finally:
        os.close(descriptor)
