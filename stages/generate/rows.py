"""The test rows and their references, as they are read for answering."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from stages.common.errors import DataError
from stages.common.records import read_records
from stages.common.results.split import Example, split_file
from stages.common.results.tokenize import Encoded, tokens_file
from stages.common.token_files import TokenRows
from stages.gpt2.tokenizer import VOCABULARY_SIZE

TOKENIZE = "dvc repro --force tokenize"


@dataclass(frozen=True)
class Rows:
    """The size of the test set.

    Args:
        count: number of rows.
        longest: tokens of the longest prompt.
    """

    count: int
    longest: int


def check() -> Rows:
    """Check all test rows and their references. Only ids are held in memory, 100,000 in about 10 MB.

    Raises:
        DataError: there are no rows; a row has no prompt, no response or ids outside GPT-2's vocabulary; two rows have
            the same id; or the references are not those of the rows.
    """
    path, split = tokens_file("test"), split_file("test")
    seen: set[str] = set()
    longest = 0
    for row, example in itertools.zip_longest(tokens(), references()):
        if row is None or example is None or row.id != example.id:
            expected, found = ("the end" if one is None else f"the row {one.id}" for one in (row, example))
            raise DataError(f"{split}: expected {expected}, found {found}", TOKENIZE)
        _check_row(row)
        if row.id in seen:
            raise DataError(f"{path}: two rows have the id {row.id}", "dvc repro --force split")
        seen.add(row.id)
        longest = max(longest, row.prompt_length)
    if not seen:
        raise DataError(f"{path}: no rows to answer", TOKENIZE)
    return Rows(len(seen), longest)


def _check_row(row: Encoded) -> None:
    path = tokens_file("test")
    if not 0 < row.prompt_length < len(row.ids):
        most = len(row.ids) - 1
        raise DataError(
            f"{path}, row {row.id}: prompt_length: expected 1 to {most}, found {row.prompt_length}", TOKENIZE
        )
    if not 0 <= min(row.ids) <= max(row.ids) < VOCABULARY_SIZE:
        raise DataError(f"{path}, row {row.id}: ids: expected 0 to {VOCABULARY_SIZE - 1}", TOKENIZE)


def tokens() -> Iterator[Encoded]:
    """The test rows as token ids, in the order of the file."""
    return iter(TokenRows(tokens_file("test"), made_by="dvc repro tokenize"))


def references() -> Iterator[Example]:
    """The test rows as text, in the same order."""
    return read_records(split_file("test"), Example, made_by="dvc repro split")


def windows(size: int) -> Iterator[list[Encoded]]:
    """The test rows, ``size`` at a time."""
    rows = tokens()
    while window := list(itertools.islice(rows, size)):
        yield window
