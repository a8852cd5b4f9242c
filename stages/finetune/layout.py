"""The lengths that a batch's tensors are filled up to: a device is faster where it meets few shapes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

#: What a training batch's line and targets are filled up to a multiple of where a CPU makes matrix products in bf16:
#: oneDNN, which does them, makes a kernel for every shape that it meets, and no two batches have the same. Made anew
#: each time these took as long as half the products (docs/decisions.md).
LINE = 32
#: On a GPU: the shortest lengths of a row's own tokens and of the targets, and what the common beginning is cut down
#: to a multiple of. `bucket` makes of rows of 1 to 66 tokens, as the book's have behind their beginning, five shapes.
ROW, TARGETS, PREFIX = 16, 64, 8


@dataclass(frozen=True)
class Layout:
    """How rows lie in a batch, and what they are filled up to.

    Args:
        line: rows lie behind one another, and line and targets are filled up to a multiple of so many.
        padded: each row's own tokens take the same length instead, one of a few, and the line and its targets too.
    """

    line: int = 1
    padded: bool = False

    def prefix(self, common: int) -> int:
        """How many of the tokens that all rows begin with are there once."""
        return common - common % PREFIX if self.padded else common

    def width(self, longest: int) -> int:
        """The length that a row's own tokens take, where the longest row has so many."""
        return bucket(longest, ROW) if self.padded else longest

    def tokens(self, count: int) -> int:
        """The length of a line of so many tokens."""
        return count if self.padded else count + -count % self.line

    def targets(self, count: int) -> int:
        """How many targets so many are filled up to."""
        return bucket(count, TARGETS) if self.padded else count + -count % self.line


#: Nothing is filled up.
PLAIN = Layout()


def training(device: torch.device, dtype: torch.dtype) -> Layout:
    """The layout of training batches on a device, with matrix products in ``dtype``."""
    if device.type == "cuda":
        return Layout(padded=True)
    return Layout(line=LINE) if dtype == torch.bfloat16 else PLAIN


def evaluation(device: torch.device) -> Layout:
    """The layout of validation batches, which come again at every evaluation as they are."""
    return Layout(padded=device.type == "cuda")


def bucket(length: int, least: int) -> int:
    """The smallest of a few lengths that is no shorter: multiples of ``least``, and further apart the longer they are.

    By 16: 16, 32, 48, ..., 256, then 288, 320, ..., 512, then 576, ...: from 128 on less than an eighth is filling.
    """
    step = max(least, 1 << max((length - 1).bit_length() - 4, 0))
    return -(-length // step) * step
