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

    @functools.cached_property
    def mask(self) -> Tensor:
        """[T, S] bool: an own token sees the whole prefix, and its own row up to itself."""
        square = torch.ones(self.width, self.width, dtype=torch.bool, device=self.grid.device).tril()
        return F.pad(square, (self.prefix, 0), value=True)

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:  # noqa: ARG002
        """Mix the values of one layer: [N, 3, H, D] to [N, H, D]."""
        heads = qkv.shape[2]
        weights = self.rows * heads * self.width * (self.prefix + self.width)
        if qkv.device.type == "cpu" and not self.dropout and weights <= KEPT_WEIGHTS:
            mixed: Tensor = _Attention.apply(qkv, self._places(heads))
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

    def _places(self, heads: int) -> _Places:
        """`_Places` for so many heads, made for the first layer and kept for the others."""
        kept: dict[int, _Places] = self.__dict__.setdefault("_kept_places", {})
        if heads not in kept:
            kept[heads] = _Places(self, heads)
        return kept[heads]


class _Places:
    """Where queries, keys and values of all rows and heads lie in a line's [N * 3 * H] vectors, and the way back.

    Places of the padded grids that no token has point to the line's first token. No real token sees them as keys, and
    as queries `occupied` takes their gradients out.

    Args:
        rows: the batch.
        heads: H.
    """

    def __init__(self, rows: PackedRows, heads: int) -> None:
        self.prefix, self.end = rows.prefix, rows.end
        count, own, common = rows.rows, rows.width, rows.prefix
        span = common + own
        # [B, T], the place in the line of each own token.
        line = torch.zeros(count * own, dtype=torch.int64)
        line[rows.grid] = torch.arange(common, rows.end)
        line = line.view(count, own)
        self.occupied = torch.zeros(count * own).index_fill_(0, rows.grid, 1.0).view(count, 1, own, 1)
        seen = torch.cat([torch.arange(common).expand(count, -1), line], dim=1)  # [B, S]
        head = torch.arange(heads)[:, None]
        self.query, self.key, self.value = (
            ((tokens[:, None] * 3 + part) * heads + head).flatten()  # of [B, H, T] and twice [B, H, S]
            for part, tokens in enumerate((line, seen, seen))
        )
        self.mixed = (line[:, None] * heads + head).flatten()  # of [B, H, T], among the [N * H] that are mixed
        # [B * H * T], then twice [B * H * S] behind one another: where each own token's three vectors a head are there.
        row, column = rows.grid // own, rows.grid % own
        starts = ((0, own, 0), (count * heads * own, span, common), (count * heads * (own + span), span, common))
        back = [
            start + (row[:, None] * heads + head.T) * length + offset + column[:, None]
            for start, length, offset in starts
        ]
        self.back = torch.stack(back, dim=1).flatten()  # of [N - P, 3, H]
        self.mixed_back = back[0].flatten()  # of [N - P, H]
        self.shape = (count, heads, own, span)
        self.mask = torch.zeros(own, span).masked_fill_(~rows.mask, -torch.inf)
        self.causal = torch.full((common, common), -torch.inf).triu_(1)


class _Attention(torch.autograd.Function):
    """Attention over packed rows that keeps its weights. Sums are in fp32 at least; products by values are not."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, places: _Places) -> Tensor:
        mixed = qkv.new_zeros(len(qkv), *qkv.shape[2:])
        own, weights = _mixed(*_gathered(qkv, places), places.mask)
        mixed[places.prefix : places.end] = (
            own.flatten(0, 1).index_select(0, places.mixed_back).view(-1, *qkv.shape[2:])
        )
        saved = [qkv, weights]
        if places.prefix:
            first, first_weights = _mixed(*_common(qkv, places), places.causal)
            mixed[: places.prefix] = first.transpose(0, 1)
            saved.append(first_weights)
        ctx.places = places
        ctx.save_for_backward(*saved)
        return mixed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        [gradient], places = gradients, ctx.places
        qkv, weights, *first_weights = ctx.saved_tensors
        count, heads, own, span = places.shape
        width = qkv.shape[-1]
        padded = gradient.reshape(-1, width).index_select(0, places.mixed).view(count, heads, own, width)
        padded = (padded * places.occupied.to(padded.dtype)).flatten(0, 1)
        found = torch.cat([part.reshape(-1, width) for part in _gradients(padded, *_gathered(qkv, places), weights)])
        result = torch.zeros_like(qkv)
        result[places.prefix : places.end] = found.index_select(0, places.back).view(-1, 3, heads, width)
        if places.prefix:
            ours = gradient[: places.prefix].transpose(0, 1)
            parts = _gradients(ours, *_common(qkv, places), first_weights[0])  # [H, P, D] each
            wide = torch.stack(parts).to(weights.dtype)
            seen = found[count * heads * own :].view(2, count, heads, span, width)[:, :, :, : places.prefix]
            wide[1:] += seen.sum(1, dtype=weights.dtype)
            result[: places.prefix] = wide.permute(2, 0, 1, 3)
        return result, None


def _gathered(qkv: Tensor, places: _Places) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [B * H, T, D], keys and values [B * H, S, D] of own tokens."""
    count, heads, own, span = places.shape
    vectors = qkv.reshape(-1, qkv.shape[-1])
    query, key, value = (
        vectors.index_select(0, where).view(count * heads, length, -1)
        for where, length in ((places.query, own), (places.key, span), (places.value, span))
    )
    return query, key, value


def _common(qkv: Tensor, places: _Places) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of the common tokens, [H, P, D] each."""
    query, key, value = qkv[: places.prefix].permute(1, 2, 0, 3).contiguous()
    return query, key, value


def _mixed(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """What attention mixes, in the dtype given, and its weights, in fp32 at least. ``mask`` is added to the scores."""
    wide = torch.promote_types(query.dtype, torch.float32)
    scores = query.to(wide) @ key.to(wide).mT
    weights = scores.mul_(query.shape[-1] ** -0.5).add_(mask).softmax(-1)
    return weights.to(value.dtype) @ value, weights


def _gradients(gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    """The gradients of queries, keys and values from that of what they mixed to."""
    of_value = weights.to(value.dtype).mT @ gradient
    of_weights = gradient.to(weights.dtype) @ value.to(weights.dtype).mT
    # The softmax's: each weight times its gradient less the weighted mean of all.
    of_weights -= (of_weights * weights).sum(-1, keepdim=True)
    of_scores = of_weights.mul_(weights).mul_(query.shape[-1] ** -0.5).to(query.dtype)
    return of_scores @ key, of_scores.mT @ query, of_value
