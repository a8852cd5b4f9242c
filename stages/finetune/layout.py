"""Padding and bucketing: the lengths that a batch's tensors are padded to, since a device is faster with few shapes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stages.gpt2.runtime import Compute

#: Where a CPU computes matrix products in bf16, the tokens and the target tokens of a training batch are padded to a
#: multiple of this. oneDNN, which computes them, makes a kernel for every shape that it meets, and no two batches have
#: the same. To make them each time took as long as half the products (docs/decisions.md).
MULTIPLE = 32
#: On a GPU: the shortest buckets for a row's own tokens and for the target tokens, and what the shared prefix is cut
#: down to a multiple of. Rows of 1 to 66 own tokens, as the book's have behind their prefix, make five shapes.
ROW, TARGETS, PREFIX = 16, 128, 8


@dataclass(frozen=True)
class Layout:
    """How the rows of a batch are laid out, and what they are padded to.

    Args:
        multiple: rows are packed, one behind another, and tokens and target tokens padded to a multiple of this.
        padded: each row's own tokens are padded to one bucket instead, and so are the target tokens.
    """

    multiple: int = 1
    padded: bool = False

    def prefix(self, shared: int) -> int:
        """How many of the tokens with which all rows begin are in the batch once."""
        return shared - shared % PREFIX if self.padded else shared

    def width(self, longest: int) -> int:
        """The padded length of a row's own tokens, where the longest row has ``longest``."""
        return bucket(longest, ROW) if self.padded else longest

    def tokens(self, count: int) -> int:
        """The padded length of ``count`` packed tokens."""
        return count if self.padded else count + -count % self.multiple

    def targets(self, count: int) -> int:
        """The padded length of ``count`` target tokens."""
        return bucket(count, TARGETS) if self.padded else count + -count % self.multiple


#: Without padding.
PLAIN = Layout()


def training(compute: Compute) -> Layout:
    """The layout of training batches on a device, with matrix products in a dtype."""
    if compute.device.type == "cuda":
        return Layout(padded=True)
    return Layout(multiple=MULTIPLE) if compute.dtype == torch.bfloat16 else PLAIN


def evaluation(device: torch.device) -> Layout:
    """The layout of validation batches, which are the same at every evaluation."""
    return Layout(padded=device.type == "cuda")


def bucket(length: int, least: int) -> int:
    """The padded length: the smallest bucket that is no shorter.

    Buckets are multiples of ``least``, and further apart the longer they are. By 16 they are 16, 32, 48, ..., 256, then
    288, 320, ..., 512, then 576, ...: from 128 on less than an eighth is padding.
    """
    step = max(least, 1 << max((length - 1).bit_length() - 4, 0))
    return -(-length // step) * step
