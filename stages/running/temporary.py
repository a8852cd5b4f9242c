"""Folders of ours for temporary files, which are removed also where their process was killed.

A Prefect worker has two for each flow run, which stay where it was killed. Those of our flow are removed too.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from stages.common.locks import locked_if_possible

#: The beginning of their names, by which no other folder is taken for one: beside them may be that of the GPU locks.
PREFIX = "instruct-pipeline-files-"
#: The same of a Prefect worker's folder for a flow run, the name of the one beside it, and our flows.
_PREFECT = "prefect-workspace-attempt-"
_SECOND = re.compile(r"tmp\w+prefect")
_OUR_FLOWS = "flows.pipeline."
#: Seconds after which a folder that no process holds counts as left behind.
LEFT_SECONDS = 86_400.0


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give an empty folder that is removed after the block. Those that killed processes have left are removed first."""
    _prune()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, locked_if_possible(Path(name)):
        yield Path(name)


def _prune() -> None:
    """Remove this user's folders that are a day old and that no process uses."""
    root = Path(tempfile.gettempdir())
    for path in root.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if _is_left(path):
                with locked_if_possible(path) as ours:
                    if ours:
                        shutil.rmtree(path, ignore_errors=True)
    for path in root.glob(f"{_PREFECT}*"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if _is_left(path):
                _remove_of_prefect(path)


def _is_left(path: Path) -> bool:
    """Whether a folder is this user's, and a day old."""
    status = path.lstat()
    return status.st_uid == os.getuid() and time.time() - status.st_mtime >= LEFT_SECONDS


def _remove_of_prefect(path: Path) -> None:
    """Remove a Prefect worker's folders for a run of our flow, unless the run is still at work.

    The run's process has the path of the first among its arguments. That one names the second, in which a flow works
    that has no folder of its own (prefect.runner._workspace_starter, prefect.workers.process).
    """
    manifest = json.loads((path / "workspace.json").read_text(encoding="utf-8"))
    supervisor = json.loads((path / "supervisor.json").read_text(encoding="utf-8"))
    if not str(manifest["runtime_entrypoint"]).startswith(_OUR_FLOWS) or _is_named_by_a_process(path):
        return
    second = Path(supervisor["workspace_root"])
    if second.parent == path.parent and _SECOND.fullmatch(second.name):
        shutil.rmtree(second, ignore_errors=True)
    shutil.rmtree(path, ignore_errors=True)


def _is_named_by_a_process(path: Path) -> bool:
    """Whether a path is within the arguments of a process of this machine."""
    name = path.name
    return any(
        name in argument for process in psutil.process_iter(["cmdline"]) for argument in process.info["cmdline"] or ()
    )
