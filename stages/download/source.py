"""The dataset from where params.yaml says: fetched, held to its SHA-256, and every row checked."""

from __future__ import annotations

from stages.common import files, paths
from stages.common.errors import ConfigError
from stages.common.plurals import counted
from stages.download import dataset
from stages.download.contents import refuse_other_contents
from stages.download.fetch import check_file, fetch, is_url
from stages.download.watched import is_watched
from stages.params.download import DataSource
from stages.running import temporary
from stages.running.console import say

SOURCE = "download.data.source"
SHA256 = "download.data.sha256"

#: The most keys that no stage uses of which the names are printed.
_SHOWN = 10


def fetch_rows(settings: DataSource) -> list[dataset.Row]:
    """Fetch the dataset, and print how many rows it has and which of their keys no stage uses.

    Raises:
        ConfigError: the SHA-256 is needed and missing, or there is no such file or page.
        DataError: the file has another SHA-256, or a row is wrong.
        ServiceUnavailable: the server does not answer.
    """
    require_sha256(settings)
    with temporary.folder() as folder:
        local = folder / "dataset"
        fix = f"if this is the file that you want, set {SHA256} in params.yaml to what was found"
        fetch(settings.source, local, settings.sha256, key=SOURCE, fix=fix)
        found = dataset.read(local, name=settings.source, fix=f"correct the file, or {SOURCE} in params.yaml")
    if found.unknown:
        keys = ", ".join(f"{key!r} ({counted(count, 'row')})" for key, count in list(found.unknown.items())[:_SHOWN])
        more = f" and {len(found.unknown) - _SHOWN:,} more" if len(found.unknown) > _SHOWN else ""
        say(f"{settings.source}: left out keys that no stage uses: {keys}{more}")
        used = [field for field in dataset.FIELDS if field != "input" or any(row["input"] for row in found.rows)]
        if rename := dataset.likely_names({*found.unknown, *used}):
            say(f"{settings.source}: no row has an input: {rename}, if the model is to see it")
    say(f"dataset: {len(found.rows):,} rows from {settings.source}")
    return found.rows


def require_sha256(settings: DataSource) -> None:
    """Demand a SHA-256 for a dataset that DVC does not watch: one that is not under data/.

    Raises:
        ConfigError: it is missing, or there is no such file.
        DataError: the file is empty, a web page or a Git LFS pointer, which nobody should pin.
    """
    if settings.sha256 is not None:
        return
    if is_url(settings.source, SOURCE):
        raise ConfigError(
            f"{SHA256}: needed for a URL, since DVC cannot see when what is there changes; found null",
            f"set {SHA256} in params.yaml to what this prints: curl -sL '{settings.source}' | sha256sum",
        )
    path = paths.local_path(settings.source)
    if is_watched(settings.source):
        if not path.exists():
            fix = f"dvc repro download, which brings {paths.DATA}/ in first; or correct {SOURCE} in params.yaml"
            raise ConfigError(f"{settings.source}: no such file", fix)
        return
    check_file(path, SOURCE)
    refuse_other_contents(path, name=settings.source, fix=f"correct {SOURCE} in params.yaml")
    raise ConfigError(
        f"{SHA256}: needed for {settings.source}, which is not under {paths.DATA}/, since DVC cannot see when it "
        "changes; found null",
        f"set {SHA256}: {files.sha256(path)} in params.yaml",
    )
