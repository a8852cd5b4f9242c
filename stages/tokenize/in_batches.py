"""The token file of a split: its rows read, encoded in batches, and written in their order."""

from __future__ import annotations

from collections.abc import Iterator

from stages.common import token_files
from stages.common.errors import ConfigError
from stages.common.metrics.tokenize import TokenCounts
from stages.common.plurals import counted
from stages.common.records import read_records
from stages.common.results.split import Example, split_file
from stages.common.results.tokenize import tokens_file
from stages.common.token_files import TokenBatch
from stages.prompts.batches import encoded
from stages.prompts.encoding import BatchEncoder
from stages.running import counting
from stages.tokenize.counts import Tally


def write_tokens(split: str, encode: BatchEncoder, context_length: int) -> TokenCounts:
    """Write the token ids of a split, and return its counts.

    Raises:
        DataError: the rows of the split are missing or broken.
        ConfigError: no row fits the context.
    """
    tally, path = Tally(context_length), split_file(split)

    def batches() -> Iterator[TokenBatch]:
        rows = counting.told(examples(split), total=counting.lines_of(path), what=f"tokenize {split}")
        for whole in encoded(rows, encode):
            # Test prompts are not cut: the stage generate tells which of them leave no room for an answer.
            kept = whole if split == "test" else whole.cut(context_length)
            tally.add(whole, kept)
            yield kept
        if not tally.rows:
            raise ConfigError(
                f"{path}: no row has a prompt shorter than {counted(context_length, 'token')}",
                "raise tokenize.context_length in params.yaml",
            )

    token_files.write(tokens_file(split), batches())
    return tally.counts()


def examples(split: str) -> Iterator[Example]:
    """The rows of a split, as they are asked for."""
    return read_records(split_file(split), Example, made_by="dvc repro split")
