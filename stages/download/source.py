"""The dataset from where params.yaml says: fetched, held to its SHA-256, and every row checked."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.common import files, paths, proposals
from stages.common.errors import ConfigError, DataError, PipelineError
from stages.common.plurals import counted
from stages.download import hub_dataset, mixing
from stages.download.contents import refuse_other_contents
from stages.download.fetch import check_file, fetch, is_url, wrong_sha256
from stages.download.formats import mappings, reader
from stages.download.formats.reader import Read
from stages.download.rows_file import RowSink
from stages.download.watched import is_watched
from stages.params.download import DataSource
from stages.running import temporary
from stages.running.console import say

SOURCE = "download.data.source"
SHA256 = "download.data.sha256"
#: What can be done about a file with another SHA-256.
OTHER_SHA256 = f"if this is the file that you want, set {SHA256} in params.yaml to what was found"
#: What can be done about rows that cannot be used.
WRONG_ROWS = f"correct the file, or {SOURCE} in params.yaml"

#: The largest file that is hashed before anything is read, in bytes: that takes a tenth of a second.
_HASHED = 1 << 26
#: The most keys and rows that a line names.
_SHOWN = 10
_PLAIN = ("JSON", "JSON lines")
#: The keys that each source of a mix has of its own.
_OF_A_SOURCE = re.compile(r"download\.data\.(source|sha256|fields)\b")


@dataclass(frozen=True)
class Fetched:
    """What was fetched.

    Args:
        read: the dataset as read; of a mix the first source.
        parts: what each source of a mix gives; empty where there is one source.
    """

    read: Read
    parts: list[mixing.Part]


def fetch_rows(settings: DataSource, rows: RowSink) -> Fetched:
    """Fetch the dataset, and print in what format it is, how many rows it has and what was left out.

    Args:
        settings: the section download.data.
        rows: what takes the rows.

    Raises:
        ConfigError: the SHA-256 is needed and missing, there is no such file or page, or a field's key is not there.
        DataError: the file has another SHA-256, is in no known format, or a row is wrong.
        ServiceUnavailable: the server does not answer.
    """
    if settings.sources:
        return _mixed(settings, rows)
    require_sha256(settings)
    with temporary.folder() as folder:
        found = _fetched(settings, folder, rows)
    say(f"dataset: {len(rows):,} rows from {settings.source}")
    return Fetched(found, [])


def _mixed(settings: DataSource, rows: RowSink) -> Fetched:
    _require_all(settings)
    with temporary.folder() as folder:

        def read(number: int, rows: RowSink) -> Read:
            own = folder / f"source-{number}"
            own.mkdir()
            with keyed(number):
                return _fetched(settings.alone(settings.sources[number]), own, rows)

        parts = mixing.mix(settings.sources, read, folder, settings.mix_seed, rows)
    for part in parts:
        say(f"{part.name}: {part.taken:,} of {counted(part.filtered, 'row')} that its filter keeps")
    say(f"dataset: {len(rows):,} rows from {counted(len(parts), 'source')}")
    return Fetched(parts[0].read, parts)


def _require_all(settings: DataSource) -> None:
    """Look at every source of a mix before any of them is read, and tell all that cannot be read at once.

    Raises:
        ConfigError, DataError: as `require_local_file`; of several, the kind of the first.
    """
    errors: list[PipelineError] = []
    for number, source in enumerate(settings.sources):
        try:
            with keyed(number):
                require_sha256(settings.alone(source))
                require_local_file(settings.alone(source))
        except PipelineError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        what = "\n".join(f"  - {error.what}" for error in errors)
        fixes = dict.fromkeys(error.fix for error in errors if error.fix)
        heading = f"{mixing.KEY}: {len(errors)} of {len(settings.sources)} sources cannot be read:"
        raise type(errors[0])(f"{heading}\n{what}", "; ".join(fixes))


@contextlib.contextmanager
def keyed(number: int) -> Iterator[None]:
    """Let errors within the block name the keys of one source of a mix, which are those of a lone source elsewhere.

    Args:
        number: number of the source in the list, from 0, as messages about params.yaml count.
    """
    try:
        yield
    except PipelineError as error:
        place = rf"{mixing.KEY}.{number}.\1"
        what, fix = (text and _OF_A_SOURCE.sub(place, text) for text in (error.what, error.fix))
        raise type(error)(what or "", fix) from error


def _fetched(settings: DataSource, folder: Path, rows: RowSink) -> Read:
    """Fetch one source and read it, and print what there is to say of it."""
    local = folder / "dataset"
    fix = OTHER_SHA256
    files: Path | list[tuple[str, Path]] = local
    if hub_dataset.is_on_hub(settings.source):
        files = hub_dataset.fetch(settings.source, local, settings.sha256, fix=fix)
    else:
        fetch(settings.source, local, settings.sha256, key=SOURCE, fix=fix)
    found = reader.read(files, settings, fix=WRONG_ROWS, rows=rows)
    for line in described(found, in_a_mix=settings.in_a_mix):
        say(f"{settings.source}: {line}")
    return found


def described(found: Read, *, in_a_mix: bool = False) -> Iterator[str]:
    """What there is to say of a dataset that was read: its format unless it is plain JSON, and what was left out.

    Args:
        found: the dataset.
        in_a_mix: whether it is one of several sources.
    """
    if found.said or found.kind not in _PLAIN:
        named = _listed([repr(key) for key in found.named])
        yield f"{found.kind}, {counted(found.total, 'row')}, {found.keys} {named}" + (
            f"; {found.said}" if found.said else ""
        )
    if found.unknown:
        named = _listed([f"{key!r} ({counted(count, 'row')})" for key, count in found.unknown.items()])
        yield f"left out keys that no stage uses: {named}"
        looked_for = found.by_fields and not found.with_input
        if looked_for and (key := mappings.likely_input(list(found.unknown))) is not None:
            yield f"no row has an input: rename {key!r} to input, if the model is to see it"
            yield f"the same without a change of the file: set {_field('input', key, in_a_mix=in_a_mix)}"
    if found.category is not None:
        way = _field("category", found.category, in_a_mix=in_a_mix)
        yield f"{found.category!r} looks like a category: for results by it, set {way}"
    if found.left_out:
        rows = _listed([f"row {one.row}" for one in found.left_out])
        yield f"left out {len(found.left_out):,} of {counted(found.total, 'row')}, which cannot be used: {rows}"
    if found.cleaned:
        rows = _listed([f"row {number}" for number in found.cleaned])
        yield f"made the placeholder of {counted(len(found.cleaned), 'input')} empty: {rows}"
    if found.unanswered:
        yield f"left out {counted(found.unanswered, 'question')} at the end of a conversation, which has no answer"


def _pin(digest: str, settings: DataSource) -> str:
    """How to set the SHA-256 of a file that has none."""
    return f"set {SHA256} to {digest} in params.yaml" if settings.in_a_mix else proposals.fix({SHA256: digest})


def _field(ours: str, key: str, *, in_a_mix: bool) -> str:
    """How to say which key holds a field."""
    if in_a_mix:
        return f"its fields to {proposals.flow({ours: key})} in {mixing.KEY}"
    return proposals.inline(f"{mappings.KEY}.{ours}", key)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def require_local_file(settings: DataSource) -> None:
    """Look whether a source on this machine can be read, without reading its rows.

    Raises:
        ConfigError: there is no such file.
        DataError: it is empty, a web page or a Git LFS pointer, or is small enough to be hashed here and has another
            SHA-256.
    """
    if hub_dataset.is_on_hub(settings.source) or is_url(settings.source, SOURCE):
        return
    path = paths.local_path(settings.source)
    check_file(path, SOURCE)
    refuse_other_contents(path, name=settings.source, fix=f"correct {SOURCE} in params.yaml")
    size = path.stat().st_size
    if settings.sha256 is not None and size <= _HASHED and (found := files.sha256(path)) != settings.sha256:
        raise DataError(wrong_sha256(settings.source, settings.sha256, found, size), OTHER_SHA256)


def require_sha256(settings: DataSource) -> None:
    """Demand a SHA-256 for a dataset that DVC does not watch: one that is not under data/, nor a commit of the hub.

    Raises:
        ConfigError: it is missing, there is no such file, or the source names no commit of the hub.
        DataError: the file is empty, a web page or a Git LFS pointer, which nobody should pin.
    """
    if hub_dataset.is_on_hub(settings.source):
        hub_dataset.parse(settings.source)
        return
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
        _pin(files.sha256(path), settings),
    )
