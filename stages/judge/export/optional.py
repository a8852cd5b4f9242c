"""The packages of the extra ``export``, which the pipeline does not need."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

from stages.common.errors import ConfigError

#: The command that installs them: those of the extra ``export`` of pyproject.toml, at locked versions.
INSTALL = "pip install -r requirements-export.lock"
#: The packages, by the name under which each is imported.
PACKAGES = ("transformers", "gguf", "xllamacpp")


def need(package: str, what_for: str) -> Any:
    """Import a package of the extra.

    Args:
        package: one of `PACKAGES`.
        what_for: what takes it, for the message.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        raise ConfigError(f"{what_for}: the package {package} is not installed", INSTALL) from None


def version(package: str) -> str:
    """Name and version of a package that is installed, such as ``gguf 0.19.0``."""
    return f"{package} {importlib.metadata.version(package)}"
