"""The KV cache: keys and values of the rows that are being answered, in memory that is allocated once."""

from __future__ import annotations

import math
import mmap

import torch
from torch import Tensor

from stages.gpt2.model import GPT2Config

#: Positions that a cache grows by; on a GPU each length has CUDA graphs of its own (`stages.gpt2.captured_decoding`).
GROWTH, GROWTH_ON_GPU = 16, 64
#: A cache shrinks where at most this share of its positions is needed.
SHRUNK_AT = 3 / 4


class KVCache:
    """Slots for rows, each with the keys and values of a row's positions.

    The rows in use have the slots from 0 to ``rows`` - 1. Each has as many positions as the longest has reached,
    rounded up, so that the cached keys of a layer are contiguous: otherwise PyTorch copies them for every product.
    Memory that no position has reached is never touched, and on a CPU takes no space.

    Args:
        config: sizes of the model.
        slots: the most rows at a time.
        length: length of the longest sequence.
        dtype: dtype of the model.
        device: device of the model.

    Attributes:
        slots: the most rows at a time.
        data: [layer, key or value, slots, H, S, D], S being the current number of positions. Every number is finite, as
            what is masked must not be NaN: it is 0, or was written for some row and position before.
        rows: number of slots in use, B.
    """

    def __init__(self, config: GPT2Config, slots: int, length: int, dtype: torch.dtype, device: torch.device) -> None:
        self.slots = slots
        self._length = length
        self._growth = GROWTH_ON_GPU if device.type == "cuda" else GROWTH
        self._sizes = (config.n_layer, 2, slots, config.n_head, config.n_embd // config.n_head)
        self._memory = _zeros((config.n_layer, 2, math.prod(self._sizes[2:]) * length), dtype, device)
        self.data = self._view(0)
        self.rows = 0

    @property
    def span(self) -> int:
        """S, the current number of positions."""
        return int(self.data.shape[-2])

    def begin(self, count: int, span: int, prefix: KVCache | None = None) -> None:
        """Take ``count`` more rows into the next slots, with at least the positions below ``span``.

        Each begins with the first row of ``prefix``.

        Args:
            count: number of rows; they and those that are there have room in the slots.
            span: number of positions, from 0.
            prefix: a cache of one row or more, with keys and values of the tokens that all new rows begin with.
        """
        if span > self.span:
            self._resize(self._rounded(span))
        new = self.data[:, :, self.rows : self.rows + count]
        self.rows += count
        if prefix is not None:
            new[..., : prefix.span, :] = prefix.data[:, :, :1]

    def fit(self, span: int) -> None:
        """Have the positions below ``span``, which no row exceeds, and not many more."""
        wanted, current = self._rounded(span), self.span
        if wanted > current or wanted <= current * SHRUNK_AT:
            self._resize(wanted)

    def leave(self, row: int) -> None:
        """Free the slot of a row; the last row moves into it."""
        self.rows -= 1
        if row < self.rows:
            self.data[:, :, row] = self.data[:, :, self.rows]

    def _rounded(self, span: int) -> int:
        return min(-(-span // self._growth) * self._growth, self._length)

    def _view(self, span: int) -> Tensor:
        layers, parts, slots, heads, width = self._sizes
        size = slots * heads * span * width
        return self._memory[..., :size].view(layers, parts, slots, heads, span, width)

    def _resize(self, span: int) -> None:
        """Move what is kept to where it is in a layout of ``span`` positions."""
        old, self.data = self.data, self._view(span)
        kept = min(old.shape[-2], self.span)
        for before, after in zip(old.flatten(0, 1), self.data.flatten(0, 1), strict=True):
            moved = before[: self.rows, :, :kept].clone()
            after[: self.rows, :, :kept] = moved


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros; on a CPU pages from the kernel, which take neither memory nor time before they are written."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    # torch.zeros writes every page, and the first touch of its memory takes five times as long (docs/decisions.md).
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=dtype).view(shape)
