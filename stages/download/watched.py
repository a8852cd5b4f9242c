"""Which local paths DVC watches: those under data/. All others need a SHA-256 in params.yaml."""

from __future__ import annotations

import os
from pathlib import Path

from stages.common import paths


def is_watched(source: str) -> bool:
    """Whether a path that params.yaml names is under data/, so that DVC sees when it changes."""
    # By name, so that data/../x is outside; not by what links lead to, since DVC may link data/ into its cache.
    path = Path(os.path.abspath(paths.local_path(source)))  # noqa: PTH100 Path.absolute keeps the ..
    return path.is_relative_to(Path(os.path.abspath(paths.DATA)))  # noqa: PTH100
