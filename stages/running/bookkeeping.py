"""Files that are kept beside the results: costs, marks of tracking, tests that a judge has passed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from stages.running.console import say


@contextlib.contextmanager
def optional(path: Path) -> Iterator[None]:
    """Write or remove a file on which no result depends. A failure is told in one line, and the block is left.

    Args:
        path: path of the file, named in the line.
    """
    try:
        yield
    except OSError as error:
        say(f"{path}: {error.strerror or error}: not kept; no result depends on it")
