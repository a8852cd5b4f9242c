"""What a run was made on, for its page: as its MLflow run keeps it, or this machine where it is being made here."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.common.errors import PipelineError
from stages.common.files import read_json
from stages.running import made_on, temporary
from stages.running.tracking import lookup, published


def of_run(name: str) -> Mapping[str, Any]:
    """What an MLflow run was made on; empty where it does not keep that.

    Args:
        name: id or name of the run.

    Raises:
        PipelineError: MLflow cannot be asked.
    """
    with temporary.folder() as folder:
        found = lookup.download(Path(), name, [], folder, optional=[made_on.FILE])
        kept = read_json(found[0], made_by="make runs lists the runs") if found else {}
        return kept if isinstance(kept, Mapping) else {}


def of_these_results(*, made_here: bool) -> Mapping[str, Any]:
    """What the results in the working directory were made on: empty where that is not known.

    Args:
        made_here: whether a run that is at work has made them here: its MLflow run does not keep it yet.
    """
    if made_here:
        return made_on.here()
    note = published.kept(Path())
    if note is not None:
        with contextlib.suppress(PipelineError):  # the page is made without MLflow too
            return of_run(note.run_id)
    return {}
