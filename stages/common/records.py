"""The rows that pass from stage to stage, how they are read and written, and the words that several stages share.

Rows of different stages belong together by their ``id``, never by their position in a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from stages.common.errors import DataError
from stages.common.files import read_jsonl, write_jsonl

#: Which model an answer comes from: the one downloaded, or the one fine-tuned here.
ModelName = Literal["base", "tuned"]
#: Why an answer ended: at an end-of-text, at the longest length asked for, or where the model's context is full.
StopReason = Literal["end_of_text", "max_new_tokens", "context"]
PromptStyleName = Literal["alpaca", "phi3"]
#: Which tokens of a row count in the loss.
LossOn = Literal["all", "response"]
#: The dtype of matrix products; auto: bf16 where the machine has units for it, else fp32.
Precision = Literal["auto", "fp32", "bf16"]
#: scored: it has a score. invalid: the judge answered, but not with a score. failed: no answer could be had.
VerdictStatus = Literal["scored", "invalid", "failed"]


class Record(BaseModel):
    """A row: immutable, with exactly the fields named."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Example(Record):
    """One row of the dataset."""

    id: str
    instruction: str
    input: str
    output: str
    category: str


class Encoded(Record):
    """One row as token ids: the prompt's, then the response's, then one end-of-text."""

    id: str
    ids: list[int]
    prompt_length: int


class Response(Record):
    """One model's answer to one test row. ``tokens`` counts the ids made, an end-of-text included."""

    id: str
    model: ModelName
    text: str
    stop_reason: StopReason
    tokens: int


class Verdict(Record):
    """One judge's word on one answer; ``score`` (0 to 100) is there if and only if ``status`` is "scored".

    ``detail`` holds the measures behind a score, or says why there is none. ``spread`` is the standard deviation of the
    scores behind a mean, where the judge was asked several times. ``exact``: the answer is equal to the reference.
    ``cluster`` is a hash of the instruction: rows that share one are not independent of one another. ``faults``
    are what can be seen to be wrong with the answer without a judge (stages/judge/scores/faults.py).
    """

    id: str
    model: ModelName
    status: VerdictStatus
    score: float | None
    detail: str
    spread: float | None = None
    exact: bool = False
    cluster: str = ""
    faults: list[str] = []


R = TypeVar("R", bound=Record)


def read_records(path: Path, kind: type[R], *, made_by: str) -> Iterator[R]:
    """Yield the rows of a JSONL file.

    Args:
        path: the file.
        kind: the class of its rows.
        made_by: the command that makes the file, told to the user when it is missing or broken.

    Raises:
        DataError: the file is missing, or a line is not a row of that kind.
    """
    for number, value in read_jsonl(path, made_by=made_by):
        try:
            yield kind.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "the row"
            raise DataError(f"{path}, line {number}: {field}: {first['msg']}", made_by) from None


def write_records(path: Path, rows: Iterable[Record]) -> int:
    """Write rows as JSONL, whole or not at all, and return their number."""
    return write_jsonl(path, (row.model_dump() for row in rows))
