"""What the stage tokenize writes."""

from __future__ import annotations

from pathlib import Path

from stages.common.paths import ARTIFACTS
from stages.common.records import Record

TOKENS_FOLDER = ARTIFACTS / "tokenize"
TOKENS_FORMAT = TOKENS_FOLDER / "format.json"
TOKENS_METRICS = TOKENS_FOLDER / "metrics.json"
#: Some rows with their labels, as a page to read.
TOKENS_PAGE = TOKENS_FOLDER / "shown.html"


def tokens_file(name: str) -> Path:
    """The tokenised rows of split ``name``, an Arrow file (`stages.common.token_files`)."""
    return TOKENS_FOLDER / f"{name}.arrow"


class Encoded(Record):
    """One row as token ids: the prompt's, then the response's, then one end-of-text."""

    id: str
    ids: list[int]
    prompt_length: int
