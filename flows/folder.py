"""Looks at the project's folder before anything starts: whether it can be used at all."""

from __future__ import annotations

import os
from pathlib import Path

from stages.common import dvc_config, paths
from stages.common.errors import ConfigError
from stages.running import git, project, writable
from stages.running.dvc_yaml import PIPELINE

#: Folders of the project that every program here writes in: DVC, Prefect and the stages.
_WRITTEN = (Path(), paths.CACHE, Path(".dvc", "tmp"))


def check(root: Path, *, copied: bool = False) -> None:
    """Refuse a folder that the pipeline cannot run in. It takes milliseconds: no DVC is started.

    Args:
        root: the folder.
        copied: whether the run works in a copy of the last commit, for which there is no doing without git.

    Raises:
        ConfigError: it has no dvc.yaml, or is no git repository and DVC is not set to do without, or its configuration
            cannot be read.
        InputOutputError: it cannot be written, or its disk is full.
    """
    project.require(root, PIPELINE)
    is_repository = any((above / ".git").exists() for above in (root, *root.resolve().parents))
    if not is_repository and (copied or not _does_without_git(root)):
        without = "" if copied else ", or let DVC do without git: dvc config --local core.no_scm true"
        raise ConfigError(
            f"{root}: not a git repository, which DVC wants; an unpacked archive is none",
            f"{git.CLONE}, or {git.COMMIT}{without}",
        )
    check_writable(root)


def check_writable(root: Path) -> None:
    """Refuse a folder in which nothing can be written.

    Args:
        root: the project's folder.

    Raises:
        InputOutputError: it cannot be written, or its disk is full.
    """
    for folder in (*(root / path for path in _WRITTEN), Path(os.environ.get("PREFECT_HOME", root / ".prefect"))):
        writable.require(folder)


def _does_without_git(root: Path) -> bool:
    """Whether DVC's settings in the project say that there is no git (core.no_scm)."""
    return dvc_config.read(root).value("core", "no_scm").lower() == "true"
