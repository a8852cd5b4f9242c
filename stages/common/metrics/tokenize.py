"""What the stage tokenize counts and measures: its metrics.json."""

from __future__ import annotations

from stages.common.records import Metrics


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
