"""Rows of a training batch in one line, without padding and with their common beginning once.

Only attention mixes tokens, so everywhere else each distinct token is computed exactly once. In attention a row's own
tokens see the common ones as if each row had them, and the gradients of these are summed over the rows.

Shape letters: N tokens in the line, P common to all rows, B rows, T own tokens of the longest row, S = P + T, H heads,
D width of a head.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.gpt2.model import mix

#: Attention weights of a layer up to which a CPU keeps them for the backward pass: 8 MB in fp32. It is then three to
#: seven times as fast as PyTorch's own attention, which computes them again (docs/decisions.md).
KEPT_WEIGHTS = 1 << 21


def keeps_weights(prefix: int, rows: int, width: int, heads: int) -> bool:
    """Whether a CPU keeps the attention weights of ``rows`` rows of ``width`` own tokens behind a shared prefix.

    It does where they are few, and where the shared tokens, cut into rows of ``width``, make no more rows than there
    are. Each of these rows has copies of all shared keys and values. For a long prefix before short rows PyTorch's own
    attention makes one copy only.
    """
    chunks = -(-prefix // width)
    weights = (rows + chunks) * heads * width * (prefix + width)
    return weights <= KEPT_WEIGHTS and chunks <= rows


@dataclass(frozen=True)
class PackedRows:
    """How the tokens of a line attend to one another: first the P common ones, then each row's own.

    The rows [1, 2, 3], [1, 2, 4, 5] with P = 2 are the line 1 2 3 4 5.

    Args:
        prefix: P.
        rows: B.
        width: T.
        grid: [N - P] int64, the place of each own token in a padded [B * T]: here 0, 2, 3 of 4.
        dropout: the share of attention weights dropped at random.
    """

    prefix: int
    rows: int
    width: int
    grid: Tensor
    dropout: float = 0.0

    @property
    def end(self) -> int:
        """Tokens in the line that belong to rows; what comes after them fills it up, and nothing looks at it."""
        return self.prefix + len(self.grid)

    @property
    def chunks(self) -> int:
        """Rows of T tokens, the last one perhaps shorter, that the common ones make."""
        return -(-self.prefix // self.width)

    @functools.cached_property
    def mask(self) -> Tensor:
        """[T, S] bool: an own token sees the whole prefix, and its own row up to itself."""
        square = torch.ones(self.width, self.width, dtype=torch.bool, device=self.grid.device).tril()
        return F.pad(square, (self.prefix, 0), value=True)

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:  # noqa: ARG002
        """Mix the values of one layer: [N, 3, H, D] to [N, H, D]."""
        heads = qkv.shape[2]
        if qkv.device.type == "cpu" and not self.dropout and keeps_weights(self.prefix, self.rows, self.width, heads):
            mixed: Tensor = _Attention.apply(qkv, self._places(heads, len(qkv)))
            return mixed
        return self._by_pytorch(*qkv.unbind(1))

    def _by_pytorch(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        own = [self._padded(part[self.prefix : self.end]) for part in (query, key, value)]  # [B, T, H, D] each
        filling = query.new_zeros(len(query) - self.end, *query.shape[1:])
        if not self.prefix:
            mixed = self._line(mix(*own, is_causal=True, dropout=self.dropout))
            return torch.cat([mixed.to(query.dtype), filling])
        common = [part[None, : self.prefix] for part in (query, key, value)]  # [1, P, H, D] each
        spread = [part.expand(self.rows, -1, -1, -1) for part in common]
        keys, values = (torch.cat([spread[part], own[part]], dim=1) for part in (1, 2))  # [B, S, H, D]
        mixed = self._line(mix(own[0], keys, values, mask=self.mask, dropout=self.dropout))
        first = mix(*common, is_causal=True, dropout=self.dropout)[0]
        return torch.cat([first.to(query.dtype), mixed.to(query.dtype), filling])

    def _padded(self, part: Tensor) -> Tensor:
        """[N - P, H, D] to [B, T, H, D], zero where a row is shorter."""
        grid = part.new_zeros(self.rows * self.width, *part.shape[1:])
        return grid.index_copy(0, self.grid, part).unflatten(0, (self.rows, self.width))

    def _line(self, part: Tensor) -> Tensor:
        """[B, T, H, D] to [N - P, H, D]."""
        return part.flatten(0, 1).index_select(0, self.grid)

    def _places(self, heads: int, tokens: int) -> _Places:
        """`_Places` for so many heads and tokens, made for the first layer and kept for the others."""
        kept: dict[tuple[int, int], _Places] = self.__dict__.setdefault("_kept_places", {})
        if (heads, tokens) not in kept:
            kept[heads, tokens] = _Places(self, heads, tokens)
        return kept[heads, tokens]


@dataclass(frozen=True)
class PaddedRows:
    """How the tokens of a line attend to one another where each row's own take T places, the last perhaps of no token.

    The rows [1, 2, 3], [1, 2, 4, 5] with P = 2 are the line 1 2 3 . 4 5. What fills a row up comes after all its
    tokens, so that none of them sees it, and PyTorch's causal attention needs no mask: on a GPU it has kernels for that
    which never write the weights to memory (Dao 2023, arXiv 2307.08691). Every row has a copy of the common tokens
    there. What comes out for them is taken from the first row alone, so that their gradients are what they should be.

    Args:
        prefix: P.
        rows: B.
        width: T.
        dropout: the share of attention weights dropped at random.
    """

    prefix: int
    rows: int
    width: int
    dropout: float = 0.0

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:  # noqa: ARG002
        """Mix the values of one layer: [P + B * T, 3, H, D] to [P + B * T, H, D]."""
        if not self.prefix:
            rows = qkv.unflatten(0, (self.rows, self.width))
            return self._mixed(rows).flatten(0, 1)
        # A split's gradient is put together in one piece; those of slices are filled with zeros and added up.
        common, own = qkv.split([self.prefix, self.rows * self.width])
        own = own.unflatten(0, (self.rows, self.width))
        rows = torch.cat([common.expand(self.rows, -1, -1, -1, -1), own], dim=1)  # [B, S, 3, H, D]
        common, own = self._mixed(rows).split([self.prefix, self.width], dim=1)
        return torch.cat([common[0], own.flatten(0, 1)])

    def _mixed(self, qkv: Tensor) -> Tensor:
        """[B, S, 3, H, D] to [B, S, H, D]."""
        return mix(*qkv.unbind(2), is_causal=True, dropout=self.dropout).to(qkv.dtype)


class _Places:
    """Where queries, keys and values of all rows and heads lie in a line's [N * 3 * H] vectors, and the way back.

    The common tokens are taken as further rows, of T tokens each, in front of the others: one of them sees those before
    it as every other row sees all of them. So there are B' = B + `PackedRows.chunks` rows, in which each token of the
    line stands exactly once.

    Places of the padded grids that no token has point to the line's first token. No real token sees them as keys, and
    as queries `occupied` takes their gradients out.

    Args:
        rows: the batch.
        heads: H.
        tokens: N.
    """

    def __init__(self, rows: PackedRows, heads: int, tokens: int) -> None:
        self.end = rows.end
        own, common = rows.width, rows.prefix
        count, span = rows.chunks + rows.rows, common + own
        self.shape = (count, heads, own, span)
        # [N - filling], each token's place in the padded [B' * T].
        grid = torch.cat([torch.arange(common), rows.chunks * own + rows.grid])
        # [B', T], the place in the line of each row's tokens.
        line = torch.zeros(count * own, dtype=torch.int64).index_copy_(0, grid, torch.arange(rows.end)).view(count, own)
        self.occupied = torch.zeros(count * own).index_fill_(0, grid, 1.0).view(count, 1, own, 1)
        keys = torch.cat([torch.arange(common).expand(count, -1), line], dim=1)  # [B', S]
        head = torch.arange(heads)[:, None]
        self.query, self.key, self.value = (
            ((places[:, None] * 3 + part) * heads + head).flatten()  # of [B', H, T] and twice [B', H, S]
            for part, places in enumerate((line, keys, keys))
        )
        self.mixed = (line[:, None] * heads + head).flatten()  # of [B', H, T], among the [N * H] that are mixed
        # Where each token's three vectors a head are in [B' * H * T], then twice [B' * H * S], then one of zeros.
        self.nothing = count * heads * (own + 2 * span)
        row, column = grid // own, grid % own
        starts = ((0, own, 0), (count * heads * own, span, common), (count * heads * (own + span), span, common))
        back = torch.stack(
            [
                start + (row[:, None] * heads + head.T) * length + offset + column[:, None]
                for start, length, offset in starts
            ],
            dim=1,
        )  # [N - filling, 3, H]
        filling = (0, 0, 0, 0, 0, tokens - rows.end)
        self.back = F.pad(back, filling, value=self.nothing).flatten()  # of [N, 3, H]
        self.mixed_back = F.pad(back, filling)[:, 0].flatten()  # of [N, H]
        self.mask = self._mask(rows)

    def _mask(self, rows: PackedRows) -> Tensor:
        """[B', 1, T, S]: 0 where a token looks, -inf elsewhere."""
        before = [chunk * rows.width for chunk in range(rows.chunks)] + [rows.prefix] * rows.rows
        common = torch.arange(rows.prefix) < torch.tensor(before)[:, None, None]  # [B', 1, P]
        own = torch.ones(rows.width, rows.width, dtype=torch.bool).tril()
        seen = torch.cat([common.expand(-1, rows.width, -1), own.expand(len(before), -1, -1)], dim=-1)
        return torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf)[:, None]


class _Attention(torch.autograd.Function):
    """Attention over packed rows that keeps its weights, in fp32 at least; products by values are not.

    In bf16 the gradient that all rows give a common token is rounded before that of the beginning itself is added.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, places: _Places) -> Tensor:
        query, key, value = _gathered(qkv, places)
        scores = in_fp32(query, key).mul_(query.shape[-1] ** -0.5)
        weights = scores.view(places.shape).add_(places.mask).softmax(-1).flatten(0, 1)
        ctx.places = places
        ctx.save_for_backward(qkv, weights)
        mixed = (weights.to(value.dtype) @ value).flatten(0, 1).index_select(0, places.mixed_back)
        mixed = mixed.view(len(qkv), *qkv.shape[2:])
        mixed[places.end :] = 0
        return mixed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        [gradient], places = gradients, ctx.places
        qkv, weights = ctx.saved_tensors
        count, heads, own, span = places.shape
        query, key, value = _gathered(qkv, places)
        gradient = gradient.reshape(-1, qkv.shape[-1]).index_select(0, places.mixed).view(count, heads, own, -1)
        gradient = (gradient * places.occupied.to(gradient.dtype)).flatten(0, 1)
        of_weights = in_fp32(gradient, value)
        # The softmax's: each weight times its gradient less the weighted mean of all.
        of_weights -= (of_weights * weights).sum(-1, keepdim=True)
        of_scores = of_weights.mul_(weights).mul_(query.shape[-1] ** -0.5).to(query.dtype)
        found = qkv.new_empty(places.nothing + 1, qkv.shape[-1])
        found[places.nothing] = 0
        sizes = [part.shape[0] * part.shape[1] for part in (query, key, value)]
        of_query, of_key, of_value = (part.view(count * heads, -1, qkv.shape[-1]) for part in found[:-1].split(sizes))
        torch.bmm(of_scores, key, out=of_query)
        torch.bmm(of_scores.mT, query, out=of_key)
        torch.bmm(weights.to(value.dtype).mT, gradient, out=of_value)
        result = found.index_select(0, places.back).view(qkv.shape)
        common = span - own
        for part, of_part in enumerate((of_key, of_value), 1) if common else ():
            seen = of_part.view(count, heads, span, -1)[:, :, :common].sum(0)  # [H, P, D]
            result[:common, part] += seen.transpose(0, 1)
        return result, None


def _gathered(qkv: Tensor, places: _Places) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [B' * H, T, D], keys and values [B' * H, S, D]."""
    count, heads, own, span = places.shape
    vectors = qkv.reshape(-1, qkv.shape[-1])
    query, key, value = (
        vectors.index_select(0, where).view(count * heads, length, -1)
        for where, length in ((places.query, own), (places.key, span), (places.value, span))
    )
    return query, key, value


def in_fp32(a: Tensor, b: Tensor) -> Tensor:
    """The batched product ``a @ b.mT`` in fp32 at least: [..., n, D] and [..., m, D] to [..., n, m].

    That of bf16 factors is told to oneDNN as one of fp32 that it may round to bf16, which changes nothing about them:
    it takes half the time of PyTorch's fp32, and sums in fp32 all the same.
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
