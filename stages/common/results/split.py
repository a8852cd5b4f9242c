"""What the stage split writes."""

from __future__ import annotations

from pathlib import Path

from pydantic import SerializerFunctionWrapHandler, model_serializer

from stages.common.paths import ARTIFACTS
from stages.common.records import Record

SPLIT_FOLDER = ARTIFACTS / "split"
SPLIT_METRICS = SPLIT_FOLDER / "metrics.json"
#: What the checks of the rows found, as figures and as a page to read.
GATE_REPORT = SPLIT_FOLDER / "report.json"
GATE_PAGE = SPLIT_FOLDER / "report.html"

#: The names of the splits, in the book's order (chapter 7.2: train, then test, then validation).
SPLITS = ("train", "test", "val")


def split_file(name: str) -> Path:
    """The rows of split ``name``, one Example a line."""
    return SPLIT_FOLDER / f"{name}.jsonl"


class Example(Record):
    """One row of the dataset.

    Args:
        source: name of the source of the row, where the dataset is a mix of several; else None, and absent in files.
    """

    id: str
    instruction: str
    input: str
    output: str
    category: str
    source: str | None = None

    @model_serializer(mode="wrap")
    def _without_nothing(self, write: SerializerFunctionWrapHandler) -> dict[str, str]:
        fields: dict[str, str] = write(self)
        if self.source is None:
            fields.pop("source", None)
        return fields
