"""Ends a stage whose dvc is gone, as by SIGTERM: it would otherwise work on, and replace the files of a later run.

The kernel tells by a file descriptor of each process above the stage (pidfd_open(2)), at once and without polling.
PR_SET_PDEATHSIG is no help: between dvc and a stage there may be a shell, which does not end when dvc does.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from stages.running.signals import SIGNALS
from stages.running.tracking import execution

#: Seconds for a signal to arrive from whatever has ended dvc, such as a service manager: the stage gets no second one.
#: Whoever signals a whole group does so within milliseconds.
_SIGNAL_SECONDS = 0.1
#: Seconds between two looks, where the kernel has no pidfd.
_POLL_SECONDS = 0.25
_GUARD = "guard.py"
#: At least what a pipe holds.
_PIPE_BYTES = 1 << 20

_reason = ""


def reason() -> str:
    """Why this process has sent itself SIGTERM; empty if it has not."""
    return _reason


def end_with_dvc() -> None:
    """Send SIGTERM to this process once what runs it is gone. Called in the main thread of a stage that dvc runs.

    Under the flow that is the guard, which ends the stage itself if dvc is gone. Otherwise it is dvc, or a shell
    between dvc and this process. A stage that no dvc runs is left alone.
    """
    above = execution.up_to_dvc()
    if not above:
        if _is_adopted():
            _end("dvc")
        return
    dvc, guard = above[-1], _guard_of(above[-1])
    who = f"dvc (process {dvc.pid})" if guard is None else f"the guard of dvc (process {guard.pid})"
    # The number of each signal that comes, as a byte, whichever handler it has: torch's agent has its own.
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def watch(wait: Callable[[], object]) -> None:
        wait()
        time.sleep(_SIGNAL_SECONDS)
        with contextlib.suppress(BlockingIOError):
            # Others come too, such as the SIGALRM of a download's timer.
            if set(os.read(read, _PIPE_BYTES)) & set(SIGNALS):
                return
        _end(who)

    threading.Thread(
        target=watch, args=(_ended([guard] if guard else above),), daemon=True, name="end-with-dvc"
    ).start()


def _end(who: str) -> None:
    global _reason
    _reason = f"{who}, which ran this stage, has ended"
    os.kill(os.getpid(), signal.SIGTERM)


def _ended(processes: Sequence[psutil.Process]) -> Callable[[], object]:
    """A function that returns once one of some processes has ended."""
    try:
        descriptors = [os.pidfd_open(process.pid) for process in processes]
    except (AttributeError, OSError):  # no Linux, or an old one; or it has ended
        identities = [(process.pid, process.create_time()) for process in processes]

        def poll() -> None:
            while all(_lives(*one) for one in identities):
                time.sleep(_POLL_SECONDS)

        return poll
    # Between looking and opening, the number may have become another process's.
    if not all(process.is_running() for process in processes):
        return lambda: None
    return lambda: select.select(descriptors, [], [])


def _lives(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return process.create_time() == started and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _guard_of(dvc: psutil.Process) -> psutil.Process | None:
    """The process of flows/guard.py that runs a dvc, if there is one."""
    with contextlib.suppress(psutil.Error):
        parent = dvc.parent()
        if parent is not None and any(Path(word).name == _GUARD for word in parent.cmdline()[:4]):
            return parent
    return None


def _is_adopted() -> bool:
    """Whether the process that started this one ended before this function was called, and init adopted this one.

    A program with DVC's Python API may itself be process 1 of a container.
    """
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(os.getppid())
        name = Path((parent.cmdline() or [parent.name()])[0]).name
        return name == "systemd" or (parent.pid == 1 and not name.startswith("python"))
    return False
