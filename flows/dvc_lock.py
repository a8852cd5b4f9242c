"""Waits for a DVC that somebody has started in the project's folder: `dvc repro` at the shell, while a schedule is due.

DVC itself gives up within seconds where another one works on the same files.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from flows import waits
from stages.common.errors import TemporaryFailure
from stages.common.locks import try_lock

_FOLDER = Path(".dvc") / "tmp"
_POLL_SECONDS = 1.0
#: Seconds by which the time of a process and that of a file may differ.
_CLOCK_SECONDS = 2.0
#: The path of DVC at the start of a command.
_PROGRAM = re.compile(r"^\S*/dvc(/__main__\.py)?(?= |$)")


def wait(root: Path, *, log: Callable[[str], None]) -> None:
    """Wait until no DVC works in the folder. The wait is told once, and has an end.

    Args:
        root: folder of the repository.
        log: function that is called with messages for the user.

    Raises:
        TemporaryFailure: one still works after PIPELINE_WAIT_SECONDS.
        ConfigError: the variable is not a number of seconds.
    """
    _forget_ended(root)
    deadline = time.monotonic() + waits.longest()
    told = False
    while holder := at_work(root):
        if not told:
            log(f"{holder} is at work in this folder: waiting for it to end")
        told = True
        if time.monotonic() > deadline:
            raise TemporaryFailure(
                f"{root}: {holder} is still at work after {waits.longest():.0f} s (PIPELINE_WAIT_SECONDS)",
                "wait for it or end it, then run the same command again",
            )
        time.sleep(_POLL_SECONDS)


def at_work(root: Path) -> str:
    """The DVC that works in the folder, in words; nothing without one."""
    own = os.getpid()
    for pid, command in _holders(root):
        if pid != own and psutil.pid_exists(pid) and not _is_reused(root, pid):
            return f"process {pid} ({_PROGRAM.sub('dvc', command)})"
    return "another DVC" if _is_locked(root / _FOLDER / "lock") else ""


def _holders(root: Path) -> list[tuple[int, str]]:
    """The id and the command of each DVC that reads or writes files; while a stage runs, DVC frees its own lock."""
    try:
        found = json.loads((root / _FOLDER / "rwlock").read_text(encoding="utf-8"))
        readers = [one for several in found.get("read", {}).values() for one in several]
        return [(int(one["pid"]), str(one["cmd"])) for one in [*found.get("write", {}).values(), *readers] if one]
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return []  # none, or half written: the next look, or DVC itself, will tell


def _is_reused(root: Path, pid: int) -> bool:
    """Whether an id in DVC's record is another process's by now, which began after the record was last written."""
    with contextlib.suppress(OSError, psutil.Error):
        return psutil.Process(pid).create_time() > (root / _FOLDER / "rwlock").stat().st_mtime + _CLOCK_SECONDS
    return False


def _forget_ended(root: Path) -> None:
    """Remove DVC's record where all that it names have ended, and DVC cannot tell, as an id is another process's.

    After a restart of the machine, or of a container, small ids come again. DVC would call the files busy for ever.
    """
    pids = {pid for pid, _ in _holders(root)}
    reused = {pid for pid in pids if _is_reused(root, pid)}
    if reused and not any(psutil.pid_exists(pid) for pid in pids - reused):
        with contextlib.suppress(OSError):
            (root / _FOLDER / "rwlock").unlink()


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
