"""A folder that stands for .cache where results are made again, with checkpoints, answers and verdicts of that alone.

It is under .cache/again, and belongs to one process at a time, which holds the lock of the file beside it. What is
interrupted leaves it, so that the same command goes on; a week after its last use it is removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stages.common import paths
from stages.common.errors import TemporaryFailure
from stages.common.locks import open_locked
from stages.running import measured

_FOLDER = paths.CACHE / "again"
_LOCK = ".lock"
#: Seconds after its last use for which a folder is kept.
_KEPT_SECONDS = 7 * 24 * 3600.0


@contextlib.contextmanager
def of(root: Path, key: str, *, log: Callable[[str], None], resumes: bool) -> Iterator[Path]:
    """The folder of a key, which is made if need be, and removed after a block that does not raise.

    Args:
        root: the user's repository.
        key: its name.
        log: function that is called with messages for the user.
        resumes: whether what an interrupted block has left is used, and left for the next one.

    Raises:
        TemporaryFailure: another process has it.
    """
    _prune(root, log=log, but=key)
    folder = root / _FOLDER / key
    with _locked(folder) as ours:
        if not ours:
            raise TemporaryFailure(
                f"{folder}: another process is making the same results again at this moment",
                "wait for it or end it, then run the same command again",
            )
        if not resumes:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        _share_measured(root, folder)
        done = False
        try:
            yield folder
            done = True
        finally:
            if done or not resumes:
                _remove(folder)


def _share_measured(root: Path, folder: Path) -> None:
    """Let what was measured on this machine hold for the folder too: it decides how the results are rounded."""
    there = (root / measured.NOTES).resolve()
    there.mkdir(parents=True, exist_ok=True)
    own = folder / measured.NOTES.relative_to(paths.CACHE)
    if not own.is_symlink():
        own.symlink_to(there)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder for the block; False where another process has it."""
    lock = folder.with_name(folder.name + _LOCK)
    held: int | None = None
    try:
        held = open_locked(lock)
    except BlockingIOError:
        yield False
        return
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP):  # the file system has no locks
            raise
    try:
        os.utime(lock)
        yield True
    finally:
        if held is not None:
            os.close(held)


def _prune(root: Path, *, log: Callable[[str], None], but: str) -> None:
    """Remove the folders that nobody has used for a week; those that are in use stay, however long that takes."""
    for folder in sorted(path for path in (root / _FOLDER).glob("*") if path.is_dir() and path.name != but):
        lock = folder.with_name(folder.name + _LOCK)
        with contextlib.suppress(FileNotFoundError):  # its process has ended, and removed it
            used = (lock if lock.exists() else folder).stat().st_mtime
            if time.time() - used < _KEPT_SECONDS:
                continue
            with _locked(folder) as ours:
                if ours:
                    log(f"removing {_FOLDER / folder.name}, which was left unfinished more than a week ago")
                    _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder and its lock, which this process holds."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(folder.name + _LOCK).unlink(missing_ok=True)
