"""SIGINT, SIGTERM and SIGHUP as an exception: at once, or deferred to the end of a step."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from stages.common.errors import TemporaryFailure
from stages.running import environment

#: What stops a stage: Ctrl-C, whoever ends it, and a terminal that is closed.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """One of `SIGNALS` has come. Not an Exception: no handler of errors is to catch it."""


class DeferredInterruption:
    """Whether a signal has come while `deferred_interruption` held it back."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def raise_if_pending(self) -> None:
        """Raise `Interrupted` if a signal has come."""
        if self.signal is not None:
            raise Interrupted(self.signal.name)


def raise_at_once() -> None:
    """Let signals raise `Interrupted` wherever the program is."""
    for number in _heeded():
        signal.signal(number, _interrupt)


def end_with_parent(parent: int) -> None:
    """Have SIGTERM sent to this process when ``parent``, the process that started it, dies (Linux; elsewhere nothing).

    Raises:
        TemporaryFailure: it has died already.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(1, int(signal.SIGTERM))  # PR_SET_PDEATHSIG of prctl(2)
    if os.getppid() != parent:
        raise TemporaryFailure(f"process {parent}, which started this one, has ended", "run the same command again")


def ignore() -> None:
    """Let signals do nothing."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def deferred_interruption() -> Iterator[DeferredInterruption]:
    """Hold back a first signal within the block, and say so; a second one interrupts at once.

    For work that can stop only between two steps, which then calls ``raise_if_pending``. Outside the main thread, where
    Python handles no signals, it does nothing.
    """
    pending = DeferredInterruption()

    def hold(number: int, frame: FrameType | None) -> None:
        if pending.signal is not None:
            _interrupt(number, frame)
        pending.signal = signal.Signals(number)
        worker = environment.worker()
        if worker is None or worker.rank == 0:
            with contextlib.suppress(OSError):  # not print, which may be at work where the signal came
                os.write(2, b"\nstopping, saving the work\n")

    if threading.current_thread() is not threading.main_thread():
        yield pending
        return
    before = {number: signal.signal(number, hold) for number in _heeded()}
    try:
        yield pending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heeded() -> list[signal.Signals]:
    """The signals that stop this program: not SIGHUP, where it was started by nohup to outlive its terminal."""
    return [one for one in SIGNALS if one != signal.SIGHUP or signal.getsignal(one) != signal.SIG_IGN]


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(signal.Signals(number).name)
