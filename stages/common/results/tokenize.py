"""What the stage tokenize writes."""

from __future__ import annotations

from pathlib import Path

from stages.common.paths import ARTIFACTS
from stages.common.records import Record

TOKENS_FOLDER = ARTIFACTS / "tokenize"
TOKENS_FORMAT = TOKENS_FOLDER / "format.json"
TOKENS_METRICS = TOKENS_FOLDER / "metrics.json"


def tokens_file(name: str) -> Path:
    """The tokenised rows of split ``name``, one Encoded a line."""
    return TOKENS_FOLDER / f"{name}.jsonl"


class Encoded(Record):
    """One row as token ids: the prompt's, then the response's, then one end-of-text."""

    id: str
    ids: list[int]
    prompt_length: int
