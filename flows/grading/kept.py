"""The grades that were given in the terminal, kept in this folder until they are collected."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from stages.common.errors import TemporaryFailure
from stages.common.locks import open_locked
from stages.common.paths import CACHE
from stages.common.records import Record, read_records, write_records

_FOLDER = CACHE / "grading"


class Grade(Record):
    """The grade of an answer, from 0 to 100; null where it was skipped."""

    key: str
    score: Annotated[float, Field(ge=0, le=100)] | None


def path(root: Path, digest: str) -> Path:
    """The file with the grades of a set of answers."""
    return root / _FOLDER / f"{digest}.jsonl"


def read(file: Path) -> dict[str, float | None]:
    """The grades by the keys of their answers, in the order in which they were first given; None for a skipped one.

    Raises:
        DataError: the file is broken.
    """
    if not file.exists():
        return {}
    return {row.key: row.score for row in read_records(file, Grade, made_by=f"correct or remove {file}")}


def write(file: Path, grades: Mapping[str, float | None]) -> None:
    """Write all grades, completely or not at all."""
    write_records(file, (Grade(key=key, score=score) for key, score in grades.items()))


@contextlib.contextmanager
def alone(file: Path) -> Iterator[None]:
    """Keep other terminals from grading the same answers during the block: each writes the whole file.

    The lock is a file beside it, as every grade replaces the file itself. A killed process leaves no lock behind.

    Args:
        file: the file with the grades.

    Raises:
        TemporaryFailure: another process grades these answers.
        OSError: the file cannot be locked.
    """
    try:
        descriptor = open_locked(file.with_suffix(".lock"))
    except BlockingIOError as error:
        what = f"{file}: another terminal grades these answers, and keeps its grades there"
        raise TemporaryFailure(what, "go on in that terminal, or press q there and run this command again") from error
    try:
        yield
    finally:
        os.close(descriptor)
