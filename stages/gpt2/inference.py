"""The network for inference: packed tokens of several rows, over a KV cache.

`stages.gpt2.model` says what is computed, and is what is trained. A decoding step reads all weights for a few tokens,
so that time also goes to what is done between the products. Here each product is chosen once and not for every token,
and a pass is one plain loop. Shape letters are those of `stages.gpt2.model`.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.gpt2 import prepacked, runtime
from stages.gpt2.kv_cache import KVCache
from stages.gpt2.model import GPT2, Attend, Block, GPT2Config, Projection
from stages.gpt2.packed import in_fp32
from stages.gpt2.prepacked import Layout

#: Rows for which a CPU computes attention at a time in a pass of prompts. In the order of their lengths they then have
#: little padding, and the scores stay in the processor's cache.
ROWS_AT_A_TIME = 16
#: The most scores at a time, unless a single row has more: 16 MB in fp32.
SCORES_AT_A_TIME = 1 << 22

Map = Callable[[Tensor], Tensor]


class Layer(NamedTuple):
    """The maps of a transformer block, each from [N, in] to [N, out]."""

    norm_1: Map
    to_qkv: Map
    from_heads: Map
    norm_2: Map
    to_hidden: Map
    from_hidden: Map

    @classmethod
    def of(cls, block: Block, projection: Callable[[nn.Module], Map]) -> Layer:
        """The maps of a block, of which ``projection`` makes those with a matrix."""
        attention, mlp = block.attn, block.mlp
        return cls(
            _norm(block.ln_1),
            projection(attention.c_attn),
            projection(attention.c_proj),
            _norm(block.ln_2),
            projection(mlp.c_fc),
            projection(mlp.c_proj),
        )


@dataclass(frozen=True)
class Network:
    """A model's weights, each in the map that uses it.

    Args:
        config: sizes of the model.
        wte: [V, C] vectors of the tokens.
        wpe: [positions, C] vectors of the positions.
        layers: maps of the blocks.
        norm: last layer norm.
        head: output head, [N, C] to [N, V].
        single_without_onednn: whether the products of a single token do without oneDNN, see `products_for`.
    """

    config: GPT2Config
    wte: Tensor
    wpe: Tensor
    layers: list[Layer]
    norm: Map
    head: Map
    single_without_onednn: bool

    @classmethod
    def of(cls, model: GPT2) -> Network:
        """The network of a model, without its dropout. Weights are shared with the model, not copied."""
        layers = [Layer.of(block, _projection) for block in cast("Iterable[Block]", model.h)]
        wte, wpe = model.wte.weight, model.wpe.weight
        projections = (module for module in model.modules() if isinstance(module, Projection))
        laid_out = all(projection.weight.t().is_contiguous() for projection in projections)
        single = laid_out and wte.device.type == "cpu" and wte.dtype == torch.bfloat16
        return cls(model.config, wte, wpe, layers, _norm(model.ln_f), _product(wte), single)

    @classmethod
    def prepared(cls, model: GPT2, layout: Layout) -> Network:
        """The network of a model whose weights are laid out for inference.

        On a CPU the weights of the model's projections lie otherwise after it: it trains more slowly. Prepacked ones
        are gone from the model, each as soon as it is laid out, so that it cannot be called after that. The output
        head, which is the tokens' table, stays plain besides.

        Args:
            model: the model, whose LoRA is merged.
            layout: result of `stages.gpt2.prepacked.layout_for`.
        """
        wte = model.wte.weight
        if wte.device.type != "cpu":
            return cls.of(model)
        if layout == "prepacked":
            layers = [Layer.of(block, _prepacked) for block in cast("Iterable[Block]", model.h)]
            head = functools.partial(prepacked.by_prepacked, weight=prepacked.prepack(wte.detach()))
            return cls(model.config, wte, model.wpe.weight, layers, _norm(model.ln_f), head, False)
        for module in model.modules():
            if isinstance(module, Projection):
                module.lay_out_for_inference()
        if layout == "plain":
            return cls.of(model)
        layers = [Layer.of(block, _by_onednn) for block in cast("Iterable[Block]", model.h)]
        head = functools.partial(prepacked.by_onednn, weight=wte)
        return cls(model.config, wte, model.wpe.weight, layers, _norm(model.ln_f), head, False)

    def cache(self, slots: int, length: int) -> KVCache:
        """A cache for this network's keys and values."""
        return KVCache(self.config, slots, length, self.wte.dtype, self.wte.device)

    def hidden(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states after the last layer norm, [N, C], of tokens [N] at positions [N]."""
        x = F.embedding(ids, self.wte) + F.embedding(positions, self.wpe)
        for number, layer in enumerate(self.layers):
            qkv = layer.to_qkv(layer.norm_1(x)).view(len(x), 3, self.config.n_head, -1)  # [N, 3, H, D]
            x += layer.from_heads(attend(number, qkv).reshape(x.shape))
            x += layer.from_hidden(F.gelu(layer.to_hidden(layer.norm_2(x)), approximate="tanh"))
        return self.norm(x)

    def products_for(self, tokens: int) -> contextlib.AbstractContextManager[None]:
        """A context in which PyTorch multiplies this number of tokens in its fastest way.

        By default it multiplies a single bf16 token by oneDNN, which reads weights at half the memory's speed
        (docs/decisions.md).
        """
        if tokens > 1 or not self.single_without_onednn:
            return contextlib.nullcontext()
        return prepacked.no_onednn()


def _norm(module: nn.LayerNorm) -> Map:
    shape = tuple(module.normalized_shape)
    return functools.partial(
        F.layer_norm, normalized_shape=shape, weight=module.weight, bias=module.bias, eps=module.eps
    )


def _projection(module: nn.Module) -> Map:
    """The map of a projection; the module itself where LoRA is training it."""
    return _product(module.weight.t(), module.bias) if isinstance(module, Projection) else module


def _prepacked(module: nn.Module) -> Map:
    """The map of a projection by its prepacked weight, which takes the place of the plain one."""
    if not isinstance(module, Projection):
        raise TypeError(f"expected a projection, found {type(module).__name__}: LoRA is to be merged before")
    weight = prepacked.prepack(module.weight.detach().t())
    module.weight.data = module.weight.new_empty(0)
    return functools.partial(prepacked.by_prepacked, weight=weight, bias=module.bias)


def _by_onednn(module: nn.Module) -> Map:
    """The map of a projection through oneDNN; the module itself where LoRA is training it."""
    if not isinstance(module, Projection):
        return module
    return functools.partial(prepacked.by_onednn, weight=module.weight.t(), bias=module.bias)


def _product(weight: Tensor, bias: Tensor | None = None) -> Map:
    """The product with a weight [out, in], by PyTorch's default."""
    return functools.partial(F.linear, weight=weight, bias=bias)


class _Group(NamedTuple):
    """Neighbouring rows of a pass, whose attention is computed together.

    Args:
        rows: slots in the cache.
        tokens: which n of the N packed tokens are theirs.
        padded: [B, T] int64, index of each padded token among these n; padding has that of its row's first token.
        real: [n] int64, index of each token in the padded [B * T].
        mask: [T, S]: 0 where a token attends, at its own position and those before it, -inf elsewhere.
    """

    rows: slice
    tokens: slice
    padded: Tensor
    real: Tensor
    mask: Tensor


class PromptPass:
    """Attention of new rows over the shared prefix and their own tokens (prefill).

    Outside attention the rows are packed into [N] tokens, without padding. Within it a few rows at a time, on a GPU all
    at once, are padded to the longest of them.

    Args:
        cache: cache that holds the shared prefix, and takes the new positions.
        first: slot of the first of these rows; the others follow it.
        start: position that each row begins at.
        lengths: number of each row's tokens.
    """

    def __init__(self, cache: KVCache, first: int, start: int, lengths: Sequence[int]) -> None:
        self.cache, self.start = cache, start
        at_a_time = len(lengths)
        if cache.data.device.type == "cpu":
            scores = cache.data.shape[-3] * max(lengths) * (start + max(lengths))
            at_a_time = min(max(SCORES_AT_A_TIME // scores, 1), ROWS_AT_A_TIME)
        self.groups = []
        offset = 0
        for number in range(0, len(lengths), at_a_time):
            some = lengths[number : number + at_a_time]
            rows = slice(first + number, first + number + len(some))
            self.groups.append(self._group(rows, slice(offset, offset + sum(some)), torch.tensor(some)))
            offset += sum(some)

    def _group(self, rows: slice, tokens: slice, lengths: Tensor) -> _Group:
        column = torch.arange(int(lengths.max()))
        real = column < lengths[:, None]  # [B, T]
        padded = (lengths.cumsum(0) - lengths)[:, None] + column * real
        mask = torch.full((len(column), self.start + len(column)), -math.inf, dtype=self.cache.data.dtype)
        mask.triu_(self.start + 1)
        index = (part.to(self.cache.data.device) for part in (padded, real.flatten().nonzero()[:, 0], mask))
        return _Group(rows, tokens, *index)

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """Write keys and values [N, H, D] to the cache and attend to what it holds; returns [N, H, D]."""
        return torch.cat([self._attended(self.cache.data[layer], qkv[group.tokens], group) for group in self.groups])

    def _attended(self, data: Tensor, qkv: Tensor, group: _Group) -> Tensor:
        """[n, 3, H, D] to [n, H, D]."""
        query, *new = qkv[group.padded].permute(2, 0, 3, 1, 4)  # [B, H, T, D] each
        cached = data[:, group.rows, :, : group.mask.shape[-1]]
        for old, part in zip(cached, new, strict=True):
            old[:, :, self.start :] = part
        mixed = cached_attention(query, cached, group.mask)
        return mixed.transpose(1, 2).flatten(0, 1).index_select(0, group.real)


class StepPass:
    """Attention of one more token in each of the first rows of a cache, which has those positions.

    Args:
        cache: cache that holds every earlier position, and takes the new ones.
        positions: [B] int64, position of each token in its row.
        span: number of positions that are attended to; all that the cache has where products need contiguous keys.
    """

    def __init__(self, cache: KVCache, positions: Tensor, span: int) -> None:
        self.cache, self.positions = cache, positions
        self.span = cache.span if by_products(cache.data) else span
        self.rows = torch.arange(len(positions), device=positions.device)
        hidden = torch.arange(self.span, device=positions.device) > positions[:, None]
        mask = torch.zeros(hidden.shape, dtype=cache.data.dtype, device=positions.device)
        self.mask = mask.masked_fill_(hidden, -math.inf)[:, None, None]  # [B, 1, 1, S]

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """Write keys and values [B, H, D] to the cache and attend to what it holds; returns [B, H, D]."""
        cached = self.cache.data[layer, :, : len(self.rows)]
        # Indices on both sides of a slice put the indexed dimensions first: [B, 2, H, D].
        with runtime.distinct_indices(cached.device):
            cached[:, self.rows, :, self.positions] = qkv[:, 1:]
        return cached_attention(qkv[:, 0, :, None], cached[..., : self.span, :], self.mask)[:, :, 0]


class SingleStepPass:
    """As `StepPass`, for a single row, which needs no mask and no index.

    Args:
        cache: cache with a single row.
        position: position of the token.
    """

    def __init__(self, cache: KVCache, position: int) -> None:
        self.cache, self.position = cache, position

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """Write keys and values [1, H, D] to the cache and attend to what it holds; returns [1, H, D]."""
        cached = self.cache.data[layer, :, :1, :, : self.position + 1]
        cached[:, 0, :, self.position] = qkv[0, 1:]
        return cached_attention(qkv[:, 0, :, None], cached, None)[:, :, 0]


def by_products(cached: Tensor) -> bool:
    """Whether attention over such keys and values is computed by products and softmax, and not by PyTorch's own."""
    return cached.device.type == "cpu" and cached.dtype == torch.bfloat16


def cached_attention(query: Tensor, cached: Tensor, mask: Tensor | None) -> Tensor:
    """Attention over a cache; on a CPU in bf16 by ways that are faster than PyTorch's own (docs/decisions.md).

    There scores and their softmax are in fp32, as in PyTorch's own: in bf16 a score of 20 is off by up to 0.06, and its
    weight by 6 %. Only where several rows have one token each are they in bf16: fp32 copies of all keys would make a
    step of 64 rows a tenth longer.

    Args:
        query: queries, [B, H, T, D].
        cached: keys and values, [2, B, H, S, D].
        mask: added to the scores [B, H, T, S]; None where everything is attended to.

    Returns:
        [B, H, T, D].
    """
    if not by_products(cached):
        keys, values = cached.unbind()
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
    if mask is None:  # few numbers, so that copies cost little
        keys, values = cached.float().unbind()
        return F.scaled_dot_product_attention(query.float(), keys, values).to(query.dtype)
    rows, heads, length, size = query.shape
    queries, (keys, values) = query.flatten(0, 1), cached.flatten(1, 2)  # [B * H, T, D], twice [B * H, S, D]
    scores = in_fp32(queries, keys) if length > 1 else torch.bmm(queries, keys.mT)
    shares = scores.mul_(size**-0.5).view(rows, heads, *scores.shape[1:]).add_(mask).softmax(-1)
    return torch.bmm(shares.flatten(0, 1).to(values.dtype), values).view(query.shape)
