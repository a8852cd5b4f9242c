"""Restores the earlier results of a stage that has failed.

DVC deletes a stage's outputs before it runs the stage, so that a mistake in params.yaml would cost the results of the
last successful run. They are still in DVC's cache, and dvc.lock has their names there. `dvc checkout` cannot be used:
the `dvc repro` around the program holds the lock on the outputs.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.running import dvc_cache

LOCK = Path("dvc.lock")


def restore(stage: str) -> bool:
    """Restore a stage's outputs of its last success, if the failed program has left none.

    Args:
        stage: name of the stage in dvc.lock of the working directory.

    Returns:
        Whether they are restored. They are not if the stage never succeeded, if the cache lacks one of them, or if the
        failed program has written outputs, which then stay.
    """
    outputs = _locked(stage)
    if not outputs or any(path.exists() for path, _ in outputs):
        return False
    files = [entry for path, digest in outputs for entry in _files(path, digest)]
    if not all(source.is_file() for _, source in files):
        return False
    for path, source in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    return True


def _locked(stage: str) -> list[tuple[Path, str]]:
    """The path and the digest of each output of a stage's last success."""
    try:
        tree: Any = YAML(typ="safe").load(LOCK)
        return [(Path(out["path"]), str(out["md5"])) for out in tree["stages"][stage]["outs"]]
    except (OSError, YAMLError, KeyError, TypeError):
        return []  # dvc.lock has no success of it


def _files(path: Path, digest: str) -> list[tuple[Path, Path]]:
    """An output's files and where the cache has each; a folder's cache entry is a list of its files."""
    entry = cached(digest)
    if not digest.endswith(".dir") or not entry.is_file():
        return [(path, entry)]
    listed = json.loads(entry.read_text(encoding="utf-8"))
    return [(path / one["relpath"], cached(one["md5"])) for one in listed]


def cached(digest: str) -> Path:
    """The path in DVC's cache of a file with this MD5 in dvc.lock, whether it is there or not."""
    return dvc_cache.folder() / "files" / "md5" / digest[:2] / digest[2:]
