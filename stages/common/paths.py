"""The project's folders, and its files that are no results of a stage, relative to the root of the repository.

Programs run with the root as their working directory, as DVC starts them. The paths of a stage's results are in
`stages.common.results`.
"""

from __future__ import annotations

import os
from pathlib import Path

PARAMS = Path("params.yaml")
PROFILES = Path("profiles")
DATA = Path("data")
ARTIFACTS = Path("artifacts")

#: Files that must outlive a killed stage. Not under artifacts/: DVC deletes a stage's outputs before it runs the stage.
CACHE = Path(".cache")

#: The environment variable that holds the absolute root of the user's repository, for a stage that runs in a copy of
#: it. Relative paths that lead out of the repository start there.
ROOT_VARIABLE = "PIPELINE_ROOT"


def local_path(source: str) -> Path:
    """The path that a source in params.yaml names.

    In a copy of the repository, a relative path that leads out of it starts at the repository itself
    (`ROOT_VARIABLE`): the author of the path did not know the folder of the copy.
    """
    path = Path(source)
    leads_out = not path.is_absolute() and Path(os.path.normpath(path)).parts[:1] == (os.pardir,)
    return Path(os.environ.get(ROOT_VARIABLE, ""), path) if leads_out else path
