"""How many tokens a split has, and which of its rows are too long for the context."""

from __future__ import annotations

from collections.abc import Sequence

from stages.common.metrics.tokenize import TokenCounts
from stages.common.plurals import counted, word
from stages.common.results.tokenize import Encoded


def count(whole: Sequence[Encoded], kept: Sequence[Encoded], context_length: int) -> TokenCounts:
    """Count the tokens of a split.

    Args:
        whole: all rows of the split, uncut; at least one.
        kept: the rows that are left, cut to the context.
        context_length: length of the context in tokens.
    """
    kept_ids = {row.id for row in kept}
    return TokenCounts(
        rows=len(kept),
        tokens=sum(len(row.ids) for row in kept),
        prompt_tokens=sum(row.prompt_length for row in kept),
        longest=max(len(row.ids) for row in whole),
        over_context=[row.id for row in whole if len(row.ids) > context_length],
        dropped=[row.id for row in whole if row.id not in kept_ids],
    )


def describe(counts: TokenCounts) -> str:
    """One line about a split."""
    line = f"{counted(counts.rows, 'row')}, {counted(counts.tokens, 'token')}, the longest {counts.longest}"
    if counts.over_context:
        line += f"; {len(counts.over_context)} longer than tokenize.context_length"
    if counts.dropped:
        fill = word(len(counts.dropped), "its prompt alone fills", "their prompts alone fill")
        line += f"; {len(counts.dropped)} dropped, {fill} it"
    return line
