"""Dropout whose masks depend on the row, and not on what the row is computed with.

PyTorch's own dropout draws a mask for a whole tensor, so that a row's mask depends on its neighbours, on padding and on
the number of micro-batches and processes. Here each number of a mask is a hash of the row, the position, the module and
the channel (a counter-based generator, as in Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). It is
made by integer arithmetic alone, so that a CPU and a GPU make the same masks, and a CUDA graph can replay it. On a CPU
it takes a quarter of the time of PyTorch's (docs/decisions.md).

The mixing steps are those of the 32-bit hash lowbias32 by C. Wellons. Its last rounds are left out where a mask is
made: only the highest bits count there, and they are mixed by then.

Shape letters: N tokens in a batch, C width, B rows, T tokens of the longest row, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def _signed(number: int) -> int:
    """The low 32 bits of a number as int32 has them."""
    number &= 0xFFFFFFFF
    return number - (1 << 32) if number >> 31 else number


_FIRST, _SECOND = _signed(0x7FEB352D), _signed(0x846CA68B)
#: 2^32 over the golden ratio: multiples of it differ in all their bits.
_GOLDEN = _signed(0x9E3779B1)
#: Modules of a block that drop: attention weights, the attention's output, the MLP's output.
_OF_A_BLOCK = 3
WEIGHTS, ATTENTION, MLP = range(1, _OF_A_BLOCK + 1)
#: The module that drops before all blocks: the sum of both embeddings.
EMBEDDING = 0


@dataclass(frozen=True)
class Dropout:
    """The masks of the rows of one batch in one optimiser step.

    Args:
        rate: share that is dropped, at least 0 and less than 1; what is kept is divided by one less this.
        rows: [B] int32, a key of each row in this step.
        tokens: [N] int32, a key of each token, from its row's key and its position (`token_keys`); any for padding.
    """

    rate: float
    rows: Tensor
    tokens: Tensor

    def __call__(self, x: Tensor, module: int, layer: int = 0) -> Tensor:
        """Drop from what a module gives: [N, C] to [N, C].

        Args:
            x: output of the module.
            module: `EMBEDDING`, `ATTENTION` or `MLP`.
            layer: index of the block.
        """
        keys = _mixed(self.tokens ^ _module_key(module, layer))
        return self._dropped(x, keys[:, None], x.shape[-1])

    def of_weights(self, weights: Tensor, layer: int) -> Tensor:
        """Drop from attention weights: [B, H, T, T] to the same; keys and queries are numbered from a row's beginning.

        Args:
            weights: weights of each query (last but one dimension) over the keys.
            layer: index of the block.
        """
        _, heads, queries, keys = weights.shape
        row = _mixed(self.rows ^ _module_key(WEIGHTS, layer))[:, None, None]
        head, query = _numbers(heads, weights)[:, None], _numbers(queries, weights)
        each = _mixed(_mixed(row ^ (head * _GOLDEN)) ^ (query * _GOLDEN))  # [B, H, T]
        return self._dropped(weights, each[..., None], keys)

    def _dropped(self, x: Tensor, keys: Tensor, count: int) -> Tensor:
        """[..., count], where ``keys`` [..., 1] say which mask each vector has."""
        bits = keys ^ (_numbers(count, x) * _GOLDEN)
        bits.mul_(_FIRST)
        bits.bitwise_xor_(_shifted(bits, 15)).mul_(_SECOND)
        kept = bits >= _threshold(self.rate)
        return x.mul(kept).mul_(1 / (1 - self.rate))


def token_keys(rows: Tensor, row_of: Tensor, positions: Tensor) -> Tensor:
    """A key of each token: [B] int32 keys of rows, [N] int64 index of a token's row and its position, to [N] int32."""
    return _mixed(rows[row_of] ^ (positions.to(torch.int32) * _GOLDEN))


def row_key(seed: int) -> int:
    """A row's key, from a seed for it and the step: its low 32 bits."""
    return _signed(seed)


def _module_key(module: int, layer: int) -> int:
    return _signed((module + _OF_A_BLOCK * layer) * 0x85EBCA6B + 1)


def _threshold(rate: float) -> int:
    """The least number that is kept, of numbers that are evenly distributed over int32."""
    return min(round(rate * (1 << 32)), (1 << 32) - 1) - (1 << 31)


def _numbers(count: int, like: Tensor) -> Tensor:
    return torch.arange(count, dtype=torch.int32, device=like.device)


def _mixed(x: Tensor) -> Tensor:
    """Numbers in int32 of which each bit depends on every bit of the given ones."""
    x = (x ^ _shifted(x, 16)) * _FIRST
    x = (x ^ _shifted(x, 15)) * _SECOND
    return x ^ _shifted(x, 16)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shifted to the right, with zeros from the left: torch repeats the sign."""
    return (x >> bits).bitwise_and_((1 << (32 - bits)) - 1)
