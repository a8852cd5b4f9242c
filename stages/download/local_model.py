"""A GPT-2 in a folder on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stages.common import proposals
from stages.common.errors import ConfigError
from stages.common.paths import DATA, local_path
from stages.download.model_files import CONFIG, KEY, bring, found, names_of_weights
from stages.download.shards import digest
from stages.download.watched import is_watched
from stages.params.download import ModelSource


class LocalFolder:
    """A folder with a model's files.

    Args:
        path: its path, as params.yaml names it.

    Raises:
        ConfigError: there is no such folder.
    """

    is_cache = False

    def __init__(self, path: str) -> None:
        self.name = path
        self._path = local_path(path)
        if not self._path.is_dir():
            what = "expected a folder, found a file" if self._path.exists() else "no such folder"
            raise ConfigError(f"{path}: {what}", f"set {KEY}.repo in params.yaml to a folder with a model")

    def find(self, file: str) -> Path | None:
        """The path of a file; None if there is no such file."""
        return self._path / file if self.has(file) else None

    def has(self, file: str) -> bool:
        """Whether there is such a file."""
        return (self._path / file).is_file()

    def renew(self, _paths: Sequence[Path]) -> bool:
        """Remove nothing: the files are the user's own."""
        return False


def copy_model(source: ModelSource, folder: Path) -> None:
    """Copy model.safetensors and config.json into a folder.

    Args:
        source: the section download.model of params.yaml, with ``weights: folder``.
        folder: an existing folder.

    Raises:
        DataError: a file is not the one expected.
        ConfigError: there is no such folder or file, a SHA-256 is needed and missing, or the model has another
            architecture than params.yaml says.
    """
    origin = LocalFolder(source.repo or "")
    _require_sha256(origin, source)
    bring(origin, source, folder)


def _require_sha256(origin: LocalFolder, source: ModelSource) -> None:
    if is_watched(origin.name) or None not in (source.sha256, source.config_sha256):
        return
    weights, config = digest(found(origin, names_of_weights(origin))), digest(found(origin, [CONFIG]))
    raise ConfigError(
        f"{KEY}.sha256 and {KEY}.config_sha256: needed for {origin.name}, which is not under {DATA}/, since DVC cannot "
        "see when it changes; found null",
        proposals.fix({f"{KEY}.sha256": weights, f"{KEY}.config_sha256": config}),
    )
