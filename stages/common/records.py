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
from stages.common.files import read_json, read_jsonl, write_json, write_jsonl

#: The model that an answer is from: the downloaded one, or the fine-tuned one.
ModelName = Literal["base", "tuned"]
#: Why an answer ended: at an end-of-text, at generate.max_new_tokens, or where the model's context was full.
StopReason = Literal["end_of_text", "max_new_tokens", "context"]
PromptStyleName = Literal["alpaca", "phi3"]
#: The target tokens of a row in the loss; the label mask leaves out the others.
LossOn = Literal["all", "response"]
#: The dtype of matrix products; auto: bf16 where the machine has units for it, else fp32.
Precision = Literal["auto", "fp32", "bf16"]


class Record(BaseModel):
    """A row: immutable, with exactly the fields named."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Metrics(Record):
    """The figures of a stage. A figure that could not be measured is null; one that was not asked for is absent."""


R = TypeVar("R", bound=Record)
M = TypeVar("M", bound=Metrics)


def read_records(path: Path, kind: type[R], *, made_by: str) -> Iterator[R]:
    """Yield the rows of a JSONL file.

    Args:
        path: the file.
        kind: class of its rows.
        made_by: command that makes the file, for the message when it is missing or broken.

    Raises:
        DataError: the file is missing, or a line is not a row of that kind.
    """
    for number, value in read_jsonl(path, made_by=made_by):
        try:
            yield kind.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "the row"
            raise DataError(f"{path}, line {number}: {field}: {mistakes.describe(first)}", made_by) from None


def write_records(path: Path, rows: Iterable[Record]) -> int:
    """Write rows as JSONL, completely or not at all, and return their number."""
    return write_jsonl(path, (row.model_dump() for row in rows))


def read_metrics(path: Path, kind: type[M], *, made_by: str) -> M:
    """Read a stage's metrics.json.

    Args:
        path: the file.
        kind: class of its metrics.
        made_by: command that makes the file, for the message when it is missing or broken.

    Raises:
        DataError: the file is missing, or does not hold that kind of metrics.
    """
    try:
        return kind.model_validate(read_json(path, made_by=made_by))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {field}: {mistakes.describe(first)}", made_by) from None


def write_metrics(path: Path, metrics: Metrics) -> None:
    """Write metrics as JSON, completely or not at all; fields that were never given are left out."""
    write_json(path, metrics.model_dump(exclude_unset=True))
