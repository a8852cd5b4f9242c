"""A user's dataset, whatever its format: every row read, checked, and made rows of the pipeline."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from stages.common import proposals
from stages.common.errors import DataError
from stages.common.plurals import counted
from stages.common.printable import printable
from stages.download.dataset import FEWEST_ROWS, Problems
from stages.download.formats import json_rows, mappings, packing, shapes, tables
from stages.download.formats.mappings import LOOKED_AT
from stages.download.formats.shapes import Made, Shape
from stages.download.formats.values import Contents, Value
from stages.download.rows_file import RowSink
from stages.params.download import DataSource

_FORMATS = "JSON, JSON lines, CSV, TSV or Parquet, also in gzip"


@dataclass(frozen=True)
class LeftOut:
    """A row of the file that was left out.

    Args:
        row: number of the row in the file, from 1.
        line: number of its first line, from 1; None where rows have no lines.
        id: its own id, if it has a text or a number of that name; else None.
        problems: what is wrong with it.
        file: the name of its file, where there are several.
    """

    row: int
    line: int | None
    id: str | None
    problems: list[str]
    file: str | None = None


@dataclass
class Read:
    """A dataset as read.

    Args:
        kind: the file format in words, such as ``CSV``.
        keys: word for the keys of its rows: columns or keys.
        named: those keys, in the order in which they first come.
        said: what is read as what; empty for the project's own fields.
        by_fields: whether each field has a key of its own.
        rows: what has taken the rows, in the file's order; unless another was given, a list.
        total: number of rows in the file.
        unknown: number of rows with each key that is not read.
        left_out: the rows that were left out.
        with_input: number of rows that have an input.
        cleaned: numbers of the rows of whose input a placeholder was taken.
        unanswered: number of questions without an answer, at the ends of conversations.
        category: a key that is not read and is likely a category; None where there is none.
    """

    kind: str
    keys: str
    named: list[str]
    said: str
    by_fields: bool
    rows: Any = field(default_factory=list)
    total: int = 0
    unknown: dict[str, int] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    with_input: int = 0
    cleaned: list[int] = field(default_factory=list)
    unanswered: int = 0
    category: str | None = None


def read(
    path: Path | Sequence[tuple[str, Path]],
    settings: DataSource,
    *,
    fix: str,
    rows: RowSink | None = None,
) -> Read:
    """Read a dataset in any format, and check every row of it.

    Args:
        path: path of the file; beside it one more may be written, with what a gzip file holds. Or several files of one
            dataset, each with its name.
        settings: the section download.data, whose source is the name in messages. A source of a mix may have a single
            row.
        fix: what the user can do about a mistake in the file.
        rows: what takes the rows; None: a list.

    Raises:
        DataError: the file is in no known format, a row is wrong and they are not left out, or too few are left.
        ConfigError: download.data.fields names a key that no row has.
    """
    name = settings.source
    contents = _contents(path, name, fix) if isinstance(path, Path) else _several(path, fix)
    first = list(itertools.islice(contents.values, LOOKED_AT))
    shape = shapes.recognise(first, settings, name=name, fix=fix)
    keys: Counter[str] = Counter()
    sink = [] if rows is None else rows
    found = Read(contents.kind, contents.keys, [], shape.said, shape.by_fields, sink, category=shape.category)
    all_values = itertools.chain(first, contents.values)
    read_so_far = contents.file.told(all_values, what=f"read {name}") if contents.file else all_values
    values = shape.arrange(_counting(read_so_far, found, keys))
    problems = _make_rows(found, shape, values, drop=settings.on_invalid == "drop")
    fewest = 1 if settings.in_a_mix else FEWEST_ROWS
    if problems.count and settings.on_invalid == "refuse":
        # Where most rows are wrong, they are rather of another kind.
        enough = len(found.rows) >= fewest and 2 * problems.rows <= found.total
        raise DataError(problems.listing(name, found.total), f"{fix}; {_leave_out(problems.rows)}" if enough else fix)
    if len(found.rows) < fewest:
        one_each = "" if settings.in_a_mix else ", one for each split"
        left = f" after {counted(len(found.left_out), 'row')} had been left out" if found.left_out else ""
        what = f"{name}: expected at least {counted(fewest, 'row')}{one_each}, found {len(found.rows)}{left}"
        raise DataError(what, fix)
    found.named = list(keys)
    found.unknown = {key: keys[key] for key in sorted(keys.keys() - shape.used)}
    return found


def _leave_out(count: int) -> str:
    """How to go on without the rows that are wrong."""
    which = "this row" if count == 1 else f"these {counted(count, 'row')}"
    return f"or leave {which} out: set {proposals.inline('download.data.on_invalid', 'drop')}"


def _contents(path: Path, name: str, fix: str) -> Contents:
    """The rows of a file by its format, which its contents decide; only a table's needs a name where columns do not."""
    path, was_gzip = packing.unpacked(path, name=name, fix=fix)
    if packing.is_parquet(path):
        contents = tables.read_parquet(path, name=name, fix=fix)
    else:
        packing.refuse_other_encodings(path, name=name, fix=fix)
        contents = _of_text(path, name, fix)
    return replace(contents, kind=f"{contents.kind} in gzip") if was_gzip else contents


def _several(files: Sequence[tuple[str, Path]], fix: str) -> Contents:
    """The rows of several files, one after the other, as if they were one; they are of one format."""
    (name, path), *_ = files
    first = _contents(path, name, fix)

    def values() -> Iterator[Value]:
        for name, path in files:
            contents = _contents(path, name, fix)
            if contents.kind != first.kind:
                raise DataError(f"{name}: expected {first.kind}, as in {files[0][0]}; found {contents.kind}", fix)
            yield from (replace(value, file=name) for value in contents.values)

    return replace(first, kind=f"{first.kind} in {counted(len(files), 'file')}", values=values(), file=None)


def _of_text(path: Path, name: str, fix: str) -> Contents:
    beginning = _beginning(path)
    if not beginning:
        raise DataError(f"{name}: expected rows, found an empty file", fix)
    if beginning[0] in "[{":
        return json_rows.read(path, name=name, fix=fix)
    _, columns = tables.header(path)
    suffixes = PurePosixPath(name.partition("?")[0].lower()).suffixes[-2:]
    if (columns and {".csv", ".tsv"} & set(suffixes)) or (len(columns) > 1 and mappings.are_known(columns)):
        return tables.read_text(path, name=name, fix=fix)
    shown = beginning[:40].splitlines()[0]
    raise DataError(
        f"{name}: expected {_FORMATS}; found a text that begins with {shown!r}",
        f"a table needs a first line with the names of its columns; {fix}",
    )


def _beginning(path: Path) -> str:
    """The first characters of a text, without white space before them; empty if there is nothing else."""
    with open(path, encoding="utf-8-sig", newline="\n") as stream:
        while (found := stream.read(4096)) and not found.strip():
            pass
        return found.lstrip()


def _counting(values: Iterable[Value], found: Read, keys: Counter[str]) -> Iterator[Value]:
    """The same values, counted on their way, and the rows with each key."""
    for value in values:
        found.total += 1
        keys.update(value.value.keys() if isinstance(value.value, dict) else ())
        yield value


def _make_rows(found: Read, shape: Shape, values: Iterable[Value], *, drop: bool) -> Problems:
    """Make rows of all values, and return what is wrong with some."""
    problems = Problems()
    for value in values:
        made = Made([], [value.broken]) if value.broken else shape.make(value.value)
        if made.problems:
            problems.add(value.where, made.problems)
            if drop:
                found.left_out.append(
                    LeftOut(value.number, value.line, _own_id(value.value), made.problems, value.file)
                )
        for row in made.rows:
            found.rows.append(row)
            found.with_input += row["input"] != ""
        found.cleaned += [value.number] if made.cleaned else []
        found.unanswered += made.unanswered
    return problems


def _own_id(value: Any) -> str | None:
    """A row's own id, shortened to what a report shows."""
    found = value.get("id") if isinstance(value, dict) else None
    plain = isinstance(found, str | int) and not isinstance(found, bool)
    return printable(str(found).encode("utf-8", "backslashreplace").decode())[:80] if plain else None
