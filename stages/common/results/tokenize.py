"""What the stage tokenize writes."""

from __future__ import annotations

from pathlib import Path

from stages.common.paths import ARTIFACTS
from stages.common.records import Metrics, Record

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


class TokenCounts(Metrics):
    """The tokens of a split.

    Args:
        rows: rows kept.
        tokens: tokens of the rows kept.
        prompt_tokens: tokens of their prompts.
        longest: tokens of the longest row, before any is cut.
        over_context: ids of the rows that are longer than tokenize.context_length.
        dropped: ids of the rows of which no response token is left.
    """

    rows: int
    tokens: int
    prompt_tokens: int
    longest: int
    over_context: list[str]
    dropped: list[str]


class TokenizeMetrics(Metrics):
    """The tokens of each split."""

    train: TokenCounts
    test: TokenCounts
    val: TokenCounts
