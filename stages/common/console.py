"""What a stage tells the person in front of it."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from stages.common import environment


def say(message: str) -> None:
    """Print one line at once, without breaking a progress bar that is on the screen.

    Of several processes that do one thing together only the first speaks.
    """
    if _silent():
        return
    tqdm.write(message)
    sys.stdout.flush()


def progress(*, total: int, unit: str, what: str, done: int = 0) -> tqdm[Any]:
    """A progress bar with an ETA on standard error. It shows nothing where that is not a terminal.

    Args:
        total: how many units there are.
        unit: the name of one, such as "step" or "row".
        what: what is under way.
        done: units that were done before, of which the ETA knows no time.
    """
    return tqdm(
        total=total, initial=done, unit=unit, desc=what, disable=_silent() or None, dynamic_ncols=True, leave=False
    )


def duration(seconds: float) -> str:
    """Seconds for people: 42 s, 3 min 5 s, 2 h 7 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def _silent() -> bool:
    place = environment.worker()
    return place is not None and place[0] > 0
