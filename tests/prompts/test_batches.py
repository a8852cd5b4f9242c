"""Rows encoded in batches: in their order, and no more of them read than are needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from stages.common import cores
from stages.common.results.split import Example
from stages.prompts.batches import ROWS, encoded
from stages.prompts.encoding import BatchEncoder
from stages.prompts.styles import STYLES


class Bytes:
    """A tokenizer that makes a token of each byte."""

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint32)


ENCODE = BatchEncoder(STYLES["phi3"], Bytes())


def example(number: int) -> Example:
    return Example(id=str(number), instruction="x" * (1 + number % 7), input="", output="y", category="c")


def test_batches_come_in_the_order_of_the_rows() -> None:
    rows = [example(number) for number in range(9 * ROWS + 5)]

    batches = list(encoded(rows, ENCODE))

    assert [len(batch.names) for batch in batches] == [*[ROWS] * 9, 5]
    assert list(itertools.chain.from_iterable(batch.names for batch in batches)) == [row.id for row in rows]
    assert batches[9].lengths.tolist() == ENCODE(rows[-5:]).lengths.tolist()


def test_no_row_makes_no_batch() -> None:
    assert list(encoded([], ENCODE)) == []


def test_few_batches_are_read_ahead() -> None:
    read = 0

    def rows() -> Iterator[Example]:
        nonlocal read
        for number in range(1000 * ROWS):
            read += 1
            yield example(number)

    batches = encoded(rows(), ENCODE)
    next(batches)

    assert read <= (2 * cores.available() + 1) * ROWS
    batches.close()
    assert read <= (2 * cores.available() + 1) * ROWS
