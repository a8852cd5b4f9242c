"""How long a process takes to end, without the time in which the processors worked for other processes.

A limit on such seconds holds on an idle machine to the letter, and on a busy one no test depends on what else is at
work there.
"""

from __future__ import annotations

import contextlib
import time

import psutil

#: Seconds between two looks.
_LOOK_SECONDS = 0.01
#: What a process gets of a processor at least, however many others want it.
_LEAST_SHARE = 0.05


def seconds_until_gone(process: psutil.Process, *, limit: float = 120.0) -> tuple[float, float]:
    """Wait for a process to end.

    Args:
        process: the process.
        limit: seconds to wait at most.

    Returns:
        The seconds waited, and these times the share of the processors that other processes left free. Both are near
        each other where nothing else is at work.

    Raises:
        AssertionError: it is still there.
    """
    begun, busy_before, own_before = time.monotonic(), _busy(), _own(process)
    own = own_before
    while _lives(process):
        assert time.monotonic() - begun < limit, f"process {process.pid} is at work after {limit:.0f} s"
        own = max(own, _own(process))
        time.sleep(_LOOK_SECONDS)
    waited = time.monotonic() - begun
    others = max(0.0, (_busy() - busy_before) - (own - own_before))
    free = 1.0 - others / (waited * (psutil.cpu_count() or 1))
    return waited, waited * max(free, _LEAST_SHARE)


def _busy() -> float:
    """Seconds that all processors have worked."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0) + getattr(times, "steal", 0.0))


def _own(process: psutil.Process) -> float:
    """Seconds that processors have worked for a process; 0 once it is gone."""
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
