"""The pages of MLflow that `make ui` has started: where they are, by the file that `flows.servers_file` keeps."""

from __future__ import annotations

import json
import os
from pathlib import Path

from stages.common import paths
from stages.running.tracking import execution

#: The folder of the file, unless the environment names another one.
_VARIABLE, _FOLDER = "PREFECT_HOME", ".prefect"


def file_in(root: Path) -> Path:
    """The file with the servers of `make ui`.

    Args:
        root: folder of the project.
    """
    return Path(os.environ.get(_VARIABLE) or root / _FOLDER, "servers.json")


def read(path: Path) -> dict[str, str | None]:
    """What the file holds; nothing where it is missing, or of a process that has ended.

    Args:
        path: the file (`file_in`).
    """
    try:
        known: dict[str, str | None] = json.loads(path.read_text(encoding="utf-8"))
        process = known["process"] or ""
        return known if execution.is_here(process) and not execution.is_gone(process) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def mlflow_address(root: Path) -> str:
    """The address of MLflow's pages; empty where they are not started.

    Args:
        root: folder of the project.
    """
    project = Path(os.environ.get(paths.ROOT_VARIABLE) or root)  # a run in a copy has the project's pages
    return read(file_in(project)).get("mlflow") or ""
