"""Folders of ours for temporary files, which are removed also where their process was killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from stages.common.locks import locked_if_possible

#: The beginning of their names, by which no other folder is taken for one: beside them may be that of the GPU locks.
PREFIX = "instruct-pipeline-files-"
#: Seconds after which a folder that no process holds counts as left behind.
LEFT_SECONDS = 86_400.0


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give an empty folder that is removed after the block. Those that killed processes have left are removed first."""
    _prune()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, locked_if_possible(Path(name)):
        yield Path(name)


def _prune() -> None:
    """Remove this user's folders that are a day old and that no process holds locked."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < LEFT_SECONDS:
                continue
            with locked_if_possible(path) as ours:
                if ours:
                    shutil.rmtree(path, ignore_errors=True)
