"""Run a command in a process group of its own, and end the whole group when the command or its owner has ended.

`python -P guard.py SECONDS COMMAND ...`, started in a new session with a pipe on standard input. SECONDS is how long
the group may take to end after SIGINT, before SIGTERM and then SIGKILL follow. The owner only holds the other end of
the pipe, which the kernel closes when the owner dies, even by SIGKILL. So a killed flow leaves no DVC behind, and a
killed DVC no training. A process that starts a session of its own is out of reach.

The exit code is the command's, or 128 + the signal that ended it. The file is a script and imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

import psutil

#: Seconds that the group may take to end after each further signal. A stage saves its work after the first one.
_FURTHER = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
_POLL_SECONDS = 0.05


def main(grace: float, command: list[str]) -> int:
    """Run a command until it or standard input ends, then end what is left of the group.

    Args:
        grace: seconds that the group may take to end after SIGINT.
        command: the command and its arguments.

    Returns:
        The exit code.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Not SIG_IGN: the command would inherit it.
        signal.signal(number, lambda *_: None)
    # The command has the descriptors that the owner has passed on, such as a socket; no others can be inherited.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False)
    while child.poll() is None and not select.select([0], [], [], _POLL_SECONDS)[0]:
        pass
    for number, patience in ((signal.SIGINT, grace), *_FURTHER):
        deadline = time.monotonic() + patience
        _signal_others(number)
        while _others() and time.monotonic() < deadline:
            child.poll()
            if number == signal.SIGKILL:
                _signal_others(number)
            time.sleep(_POLL_SECONDS)
        if not _others():
            break
    code = child.wait()
    return code if code >= 0 else 128 - code


def _others() -> list[int]:
    """The process ids of the living members of this process's group, without its own."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            ours = pid != os.getpid() and os.getpgid(pid) == os.getpid()
            if ours and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def _signal_others(number: signal.Signals) -> None:
    for pid in _others():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
