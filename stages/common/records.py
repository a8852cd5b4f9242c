"""The base of all rows and metrics of stages, how they are read and written, and the types that several stages share.

Rows of different stages are joined by their ``id``, never by their position in a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from stages.common import mistakes
from stages.common.errors import DataError
from stages.common.files import json_line, read_json, read_jsonl, write_json, write_jsonl

#: The model that an answer is from: the downloaded one, or the fine-tuned one.
ModelName = Literal["base", "tuned"]
#: Why an answer ended: at an end-of-text, at generate.max_new_tokens, or where the model's context was full.
StopReason = Literal["end_of_text", "max_new_tokens", "context"]
#: The target tokens of a row in the loss; the label mask leaves out the others.
LossOn = Literal["all", "response"]
#: The dtype of matrix products; auto: the faster one on the machine.
Precision = Literal["auto", "fp32", "bf16"]


class Record(BaseModel):
    """A row: immutable, with exactly the fields named."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Metrics(Record):
    """The figures of a stage. A figure that could not be measured is null; one that was not asked for is absent."""


RecordT = TypeVar("RecordT", bound=Record)
MetricsT = TypeVar("MetricsT", bound=Metrics)


def read_records(path: Path, kind: type[RecordT], *, made_by: str) -> Iterator[RecordT]:
    """Yield the rows of a JSONL file.

    Args:
        path: the file.
        kind: class of its rows.
        made_by: command that makes the file, for the message when it is missing or broken.

    Raises:
        DataError: the file is missing, or a line is not a row of that kind.
    """
    for number, value in read_jsonl(path, made_by=made_by):
        yield _checked(kind, value, f"{path}, line {number}", "the row", made_by)


def write_records(path: Path, rows: Iterable[Record]) -> int:
    """Write rows as JSONL, completely or not at all, and return their number."""
    return write_jsonl(path, (row.model_dump() for row in rows))


def line_of(row: Record) -> str:
    """A row as `write_records` writes it, its line feed included."""
    return json_line(row.model_dump())


def read_metrics(path: Path, kind: type[MetricsT], *, made_by: str) -> MetricsT:
    """Read a stage's metrics.json.

    Args:
        path: the file.
        kind: class of its metrics.
        made_by: command that makes the file, for the message when it is missing or broken.

    Raises:
        DataError: the file is missing, or does not hold that kind of metrics.
    """
    return _checked(kind, read_json(path, made_by=made_by), str(path), "the file", made_by)


def _checked(kind: type[RecordT], value: object, where: str, whole: str, made_by: str) -> RecordT:
    """A value as a record; the message names the first field that is wrong, or the whole where it is no record."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or whole
        raise DataError(f"{where}: {field}: {mistakes.describe(first)}", made_by) from None


def write_metrics(path: Path, metrics: Metrics) -> None:
    """Write metrics as JSON, completely or not at all; fields that were never given are left out."""
    write_json(path, metrics.model_dump(exclude_unset=True))
