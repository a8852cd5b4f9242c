"""The rows of a small dataset on this machine as the stage makes them, before any stage has run."""

from __future__ import annotations

import functools
import shutil
import threading
from pathlib import Path

from stages.common import paths
from stages.download import hub_dataset
from stages.download.dataset import Row
from stages.download.fetch import is_url
from stages.download.formats import reader
from stages.download.source import SOURCE, WRONG_ROWS
from stages.params.download import DataSource
from stages.running import dvc_yaml, temporary

#: The largest file that is read beforehand, in bytes: it takes a second.
_LARGEST = 1 << 22


def rows_of(data: DataSource) -> list[Row] | None:
    """The rows; None where they are not known: of a URL, the hub, a mix, a large file, or one that is not there.

    Args:
        data: the section download.data.

    Raises:
        PipelineError: the stage would refuse the rows, by the same error.
        OSError: the file cannot be read.
    """
    path = None if data.sources else _path(data.source)
    if path is None or (status := path.stat()).st_size > _LARGEST:
        return None
    with _reading:  # the checks of several stages ask at the same time
        return _read(path, status.st_mtime_ns, data.model_dump_json())


_reading = threading.Lock()


@functools.lru_cache(maxsize=1)
def _read(path: Path, _changed: int, data: str) -> list[Row]:
    with temporary.folder() as folder:
        copy = Path(shutil.copyfile(path, folder / "dataset"))  # beside it, what a gzip file holds is written
        return list(reader.read(copy, DataSource.model_validate_json(data), fix=WRONG_ROWS).rows)


def _path(source: str) -> Path | None:
    """The file on this machine that a source names; of one that DVC brings in, the file that it is made from."""
    if hub_dataset.is_on_hub(source) or is_url(source, SOURCE):
        return None
    path = paths.local_path(source)
    imported = [one for one in dvc_yaml.imports(Path()) if one.source is not None and path.is_relative_to(one.path)]
    candidates = [*(one.source / path.relative_to(one.path) for one in imported if one.source is not None), path]
    return next((one for one in candidates if one.is_file()), None)
