"""Which results are in MLflow: each is named by a digest, which its run has as a tag.

For each published result a note is kept in .cache/published. By it the summary tells whether the results that it shows
are in MLflow, and in which run, and does not have to ask a server. A copy of the folder, in which a run with other
values works, has the same .cache, and may make the same results: the note is of the run that has made them in the
folder itself, where there is one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stages.common import paths
from stages.common.errors import DataError
from stages.common.files import read_json, sha256, write_json
from stages.common.results.judge import JUDGE_METRICS, PAIRWISE, VERDICTS
from stages.running import lock
from stages.running.tracking import database, mlflow_access

LAST_STAGE = "judge"
#: The tag of a run that holds the digest of its results.
TAG = "results.sha256"

#: The last stage's results, whose entry in dvc.lock comes after the stage has published.
_OF_THE_LAST_STAGE = (JUDGE_METRICS, VERDICTS, PAIRWISE)
_NOTES = paths.CACHE / "published"
#: Notes of more results than this are removed, the oldest first.
_MOST_NOTES = 500


@dataclass(frozen=True)
class Note:
    """Where a result was published.

    Args:
        uri: address of the store, without a password.
        run_id: id of the run.
        name: name of the run.
        experiment: id of its experiment; empty where it is not known.
    """

    uri: str
    run_id: str
    name: str = ""
    experiment: str = ""


def lineage(tree: Mapping[str, Any]) -> str:
    """SHA-256 of dvc.lock without the last stage's entry, as sorted JSON: everything that the scores depend on.

    The last stage cannot know the hash of the whole file, and the run is to be the same however it was started.
    """
    stages = {name: entry for name, entry in (tree.get("stages") or {}).items() if name != LAST_STAGE}
    return hashlib.sha256(json.dumps(stages, sort_keys=True, default=str).encode()).hexdigest()


def digest(root: Path) -> str:
    """The digest of the results under ``root``: of dvc.lock up to the last stage, and of that stage's files.

    Raises:
        DataError: dvc.lock is not YAML.
    """
    files = {str(path): sha256(root / path) for path in _OF_THE_LAST_STAGE if (root / path).exists()}
    return hashlib.sha256(json.dumps([lineage(lock.read(root)), files], sort_keys=True).encode()).hexdigest()


def keep(root: Path, run_id: str, name: str = "", experiment: str = "", *, made_here: bool = False) -> None:
    """Note that the results under ``root`` are in a run.

    Args:
        root: folder with the results.
        run_id: id of the run.
        name: its name.
        experiment: id of its experiment.
        made_here: whether this run has made them in the project's folder itself, and not in a copy of it or elsewhere:
            its note takes the place of any other one. Another run is noted only where no run is (`kept`).
    """
    if not made_here and (there := kept(root)) is not None and there.run_id != run_id:
        return
    write_json(_note(root), asdict(Note(mlflow_access.shown_uri(root), run_id, name, experiment)))
    notes = sorted((root / _NOTES).glob("*.json"), key=lambda path: path.stat().st_mtime)
    for old in notes[:-_MOST_NOTES]:
        old.unlink(missing_ok=True)


def kept(root: Path) -> Note | None:
    """The run that has the results under ``root`` in the store that is used here, as far as this machine knows.

    Of a sqlite file it is looked up: the file may have been removed, or the run deleted.
    """
    try:
        found = Note(**read_json(_note(root), made_by="python -m flows.publish"))
    except (DataError, TypeError, OSError):
        return None
    path = database.path_of(mlflow_access.uri(root))
    is_there = found.uri == mlflow_access.shown_uri(root) and (path is None or database.holds(path, found.run_id))
    return found if is_there else None


def _note(root: Path) -> Path:
    return root / _NOTES / f"{digest(root)[:32]}.json"
