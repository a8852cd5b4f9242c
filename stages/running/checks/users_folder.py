"""The user's own folder, for a check of a run that works in a copy of it."""

from __future__ import annotations

import os
from pathlib import Path

from stages.common import paths


def there(path: Path) -> Path:
    """Where a file of an earlier run is, such as its metrics or costs: a copy that nothing has run in has none."""
    return Path(os.environ.get(paths.ROOT_VARIABLE, ""), path)
