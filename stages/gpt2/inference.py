"""The network as answers are made with it: a line of tokens of several rows, over a cache of keys and values.

`stages.gpt2.model` says what is computed, and is what is trained. A step that adds one token to a few rows reads all
weights and does little with them, so that time goes to whatever is done between products: here each product is chosen
once and not for every token, and a pass is one plain loop. Shape letters are those of `stages.gpt2.model`.
"""

from __future__ import annotations

import contextlib
import functools
import math
import mmap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.gpt2 import runtime
from stages.gpt2.model import GPT2, Attend, Block, GPT2Config, Projection
from stages.gpt2.packed import in_fp32

#: Positions that a cache grows by; on a GPU a step is recorded anew for each length (`stages.gpt2.captured_decoding`).
GROWTH, GROWTH_ON_GPU = 16, 64
#: A cache is laid out for fewer positions where these are at most such a share of those it has.
SHRUNK_AT = 3 / 4

#: In a pass of prompts a CPU computes attention for so many rows at a time: with rows in the order of their lengths
#: little is padding then, and scores stay in the processor's cache.
ROWS_AT_A_TIME = 16
#: And for so few that there are at most so many scores, but for a single row; 16 MB in fp32.
SCORES_AT_A_TIME = 1 << 22

Map = Callable[[Tensor], Tensor]


class Layer(NamedTuple):
    """The maps of a block, [N, in] to [N, out] each."""

    norm_1: Map
    to_qkv: Map
    from_heads: Map
    norm_2: Map
    to_hidden: Map
    from_hidden: Map

    @classmethod
    def of(cls, block: Block) -> Layer:
        """A block's."""
        attention, mlp = block.attn, block.mlp
        return cls(
            _norm(block.ln_1),
            _projection(attention.c_attn),
            _projection(attention.c_proj),
            _norm(block.ln_2),
            _projection(mlp.c_fc),
            _projection(mlp.c_proj),
        )


@dataclass(frozen=True)
class Network:
    """A model's weights, each in the map that it is used by. They stay the model's own: nothing is copied.

    Args:
        config: the model's sizes.
        wte: [V, C] vectors of the tokens.
        wpe: [positions, C] vectors of the positions.
        layers: the blocks.
        norm: the last layer norm.
        head: [N, C] to [N, V].
        lone_row_apart: whether a single token's products are made without oneDNN, see `products_for`.
    """

    config: GPT2Config
    wte: Tensor
    wpe: Tensor
    layers: list[Layer]
    norm: Map
    head: Map
    lone_row_apart: bool

    @classmethod
    def of(cls, model: GPT2) -> Network:
        """A model's; its dropout is left out."""
        layers = [Layer.of(block) for block in cast("Iterable[Block]", model.h)]
        wte, wpe = model.wte.weight, model.wpe.weight
        projections = (module for module in model.modules() if isinstance(module, Projection))
        laid_out = all(projection.weight.t().is_contiguous() for projection in projections)
        apart = laid_out and wte.device.type == "cpu" and wte.dtype == torch.bfloat16
        return cls(model.config, wte, wpe, layers, _norm(model.ln_f), _product(wte), apart)

    def cache(self, places: int, length: int) -> KVCache:
        """A cache for this network's keys and values."""
        return KVCache(self.config, places, length, self.wte.dtype, self.wte.device)

    def hidden(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states after the last layer norm, [N, C], of tokens [N] at positions [N]."""
        x = F.embedding(ids, self.wte) + F.embedding(positions, self.wpe)
        for number, layer in enumerate(self.layers):
            qkv = layer.to_qkv(layer.norm_1(x)).view(len(x), 3, self.config.n_head, -1)
            x += layer.from_heads(attend(number, qkv).reshape(x.shape))
            x += layer.from_hidden(F.gelu(layer.to_hidden(layer.norm_2(x)), approximate="tanh"))
        return self.norm(x)

    def products_for(self, tokens: int) -> contextlib.AbstractContextManager[None]:
        """Within it PyTorch multiplies so many tokens in its quickest way.

        By itself it multiplies a single bf16 token by oneDNN, which reads weights at half the memory's speed
        (docs/decisions.md).
        """
        if tokens > 1 or not self.lone_row_apart:
            return contextlib.nullcontext()
        return torch.backends.mkldnn.flags(enabled=False, deterministic=None, allow_tf32=None, fp32_precision=None)


def _norm(module: nn.LayerNorm) -> Map:
    shape = tuple(module.normalized_shape)
    return functools.partial(
        F.layer_norm, normalized_shape=shape, weight=module.weight, bias=module.bias, eps=module.eps
    )


def _projection(module: nn.Module) -> Map:
    """A projection's map; of one that is being trained by LoRA, the module itself."""
    return _product(module.weight.t(), module.bias) if isinstance(module, Projection) else module


def _product(weight: Tensor, bias: Tensor | None = None) -> Map:
    """The map by a weight [out, in].

    By itself PyTorch multiplies fp32 by MKL, which takes twice as long on an AMD CPU as oneDNN (docs/decisions.md).
    """
    if (
        weight.dtype == torch.float32
        and weight.device.type == "cpu"
        and weight.is_contiguous()
        and torch.backends.mkldnn.is_available()
    ):
        return lambda x: F.linear(x.to_mkldnn(), weight, bias).to_dense()
    return functools.partial(F.linear, weight=weight, bias=bias)


class KVCache:
    """The keys and values of the rows under way, in memory that is allocated once.

    Rows in use fill the places from 0 to ``rows`` - 1. Each has as many positions as the longest has reached, rounded
    up, so that what a layer looks at lies in one piece: otherwise PyTorch copies it for every product. Memory that is
    not reached is never touched; on a CPU it then costs none.

    Args:
        config: the model's sizes.
        places: the most rows at a time.
        length: the longest sequence it will hold.
        dtype: the model's.
        device: the model's.

    Attributes:
        places: the most rows at a time.
        data: [layer, key or value, places, H, S, D] with S the positions that there are now. Each is finite, as what is
            masked must not be NaN: 0, or what once stood there for some row and position.
        rows: B, how many are in use.
    """

    def __init__(self, config: GPT2Config, places: int, length: int, dtype: torch.dtype, device: torch.device) -> None:
        self.places = places
        self._length = length
        self._growth = GROWTH_ON_GPU if device.type == "cuda" else GROWTH
        self._position = (config.n_layer, 2, places, config.n_head, config.n_embd // config.n_head)
        self._memory = _zeros((config.n_layer, 2, math.prod(self._position[2:]) * length), dtype, device)
        self.data = self._view(0)
        self.rows = 0

    @property
    def span(self) -> int:
        """S, the positions that there are now."""
        return int(self.data.shape[-2])

    def begin(self, count: int, span: int, prefix: KVCache | None = None) -> None:
        """Take ``count`` more rows into use, behind the others, with the positions below ``span`` at least.

        Each begins with the first row of ``prefix``.
        """
        if span > self.span:
            self._lay_out(self._rounded(span))
        new = self.data[:, :, self.rows : self.rows + count]
        self.rows += count
        if prefix is not None:
            new[..., : prefix.span, :] = prefix.data[:, :, :1]

    def fit(self, span: int) -> None:
        """Let there be the positions below ``span``, which is as far as any row goes, and not many more."""
        wanted, there = self._rounded(span), self.span
        if wanted > there or wanted <= there * SHRUNK_AT:
            self._lay_out(wanted)

    def leave(self, row: int) -> None:
        """Take a row out of use; the last one moves to its place."""
        self.rows -= 1
        if row < self.rows:
            self.data[:, :, row] = self.data[:, :, self.rows]

    def _rounded(self, span: int) -> int:
        return min(-(-span // self._growth) * self._growth, self._length)

    def _view(self, span: int) -> Tensor:
        layers, parts, places, heads, width = self._position
        size = places * heads * span * width
        return self._memory[..., :size].view(layers, parts, places, heads, span, width)

    def _lay_out(self, span: int) -> None:
        """Move what is there to where it lies with ``span`` positions."""
        old, self.data = self.data, self._view(span)
        kept = min(old.shape[-2], self.span)
        for before, after in zip(old.flatten(0, 1), self.data.flatten(0, 1), strict=True):
            there = before[: self.rows, :, :kept].clone()
            after[: self.rows, :, :kept] = there


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros; on a CPU as the kernel gives them, which costs neither memory nor time before they are written."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    # torch's own are filled, and its memory takes five times as long to be touched first (docs/decisions.md).
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=dtype).view(shape)


class _Group(NamedTuple):
    """Some of a pass's rows, which stand one behind another in its line of tokens.

    Args:
        rows: in the cache.
        line: its tokens, n of the N.
        padded: [B, T] int64, which of these n stands where; where none does, a row's first.
        real: [n] int64, where each stands in [B * T].
        mask: [T, S]: 0 where a token looks, its own position and those before it, -inf elsewhere.
    """

    rows: slice
    line: slice
    padded: Tensor
    real: Tensor
    mask: Tensor


class PromptPass:
    """Attention of rows that begin, over what is common to all and their own tokens.

    Outside attention the tokens stand in one line, [N], row behind row, without padding; within it a few rows at a
    time, off the CPU all at once, are padded to the longest of them, in the last rows of the cache.

    Args:
        cache: holds the common positions, and takes these.
        first: the row of the cache that the first of these is.
        start: the position that each begins at.
        lengths: tokens of each.
    """

    def __init__(self, cache: KVCache, first: int, start: int, lengths: Sequence[int]) -> None:
        self.cache, self.start = cache, start
        at_a_time = len(lengths)
        if cache.data.device.type == "cpu":
            scores = cache.data.shape[-3] * max(lengths) * (start + max(lengths))
            at_a_time = min(max(SCORES_AT_A_TIME // scores, 1), ROWS_AT_A_TIME)
        self.groups = []
        begun = 0
        for number in range(0, len(lengths), at_a_time):
            some = lengths[number : number + at_a_time]
            rows = slice(first + number, first + number + len(some))
            self.groups.append(self._group(rows, slice(begun, begun + sum(some)), torch.tensor(some)))
            begun += sum(some)

    def _group(self, rows: slice, line: slice, lengths: Tensor) -> _Group:
        column = torch.arange(int(lengths.max()))
        real = column < lengths[:, None]  # [B, T]
        padded = (lengths.cumsum(0) - lengths)[:, None] + column * real
        mask = torch.full((len(column), self.start + len(column)), -math.inf, dtype=self.cache.data.dtype)
        mask.triu_(self.start + 1)
        places = (part.to(self.cache.data.device) for part in (padded, real.flatten().nonzero()[:, 0], mask))
        return _Group(rows, line, *places)

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """Write keys and values [N, H, D] to the cache and attend to all that is there; returns [N, H, D]."""
        return torch.cat([self._attended(self.cache.data[layer], qkv[group.line], group) for group in self.groups])

    def _attended(self, data: Tensor, qkv: Tensor, group: _Group) -> Tensor:
        """[n, 3, H, D] to [n, H, D]."""
        query, *new = qkv[group.padded].permute(2, 0, 3, 1, 4)  # [B, H, T, D] each
        there = data[:, group.rows, :, : group.mask.shape[-1]]
        for old, part in zip(there, new, strict=True):
            old[:, :, self.start :] = part
        mixed = mix_cached(query, there, group.mask)
        return mixed.transpose(1, 2).flatten(0, 1).index_select(0, group.real)


class StepPass:
    """Attention of one more token in the first rows of a cache, which has those positions.

    Args:
        cache: holds every earlier position, and takes these.
        positions: [B] int64, where each token stands in its own row.
        span: the positions that are looked at, 0 to span - 1; where products need all in one piece, all there are.
    """

    def __init__(self, cache: KVCache, positions: Tensor, span: int) -> None:
        self.cache, self.positions = cache, positions
        self.span = cache.span if by_products(cache.data) else span
        self.rows = torch.arange(len(positions), device=positions.device)
        hidden = torch.arange(self.span, device=positions.device) > positions[:, None]
        mask = torch.zeros(hidden.shape, dtype=cache.data.dtype, device=positions.device)
        self.mask = mask.masked_fill_(hidden, -math.inf)[:, None, None]  # [B, 1, 1, S]

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """Write keys and values [B, H, D] to the cache and attend to all that is there; returns [B, H, D]."""
        there = self.cache.data[layer, :, : len(self.rows)]
        # Indices on both sides of a slice put the indexed dimensions first: [B, 2, H, D].
        with runtime.each_place_once(there.device):
            there[:, self.rows, :, self.positions] = qkv[:, 1:]
        return mix_cached(qkv[:, 0, :, None], there[..., : self.span, :], self.mask)[:, :, 0]


class LoneStepPass:
    """As `StepPass`, for a single row: there is nothing to mask, and no index to look up.

    Args:
        cache: with a single row.
        position: where the token stands.
    """

    def __init__(self, cache: KVCache, position: int) -> None:
        self.cache, self.position = cache, position

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """Write keys and values [1, H, D] to the cache and attend to all that is there; returns [1, H, D]."""
        there = self.cache.data[layer, :, :1, :, : self.position + 1]
        there[:, 0, :, self.position] = qkv[0, 1:]
        return mix_cached(qkv[:, 0, :, None], there, None)[:, :, 0]


def by_products(cached: Tensor) -> bool:
    """Whether attention over such keys and values is products and softmax, and not PyTorch's own."""
    return cached.device.type == "cpu" and cached.dtype == torch.bfloat16


def mix_cached(query: Tensor, there: Tensor, mask: Tensor | None) -> Tensor:
    """Attention over a cache, on a CPU in bf16 by whichever way is quicker than PyTorch's own (docs/decisions.md).

    There scores and their softmax are in fp32, as in PyTorch's own: in bf16 a score of 20 is off by up to 0.06, and its
    weight by 6 %. Only where several rows have one token each they are in bf16: copies of all keys in fp32 would make
    a step of 64 rows a tenth longer.

    Args:
        query: [B, H, T, D].
        there: keys and values, [2, B, H, S, D].
        mask: is added to the scores [B, H, T, S]; None where all is looked at.

    Returns:
        [B, H, T, D].
    """
    if not by_products(there):
        keys, values = there.unbind()
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
    if mask is None:  # few numbers, so that copies cost little
        keys, values = there.float().unbind()
        return F.scaled_dot_product_attention(query.float(), keys, values).to(query.dtype)
    rows, heads, length, size = query.shape
    queries, (keys, values) = query.flatten(0, 1), there.flatten(1, 2)  # [B * H, T, D], twice [B * H, S, D]
    scores = in_fp32(queries, keys) if length > 1 else torch.bmm(queries, keys.mT)
    shares = scores.mul_(size**-0.5).view(rows, heads, *scores.shape[1:]).add_(mask).softmax(-1)
    return torch.bmm(shares.flatten(0, 1).to(values.dtype), values).view(query.shape)
