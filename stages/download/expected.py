"""The rows of a small dataset on this machine as the stage makes them, before any stage has run."""

from __future__ import annotations

import functools
import gzip
import io
import shutil
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path

from stages.common import paths
from stages.common.errors import PipelineError
from stages.download import hub_dataset
from stages.download.dataset import Row
from stages.download.fetch import is_url
from stages.download.formats import decoded, reader
from stages.download.source import SOURCE, WRONG_ROWS
from stages.params.download import DataSource
from stages.running import dvc_yaml, temporary

#: The largest dataset that is read beforehand: bytes when unpacked, and rows. It takes a second at most.
LARGEST, MOST = 1 << 20, 10_000


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the stage makes of a dataset: two are equal if they are of one reading.

    Args:
        rows: its rows; none where it is refused.
        error: why it is refused; else None.
    """

    rows: list[Row]
    error: PipelineError | None = None


def outcome_of(data: DataSource) -> Outcome | None:
    """What the stage makes of the dataset, read once for all that ask.

    Args:
        data: the section download.data.

    Returns:
        None where it is not known: of a URL, the hub, a mix, a file larger than `LARGEST` or of more than `MOST` rows,
        or one that is not there.

    Raises:
        OSError: the file cannot be read.
    """
    path = None if data.sources else _path(data.source)
    if path is None or (status := path.stat()).st_size > LARGEST:
        return None
    with _reading:  # the checks of several stages ask at the same time
        return _read(path.absolute(), (status.st_mtime_ns, status.st_size), data.model_dump_json())


_reading = threading.Lock()


class _TooMany(Exception):
    """There are more rows than are read."""


class _Rows(list[Row]):
    def append(self, row: Row) -> None:
        if len(self) == MOST:
            raise _TooMany
        super().append(row)


@functools.lru_cache(maxsize=1)
def _read(path: Path, _version: tuple[int, int], data: str) -> Outcome | None:
    settings, rows = DataSource.model_validate_json(data), _Rows()
    packed = path.read_bytes()
    contents = _unpacked(packed)
    if contents is None or (contents.startswith(b"PAR1") and not decoded.is_within(contents, LARGEST, MOST)):
        return None
    try:
        if contents is packed:
            reader.read(path, settings, fix=WRONG_ROWS, rows=rows)
        else:
            with temporary.folder() as folder:  # what a gzip file holds is written beside it
                copy = Path(shutil.copyfile(path, folder / "dataset"))
                reader.read(copy, settings, fix=WRONG_ROWS, rows=rows)
    except _TooMany:
        return None
    except PipelineError as error:
        return Outcome([], error)
    return Outcome(rows)


def _unpacked(packed: bytes) -> bytes | None:
    """What a file holds: of gzip what is in it, unless it is damaged, which the reader says; None if it is large."""
    try:
        with gzip.open(io.BytesIO(packed)) as stream:
            contents = stream.read(LARGEST + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return packed
    return contents if len(contents) <= LARGEST else None


def _path(source: str) -> Path | None:
    """The file on this machine that a source names; of one that DVC brings in, the file that it is made from."""
    if hub_dataset.is_on_hub(source) or is_url(source, SOURCE):
        return None
    path = paths.local_path(source)
    return next((one for one in (dvc_yaml.origin(path), path) if one.is_file()), None)
