"""How many tokens a split has, and which of its rows are too long for the context."""

from __future__ import annotations

from dataclasses import dataclass, field

from stages.common.metrics.tokenize import TokenCounts
from stages.common.plurals import counted, word
from stages.common.token_files import TokenBatch


@dataclass
class Tally:
    """Counts the tokens of a split, batch by batch.

    Args:
        context_length: length of the context in tokens.
    """

    context_length: int
    rows: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    longest: int = 0
    over_context: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def add(self, whole: TokenBatch, kept: TokenBatch) -> None:
        """Count some rows.

        Args:
            whole: the rows, uncut.
            kept: those that are left, cut to the context.
        """
        self.rows += len(kept.names)
        self.tokens += len(kept.tokens)
        self.prompt_tokens += int(kept.prompt_lengths.sum())
        self.longest = max(self.longest, int(whole.lengths.max(initial=0)))
        over = whole.over(self.context_length)
        self.over_context += [whole.names[number] for number in over.nonzero()[0]]
        if len(kept.names) < len(whole.names):
            left = set(kept.names)
            self.dropped += [name for name in whole.names if name not in left]

    def counts(self) -> TokenCounts:
        """What was counted."""
        return TokenCounts(
            rows=self.rows,
            tokens=self.tokens,
            prompt_tokens=self.prompt_tokens,
            longest=self.longest,
            over_context=self.over_context,
            dropped=self.dropped,
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
