"""The grades that were given in the terminal, kept in this folder until they are collected."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

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
