"""The end of a process without the teardown of its interpreter, which takes a second where much was imported.

Import this before what registers functions for the end (`atexit`): they run in reverse order, and the one here last.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

_codes: list[int] = []


@contextlib.contextmanager
def after() -> Iterator[None]:
    """End the process so after the block, and after all that Python does at the end: threads and functions of others.

    The exit code is that of a SystemExit with a number, or 0. After another exception Python ends as always.
    """
    try:
        yield
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            _codes.append(end.code or 0)
        raise
    _codes.append(0)


def leave(code: int) -> NoReturn:
    """Write what is still to be written, and end the process at once."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code & 0xFF)


def _end() -> None:
    if _codes:
        leave(_codes[-1])


atexit.register(_end)
