"""How fast a download goes: its progress is told, and one that all but stands still is ended."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from stages.common.plurals import counted
from stages.running import environment
from stages.running.console import duration, say, time_left

#: The environment variable with the seconds over which the rate is measured; 0 measures nothing.
VARIABLE = "PIPELINE_STALL_SECONDS"
#: Its value where it is not set.
SECONDS = 60.0
#: The least rate in bytes a second, over each such time. A modem of 1995 brings five times as much.
LEAST_RATE = 1000
#: Seconds until progress is told for the first time; the time between two messages doubles.
_FIRST_TOLD = 10.0


class TooSlow(Exception):
    """A server has sent less than `LEAST_RATE` for `VARIABLE` seconds."""


class Pace:
    """Counts what a server sends. Times without a byte, headers that do not end and single bytes all count as slow.

    A read timeout does not see these: every single byte begins it again.

    Args:
        what: name of what is downloaded, for messages.
        seconds: time over which the rate is measured.
    """

    def __init__(self, what: str, seconds: float) -> None:
        self._what, self._seconds = what, seconds
        self._total: int | None = None
        self._bytes = self._bytes_before = 0
        self._began = self._told = time.monotonic()
        self._wait = _FIRST_TOLD

    def asked(self) -> None:
        """Begin to measure: a request is sent."""
        self._bytes = self._bytes_before = 0
        self._began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, self._seconds, self._seconds)

    def answered(self, total: int | None) -> None:
        """Note the announced size of the answer in bytes, if there is one."""
        self._total = total

    def received(self, count: int) -> None:
        """Count bytes of the answer, and tell the progress from time to time."""
        self._bytes += count
        now = time.monotonic()
        if now - self._told >= self._wait:
            self._told = now
            self._wait *= 2
            say(f"{self._what}: {self._progress(now - self._began)}")

    def complete(self) -> None:
        """Measure no more: the answer has come, or has failed."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def end(self) -> None:
        """Measure no more, whatever is asked after this: the signal has no handler then."""
        self._seconds = 0.0
        self.complete()

    def check(self, _number: int, _frame: FrameType | None) -> None:
        """Raise `TooSlow` if too little has come since the last call. The handler of the timer's signal."""
        fresh = self._bytes - self._bytes_before
        self._bytes_before = self._bytes
        if fresh < LEAST_RATE * self._seconds:
            raise TooSlow(
                f"sent {counted(fresh, 'byte')} in {duration(self._seconds)}; expected at least {LEAST_RATE:,} a second"
            )

    def _progress(self, seconds: float) -> str:
        if self._total is None:
            return f"{_megabytes(self._bytes)} MB so far"
        left = seconds / self._bytes * max(0, self._total - self._bytes)
        done = f"{_megabytes(self._bytes)} of {_megabytes(self._total)} MB"
        return done + time_left(left, "; the rest will take about {}")


@contextlib.contextmanager
def measured(what: str) -> Iterator[Pace]:
    """Give a `Pace` to the block, and let its timer raise `TooSlow` there.

    In another thread than the main one, where Python handles no signals, nothing is measured.

    Args:
        what: name of what is downloaded, for messages.

    Raises:
        ConfigError: `VARIABLE` is not a number of seconds.
    """
    seconds = environment.seconds("PIPELINE_STALL_SECONDS", SECONDS)
    if threading.current_thread() is not threading.main_thread():
        seconds = 0.0  # setitimer with 0 stops the timer
    pace = Pace(what, seconds)
    if not seconds:
        yield pace
        return
    before = signal.signal(signal.SIGALRM, pace.check)
    try:
        yield pace
    finally:
        pace.end()
        signal.signal(signal.SIGALRM, before)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f}"
