"""Waits for a DVC that somebody has started in the project's folder: `dvc repro` at the shell, while a schedule is due.

DVC itself gives up within seconds where another one works on the same files.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from flows import waits
from stages.common.errors import TemporaryFailure
from stages.running import dvc_users

_POLL_SECONDS = 1.0


def wait(root: Path, *, log: Callable[[str], None]) -> None:
    """Wait until no DVC works in the folder. The wait is told once, and has an end.

    Args:
        root: folder of the repository.
        log: function that is called with messages for the user.

    Raises:
        TemporaryFailure: one still works after PIPELINE_WAIT_SECONDS.
        ConfigError: the variable is not a number of seconds.
    """
    dvc_users.forget_ended(root)
    deadline = time.monotonic() + waits.longest()
    told = False
    while holder := dvc_users.at_work(root):
        if not told:
            log(f"{holder} is at work in this folder: waiting for it to end")
        told = True
        if time.monotonic() > deadline:
            raise TemporaryFailure(
                f"{root}: {holder} is still at work after {waits.longest():.0f} s (PIPELINE_WAIT_SECONDS)",
                "wait for it or end it, then run the same command again",
            )
        time.sleep(_POLL_SECONDS)
