"""Locks on files and folders by `flock`. The kernel frees them however their holder ends, so that none is left behind.

A lock belongs to the open file, not to the process: it lasts until the last descriptor of it is closed, also one that
a forked child has inherited. A program that is started from here holds none, as Python's descriptors close on exec.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path


def try_lock(descriptor: int) -> bool:
    """Lock an open file or folder unless another process holds its lock.

    Returns:
        Whether this process holds the lock.

    Raises:
        OSError: the file system has no locks, for example.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # EACCES means the same on some network file systems
        return False
    return True


def open_locked(path: Path, *, on_busy: Callable[[], object] | None = None) -> int:
    """Open a file to append to it, and lock it. The file and the folders on the way are made if they are missing.

    The previous holder of the lock may have removed or replaced the file. Then the file that is at ``path`` is opened
    instead, so that two processes never hold the locks of two files of one name.

    Args:
        path: path of the file.
        on_busy: function that is called once before this process waits for another one; None: do not wait.

    Returns:
        A descriptor to read and to append. Closing it frees the lock.

    Raises:
        BlockingIOError: another process holds the lock, and ``on_busy`` is None.
        OSError: the file cannot be opened or locked.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            if not try_lock(descriptor):
                if on_busy is None:
                    raise BlockingIOError(f"{path}: another process holds its lock")
                on_busy()
                on_busy = _nothing
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if leads_to(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def leads_to(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one at ``path``: not if it was removed, or another file was put in its place."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False


@contextlib.contextmanager
def locked_if_possible(path: Path) -> Iterator[bool | None]:
    """Lock an existing file or folder for the block, without waiting.

    Yields:
        True: this process holds the lock. False: another process does. None: the file is missing, or its file system
        has no locks.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        try:
            locked: bool | None = try_lock(descriptor)
        except OSError:
            locked = None
        # If the file was removed between opening and locking, its lock protects nothing.
        yield locked if locked is not True or leads_to(path, descriptor) else None
    finally:
        os.close(descriptor)


def _nothing() -> None:
    return None
