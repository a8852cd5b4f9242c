"""How the rows of a small dataset on this machine would be divided, before any stage has run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from stages.common import paths
from stages.common.errors import PipelineError
from stages.common.results.split import Example
from stages.download import hub_dataset
from stages.download.fetch import is_url
from stages.download.formats import reader
from stages.download.source import SOURCE
from stages.params.download import DataSource
from stages.params.split import Split
from stages.running import dvc_yaml, temporary
from stages.split.checks import near
from stages.split.splits import divide, named

#: The largest file that is read beforehand, in bytes: it takes a second.
_LARGEST = 1 << 22


def division(data: DataSource, settings: Split) -> dict[str, Sequence[Example]] | None:
    """The rows of each split; None where they are not known: of a URL, the hub, a mix or a large file.

    It is None too where the dataset cannot be read or divided: the stages say why.

    Args:
        data: the section download.data.
        settings: the section split.
    """
    path = None if data.sources else _path(data.source)
    if path is None or path.stat().st_size > _LARGEST:
        return None
    try:
        with temporary.folder() as folder:
            copy = Path(shutil.copyfile(path, folder / "dataset"))  # beside it, what a gzip file holds is written
            rows = reader.read(copy, data, fix="").rows
        places: list[str] = []
        examples = list(named(rows, places))
        groups = near.find(examples).near if settings.method == "grouped" else None
        return divide(examples, settings, groups, places)
    except (PipelineError, OSError):
        return None


def _path(source: str) -> Path | None:
    """The file on this machine that a source names; of one that DVC brings in, the file that it is made from."""
    if hub_dataset.is_on_hub(source) or is_url(source, SOURCE):
        return None
    path = paths.local_path(source)
    imported = [one for one in dvc_yaml.imports(Path()) if one.source is not None and path.is_relative_to(one.path)]
    candidates = [*(one.source / path.relative_to(one.path) for one in imported if one.source is not None), path]
    return next((one for one in candidates if one.is_file()), None)
