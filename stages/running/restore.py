"""Restores the earlier results of a stage that has failed.

DVC deletes a stage's outputs before it runs the stage, so that a mistake in params.yaml would cost the results of the
last successful run. They are still in DVC's cache, and dvc.lock has their names there. `dvc checkout` cannot be used:
the `dvc repro` around the program holds the lock on the outputs.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from stages.common.errors import DataError
from stages.running import lock

_FIX = f"git checkout -- {lock.LOCK}"


def restore(stage: str) -> bool:
    """Restore a stage's outputs of its last success, if the failed program has left none.

    Args:
        stage: name of the stage in dvc.lock of the working directory.

    Returns:
        Whether they are restored. They are not if the stage never succeeded, if the cache lacks one of them, if the
        failed program has written outputs, which then stay, or if dvc.lock is not what DVC writes.
    """
    try:
        outputs = lock.outputs(lock.LOCK.read_text(encoding="utf-8"), stage, name=str(lock.LOCK), fix=_FIX)
        if any(output.path.exists() for output in outputs):
            return False
        files = [entry for output in outputs for entry in lock.files(output, name=str(lock.LOCK), fix=_FIX)]
    except (DataError, OSError, UnicodeDecodeError):
        return False
    if not all(source.is_file() for _, source in files):
        return False
    put_back(files)
    return True


def put_back(files: Sequence[tuple[Path, Path]]) -> None:
    """Copy files from DVC's cache, each given as its path and its path in the cache."""
    for path, source in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)


def has_succeeded(stage: str) -> bool:
    """Whether dvc.lock of the working directory has a success of a stage."""
    try:
        return bool(lock.outputs(lock.LOCK.read_text(encoding="utf-8"), stage, name=str(lock.LOCK), fix=_FIX))
    except (DataError, OSError, UnicodeDecodeError):
        return False
