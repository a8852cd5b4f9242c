"""How far a stage is, in a file for whoever runs it: the flow shows it on Prefect's pages.

A stage imports no Prefect. PIPELINE_PROGRESS names the file; without it nothing is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

#: The path of the file.
VARIABLE = "PIPELINE_PROGRESS"
#: Seconds between two writes of one work, but for its end.
_SECONDS = 1.0


class Work(NamedTuple):
    """A work with a progress bar.

    Args:
        done: units that are done.
        total: all units.
        unit: name of one unit.
    """

    done: int
    total: int
    unit: str


class Progress(NamedTuple):
    """What a stage has told.

    Args:
        works: its works by name, in the order in which they began.
        gpus: UUIDs of the GPUs that it holds, or has held.
    """

    works: dict[str, Work]
    gpus: list[str]


#: What this process has told, and when it has written that.
_told = Progress({}, [])
_written = -_SECONDS


def tell_work(what: str, work: Work) -> None:
    """Write how far a work is; most calls within a second are kept for a later one.

    Args:
        what: name of the work.
        work: how far it is.
    """
    new = what not in _told.works
    _told.works[what] = work
    if new or work.done >= work.total or time.monotonic() - _written >= _SECONDS:
        _write()


def tell_now() -> None:
    """Write what has been told, whenever the last write was: a work has ended, or is broken off."""
    _write()


def told() -> Progress:
    """What this process has told, whether it is written or not."""
    return _told


def tell_gpus(uuids: Sequence[str]) -> None:
    """Write which GPUs this process holds.

    Args:
        uuids: their UUIDs.
    """
    _told.gpus[:] = uuids
    _write()


def read(path: Path) -> Progress:
    """What a stage has told; nothing where it has not begun to.

    Args:
        path: the file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Progress({}, [])
    return Progress({name: Work(*work) for name, work in found["works"].items()}, found["gpus"])


def _write() -> None:
    global _written
    if not (path := os.environ.get(VARIABLE)):
        return
    _written = time.monotonic()
    # It is for people who watch: no stage fails for it, and none waits for a disk to have it.
    with contextlib.suppress(OSError):
        new = Path(f"{path}.new")
        new.write_text(json.dumps(_told._asdict()), encoding="utf-8")
        new.replace(path)
