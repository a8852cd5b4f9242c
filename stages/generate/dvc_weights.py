"""The weights of a registered model, found by their MD5: in DVC's cache, or pulled from a remote.

A registered model in MLflow holds no weights, but the MD5 of each file and where DVC's cache and remotes are
(`stages.running.tracking.registry` writes it). It is loaded where the project may not be: this module asks DVC by its
command line alone.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from stages.common import dvc_config
from stages.common.dvc_config import Remotes
from stages.common.errors import DataError
from stages.common.files import read_json

#: Where an environment says that the project is, for a model that is loaded elsewhere.
PROJECT_VARIABLE = "PIPELINE_PROJECT"
#: Seconds that DVC may take to pull; weights have gigabytes.
_SECONDS = 3600.0


class Place(BaseModel):
    """Where the weights of a model are.

    Args:
        digest: the MD5 by which DVC names the model's folder; ".dir" follows.
        files: the MD5 of each of its files, by its path in the folder.
        cache: DVC's cache where the model was registered.
        project: the project's folder there.
        config: the text of its .dvc/config, which names remotes.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: str
    files: Mapping[str, str]
    cache: str
    project: str
    config: str = ""


@contextlib.contextmanager
def folder(path: Path) -> Iterator[Path]:
    """The folder of the model for the block.

    Args:
        path: file with a `Place`.

    Raises:
        DataError: the weights are in no cache, and no remote has them.
        ConfigError: DVC's configuration cannot be read.
    """
    place = Place.model_validate(read_json(path, made_by="load the model from MLflow"))
    caches = [*_caches(), Path(place.cache)]
    with tempfile.TemporaryDirectory(prefix="model-") as made:
        for cache in caches:
            files = {name: cache / "files" / "md5" / md5[:2] / md5[2:] for name, md5 in place.files.items()}
            if all(file.is_file() for file in files.values()):
                for name, file in files.items():
                    link = Path(made, name)
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(file.resolve())
                yield Path(made)
                return
        why = _pull(place, Path(made))
        if not all(Path(made, "model", name).is_file() for name in place.files):
            looked = ", ".join(map(str, dict.fromkeys(caches)))
            raise DataError(
                f"the weights {place.digest} are in no cache of DVC ({looked}), and no remote has them: {why}",
                f"dvc push in {place.project}, where they were made; or start this in a clone of the project that has "
                f"them, or with {PROJECT_VARIABLE}=ITS FOLDER",
            )
        yield Path(made, "model")


def _projects() -> list[Path]:
    """The projects that may have the weights or know a remote: the one that is named, and that of this folder."""
    named = os.environ.get(PROJECT_VARIABLE)
    here = Path.cwd()
    starts = [Path(named).absolute()] if named else []
    return [at for at in (*starts, here, *here.parents) if (at / ".dvc").is_dir()]


def _caches() -> list[Path]:
    found = []
    for project in _projects():
        asked = _dvc(project, "cache", "dir")
        found.append(project / (asked.stdout.strip() if asked.returncode == 0 else ".dvc/cache"))
    return found


def _pull(place: Place, into: Path) -> str:
    """Let DVC bring the model from a remote to ``into``/model, in a repository of its own; why it could not."""
    remotes = _remotes(place)
    if not remotes.named:
        return "no remote is known"
    if (made := _dvc(into, "init", "--no-scm", "--quiet")).returncode != 0:
        return made.stderr.strip()
    first = Remotes({}, next(iter(remotes.named)))
    dvc_config.write(into / dvc_config.LOCAL, remotes.over(first).settings)
    (into / "model.dvc").write_text(f"outs:\n- md5: {place.digest}\n  hash: md5\n  path: model\n", encoding="utf-8")
    done = _dvc(into, "pull", "model.dvc")
    return " ".join(done.stderr.split()) or "it does not have them"


def _remotes(place: Place) -> Remotes:
    """The remotes of the projects that are here, the named one first, of the user, and of the project of the model."""
    name, folder = f"{dvc_config.COMMITTED} of {place.project}", Path(place.project, dvc_config.FOLDER)
    found = [
        *map(dvc_config.read_own, _projects()),
        dvc_config.read(Path.cwd()),
        dvc_config.parse(place.config, name, folder),
    ]
    return functools.reduce(Remotes.over, (settings.remotes for settings in found))


def _dvc(at: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=at,
        env=os.environ | {"DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
