"""A stage in the folder of one of DVC's experiments, as `dvc exp run --temp` and `--queue` make it.

DVC checks an experiment out under .dvc/tmp/exps of the project, runs the stages there, and removes the folder when the
experiment ends, however it ends. What has to outlive it belongs to the project: the MLflow run, and .cache with
checkpoints, verdicts and answers. A relative path that leads out of the project was written for the project too.
"""

from __future__ import annotations

import os
from pathlib import Path

from stages.common import paths
from stages.running import bookkeeping
from stages.running.tracking import mlflow_access

#: Where DVC checks experiments out, in the project's folder.
_FOLDER = Path(".dvc", "tmp", "exps")


def project(folder: Path = Path()) -> Path | None:
    """The project whose experiment is checked out in a folder; None for a folder that is no such copy."""
    here = folder.resolve()
    return next((above for above in here.parents if here.is_relative_to(above / _FOLDER)), None)


def join_project() -> None:
    """Let this stage and its children use the project's MLflow store, .cache and relative paths.

    In any other folder this does nothing. It is called before anything is read or written there.
    """
    root = project()
    if root is None:
        return
    os.environ[paths.ROOT_VARIABLE] = str(root)
    os.environ["MLFLOW_TRACKING_URI"] = mlflow_access.uri(root)
    if not os.path.lexists(paths.CACHE):  # the first stage of the experiment
        with bookkeeping.optional(paths.CACHE):
            (root / paths.CACHE).mkdir(exist_ok=True)
            paths.CACHE.symlink_to(root / paths.CACHE)
