"""Whether a folder is a project's: what a program asks that works in one and may be started anywhere."""

from __future__ import annotations

from pathlib import Path

from stages.common import paths
from stages.common.errors import ConfigError


def require(root: Path, file: Path = paths.PARAMS) -> None:
    """Refuse a folder that is no project's.

    Args:
        root: the folder.
        file: the file of a project that is looked for.

    Raises:
        ConfigError: it is not there.
    """
    if not (root / file).exists():
        raise ConfigError(f"{root.resolve()}: no {file} here", "run the command in the project's folder")
