"""Rows of a training batch packed into one sequence, their shared prefix only once.

Only attention mixes tokens, so everywhere else each distinct token is computed exactly once. In attention a row's own
tokens see the shared prefix as if each row had it. Its gradients are summed over the rows.

Shape letters: N tokens in the packed sequence, P in the shared prefix, B rows, T own tokens of the longest row,
S = P + T, H heads, D width of a head.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.gpt2.dropout import Dropout
from stages.gpt2.model import scaled_dot_product

#: The most attention weights of a layer that a CPU keeps for the backward pass: 8 MB in fp32. Attention is then three
#: to seven times as fast as PyTorch's, which recomputes them (docs/decisions.md).
KEPT_WEIGHTS = 1 << 21


def shared_prefix_length(rows: Sequence[Sequence[int]], *, leaving: int) -> int:
    """How many ids all rows begin with alike, leaving each at least ``leaving`` ids of its own; 0 for a single row.

    [1, 2, 3] and [1, 2, 4, 5] share 2, [1, 2] and [1, 2, 3] share 1 if each is left 1 id.
    """
    if len(rows) < 2:
        return 0
    # Of sequences in order, the first and the last differ earliest.
    ordered = [list(row) for row in rows]
    pairs = zip(min(ordered), max(ordered), strict=False)
    shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return max(min(shared, min(map(len, rows)) - leaving), 0)


def keeps_weights(prefix: int, rows: int, width: int, heads: int) -> bool:
    """Whether a CPU keeps the attention weights of ``rows`` rows of ``width`` own tokens behind a shared prefix.

    It does where they are few, and where the shared tokens, cut into rows of ``width``, make no more rows than there
    are. Each of these rows has copies of all shared keys and values. For a long prefix before short rows PyTorch's own
    attention makes one copy only.

    Args:
        prefix: tokens of the shared prefix.
        rows: number of rows.
        width: tokens that the longest row has of its own.
        heads: attention heads.
    """
    chunks = _chunks(prefix, width)
    weights = (rows + chunks) * heads * width * (prefix + width)
    return weights <= KEPT_WEIGHTS and chunks <= rows


def _chunks(prefix: int, width: int) -> int:
    """Rows of ``width`` tokens, the last one perhaps shorter, that a shared prefix makes."""
    return -(-prefix // width)


@dataclass(frozen=True)
class PackedRows:
    """How the tokens of a packed sequence attend to one another: first the P shared ones, then each row's own.

    The rows [1, 2, 3], [1, 2, 4, 5] with P = 2 are packed as 1 2 3 4 5.

    Args:
        prefix: tokens of the shared prefix, P.
        rows: number of rows, B.
        width: own tokens of the longest row, T.
        grid: [N - P] int64, the index of each own token in a padded [B * T]: here 0, 2, 3 of 4.
    """

    prefix: int
    rows: int
    width: int
    grid: Tensor

    @property
    def end(self) -> int:
        """Tokens that belong to rows; those after them are padding, which nothing attends to."""
        return self.prefix + len(self.grid)

    @functools.cached_property
    def mask(self) -> Tensor:
        """[T, S] bool: an own token sees the whole prefix, and its own row up to itself."""
        square = torch.ones(self.width, self.width, dtype=torch.bool, device=self.grid.device).tril()
        return F.pad(square, (self.prefix, 0), value=True)

    def __call__(self, layer: int, qkv: Tensor, drop: Dropout | None = None) -> Tensor:
        """Mix the values of one layer: [N, 3, H, D] to [N, H, D].

        Args:
            layer: index of the layer.
            qkv: queries, keys and values.
            drop: what is dropped of the attention weights, where no prefix is shared; None: nothing.
        """
        heads = qkv.shape[2]
        if drop is not None:
            return self._with_dropout(layer, qkv, drop)
        if qkv.device.type == "cpu" and keeps_weights(self.prefix, self.rows, self.width, heads):
            mixed: Tensor = _Attention.apply(qkv, self._gather_index(heads, len(qkv)))
            return mixed
        return self._by_pytorch(*qkv.unbind(1))

    def _with_dropout(self, layer: int, qkv: Tensor, drop: Dropout) -> Tensor:
        assert not self.prefix, "the shared tokens have another mask in every row"
        rows = self._padded(qkv[: self.end])  # [B, T, 3, H, D]
        mixed = self._unpadded(attention_with_dropout(layer, rows, drop))
        return torch.cat([mixed, qkv.new_zeros(len(qkv) - self.end, *mixed.shape[1:])])

    def _by_pytorch(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        own = [self._padded(part[self.prefix : self.end]) for part in (query, key, value)]  # [B, T, H, D] each
        padding = query.new_zeros(len(query) - self.end, *query.shape[1:])
        if not self.prefix:
            mixed = self._unpadded(scaled_dot_product(*own, is_causal=True))
            return torch.cat([mixed.to(query.dtype), padding])
        shared = [part[None, : self.prefix] for part in (query, key, value)]  # [1, P, H, D] each
        expanded = [part.expand(self.rows, -1, -1, -1) for part in shared]
        keys, values = (torch.cat([expanded[part], own[part]], dim=1) for part in (1, 2))  # [B, S, H, D]
        mixed = self._unpadded(scaled_dot_product(own[0], keys, values, mask=self.mask))
        first = scaled_dot_product(*shared, is_causal=True)[0]
        return torch.cat([first.to(query.dtype), mixed.to(query.dtype), padding])

    def _padded(self, part: Tensor) -> Tensor:
        """[N - P, H, D] to [B, T, H, D], zero where a row is shorter."""
        grid = part.new_zeros(self.rows * self.width, *part.shape[1:])
        return grid.index_copy(0, self.grid, part).unflatten(0, (self.rows, self.width))

    def _unpadded(self, part: Tensor) -> Tensor:
        """[B, T, H, D] to [N - P, H, D]."""
        return part.flatten(0, 1).index_select(0, self.grid)

    def _gather_index(self, heads: int, tokens: int) -> _GatherIndex:
        """The `_GatherIndex` for so many heads and tokens, made for the first layer and kept for the others."""
        kept: dict[tuple[int, int], _GatherIndex] = self.__dict__.setdefault("_kept_index", {})
        if (heads, tokens) not in kept:
            kept[heads, tokens] = _GatherIndex(self, heads, tokens)
        return kept[heads, tokens]


@dataclass(frozen=True)
class PaddedRows:
    """How the tokens of a packed sequence attend to one another where each row is padded to T own tokens.

    The rows [1, 2, 3], [1, 2, 4, 5] with P = 2 are packed as 1 2 3 . 4 5. Padding comes after a row's tokens, so that
    none of them sees it, and causal attention needs no mask. On a GPU PyTorch has kernels for that which never write
    the weights to memory (Dao 2023, arXiv 2307.08691). There every row has a copy of the shared prefix. Its output is
    taken from the first row alone, so that its gradients are right.

    Args:
        prefix: tokens of the shared prefix, P.
        rows: number of rows, B.
        width: own tokens of each row, padding included, T.
    """

    prefix: int
    rows: int
    width: int

    def __call__(self, layer: int, qkv: Tensor, drop: Dropout | None = None) -> Tensor:
        """Mix the values of one layer: [P + B * T, 3, H, D] to [P + B * T, H, D]; arguments as of `PackedRows`."""
        if drop is not None:
            assert not self.prefix, "the shared tokens have another mask in every row"
            return attention_with_dropout(layer, qkv.unflatten(0, (self.rows, self.width)), drop).flatten(0, 1)
        if not self.prefix:
            rows = qkv.unflatten(0, (self.rows, self.width))
            return self._mixed(rows).flatten(0, 1)
        # The gradient of a split is one tensor; those of slices would be padded with zeros and summed.
        shared, own = qkv.split([self.prefix, self.rows * self.width])
        own = own.unflatten(0, (self.rows, self.width))
        rows = torch.cat([shared.expand(self.rows, -1, -1, -1, -1), own], dim=1)  # [B, S, 3, H, D]
        shared, own = self._mixed(rows).split([self.prefix, self.width], dim=1)
        return torch.cat([shared[0], own.flatten(0, 1)])

    def _mixed(self, qkv: Tensor) -> Tensor:
        """[B, S, 3, H, D] to [B, S, H, D]."""
        return scaled_dot_product(*qkv.unbind(2), is_causal=True).to(qkv.dtype)


def attention_with_dropout(layer: int, rows: Tensor, drop: Dropout) -> Tensor:
    """Causal attention of rows of tokens that drops weights: [B, T, 3, H, D] to [B, T, H, D].

    PyTorch's own attention draws a mask for the whole batch. The weights are in fp32, as they are there. Products are
    in the dtype of the rows, but on a CPU in fp32 (`stages.gpt2.model.scaled_dot_product`).

    Args:
        layer: number of the layer, from 0: each drops other weights.
        rows: queries, keys and values.
        drop: what is dropped; it has a key for each row.
    """
    dtype = rows.dtype
    if rows.device.type == "cpu" and dtype == torch.bfloat16:
        rows = rows.float()
    query, key, value = rows.permute(2, 0, 3, 1, 4)  # [B, H, T, D] each
    scores = (query * query.shape[-1] ** -0.5) @ key.mT
    later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=rows.device).triu(1)
    weights = scores.masked_fill_(later, -torch.inf).softmax(-1, dtype=torch.promote_types(rows.dtype, torch.float32))
    mixed = drop.of_weights(weights, layer).to(value.dtype) @ value
    return mixed.transpose(1, 2).to(dtype)


class _GatherIndex:
    """Which of a packed sequence's [N * 3 * H] vectors are the queries, keys and values of all rows, and the way back.

    The shared prefix is cut into further rows of T tokens, in front of the others: each sees those before it, as every
    other row sees the whole prefix. So there are B' = B + C rows, C from `_chunks`. Each token of the packed
    sequence occurs in exactly one of them.

    Padding in the padded grids points to the first token. No real token sees it as a key, and as a query `occupied`
    zeroes its gradient.

    Args:
        rows: the batch.
        heads: number of heads, H.
        tokens: tokens of the packed sequence, N.
    """

    def __init__(self, rows: PackedRows, heads: int, tokens: int) -> None:
        self.end = rows.end
        own, shared = rows.width, rows.prefix
        chunks = _chunks(shared, own)
        count, span = chunks + rows.rows, shared + own
        self.shape = (count, heads, own, span)
        # [N - padding], the index of each token in the padded [B' * T].
        grid = torch.cat([torch.arange(shared), chunks * own + rows.grid])
        # [B', T], the index in the packed sequence of each row's tokens.
        packed = torch.zeros(count * own, dtype=torch.int64).index_copy_(0, grid, torch.arange(rows.end))
        packed = packed.view(count, own)
        self.occupied = torch.zeros(count * own).index_fill_(0, grid, 1.0).view(count, 1, own, 1)
        keys = torch.cat([torch.arange(shared).expand(count, -1), packed], dim=1)  # [B', S]
        head = torch.arange(heads)[:, None]
        self.query, self.key, self.value = (
            ((indices[:, None] * 3 + part) * heads + head).flatten()  # of [B', H, T] and twice [B', H, S]
            for part, indices in enumerate((packed, keys, keys))
        )
        self.mixed = (packed[:, None] * heads + head).flatten()  # of [B', H, T], among the [N * H] outputs
        # The index of each token's three vectors a head in [B' * H * T], then twice [B' * H * S], then one of zeros.
        self.zeros = count * heads * (own + 2 * span)
        row, column = grid // own, grid % own
        starts = ((0, own, 0), (count * heads * own, span, shared), (count * heads * (own + span), span, shared))
        back = torch.stack(
            [
                start + (row[:, None] * heads + head.T) * length + offset + column[:, None]
                for start, length, offset in starts
            ],
            dim=1,
        )  # [N - padding, 3, H]
        padding = (0, 0, 0, 0, 0, tokens - rows.end)
        self.back = F.pad(back, padding, value=self.zeros).flatten()  # of [N, 3, H]
        self.mixed_back = F.pad(back, padding)[:, 0].flatten()  # of [N, H]
        self.mask = _mask(rows, chunks)


def _mask(rows: PackedRows, chunks: int) -> Tensor:
    """[B', 1, T, S]: 0 where a token attends, -inf elsewhere."""
    before = [chunk * rows.width for chunk in range(chunks)] + [rows.prefix] * rows.rows
    shared = torch.arange(rows.prefix) < torch.tensor(before)[:, None, None]  # [B', 1, P]
    own = torch.ones(rows.width, rows.width, dtype=torch.bool).tril()
    seen = torch.cat([shared.expand(-1, rows.width, -1), own.expand(len(before), -1, -1)], dim=-1)
    return torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf)[:, None]


class _Attention(torch.autograd.Function):
    """Attention over packed rows that keeps its weights for the backward pass.

    The weights are in at least fp32, their products with the values in the model's dtype. In bf16 the gradient of a
    shared token, summed over the rows, is rounded before that of the prefix itself is added.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, index: _GatherIndex) -> Tensor:
        query, key, value = _gathered(qkv, index)
        scores = in_fp32(query, key).mul_(query.shape[-1] ** -0.5)
        weights = scores.view(index.shape).add_(index.mask).softmax(-1).flatten(0, 1)
        ctx.index = index
        ctx.save_for_backward(qkv, weights)
        mixed = (weights.to(value.dtype) @ value).flatten(0, 1).index_select(0, index.mixed_back)
        mixed = mixed.view(len(qkv), *qkv.shape[2:])
        mixed[index.end :] = 0
        return mixed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        [gradient], index = gradients, ctx.index
        qkv, weights = ctx.saved_tensors
        count, heads, own, span = index.shape
        query, key, value = _gathered(qkv, index)
        gradient = gradient.reshape(-1, qkv.shape[-1]).index_select(0, index.mixed).view(count, heads, own, -1)
        gradient = (gradient * index.occupied.to(gradient.dtype)).flatten(0, 1)
        of_weights = in_fp32(gradient, value)
        # Backwards through softmax: each weight times its gradient less the weighted mean of all.
        of_weights -= (of_weights * weights).sum(-1, keepdim=True)
        of_scores = of_weights.mul_(weights).mul_(query.shape[-1] ** -0.5).to(query.dtype)
        found = qkv.new_empty(index.zeros + 1, qkv.shape[-1])
        found[index.zeros] = 0
        sizes = [part.shape[0] * part.shape[1] for part in (query, key, value)]
        of_query, of_key, of_value = (part.view(count * heads, -1, qkv.shape[-1]) for part in found[:-1].split(sizes))
        torch.bmm(of_scores, key, out=of_query)
        torch.bmm(of_scores.mT, query, out=of_key)
        torch.bmm(weights.to(value.dtype).mT, gradient, out=of_value)
        result = found.index_select(0, index.back).view(qkv.shape)
        shared = span - own
        for part, of_part in enumerate((of_key, of_value), 1) if shared else ():
            summed = of_part.view(count, heads, span, -1)[:, :, :shared].sum(0)  # [H, P, D]
            result[:shared, part] += summed.transpose(0, 1)
        return result, None


def _gathered(qkv: Tensor, index: _GatherIndex) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [B' * H, T, D], keys and values [B' * H, S, D]."""
    count, heads, own, span = index.shape
    vectors = qkv.reshape(-1, qkv.shape[-1])
    query, key, value = (
        vectors.index_select(0, chosen).view(count * heads, length, -1)
        for chosen, length in ((index.query, own), (index.key, span), (index.value, span))
    )
    return query, key, value


def in_fp32(a: Tensor, b: Tensor) -> Tensor:
    """The batched product ``a @ b.mT`` in at least fp32: [..., n, D] and [..., m, D] to [..., n, m].

    bf16 factors are given to oneDNN as fp32 that it may round to bf16, which changes nothing about them. It takes half
    the time of PyTorch's fp32 product and still sums in fp32.
    """
    if a.dtype != torch.bfloat16:
        return a @ b.mT
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "bf16"
        return a.float() @ b.float().mT
    finally:
        matmul.fp32_precision = before
