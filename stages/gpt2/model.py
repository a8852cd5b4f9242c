"""GPT-2, the whole network: token ids in, hidden states and logits out.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners". Parameter names and layouts are those of
the published checkpoints (`transformers.GPT2Model`): a projection's weight is stored [in, out], and the output
head is the token embedding itself.

Shape letters: B rows, T positions in a row, C width, H heads, D width of a head, S cached positions, V vocabulary,
P tokens common to all rows, N tokens in all.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stages.gpt2.tokenizer import VOCABULARY_SIZE

#: epsilon of the layer norms in the published config.json files.
LAYER_NORM_EPSILON = 1e-5

#: Positions that a cache makes ready at a time.
CLEARED_AT_A_TIME = 16


@dataclass(frozen=True)
class GPT2Config:
    """The sizes of a GPT-2, named as in the published config.json."""

    n_layer: int
    n_head: int
    n_embd: int
    n_positions: int
    vocab_size: int = VOCABULARY_SIZE


class KVCache:
    """The keys and values of the rows under way, allocated once: [layer, key or value, B, H, S, D].

    Rows in use fill the places from 0 to ``rows`` - 1, so that a view of them copies nothing. Memory of places and
    positions that are not reached is never touched; on a CPU it then costs none.

    Args:
        config: the model's sizes.
        places: B, the most rows at a time.
        length: S, the longest sequence it will hold.
        dtype: the model's.
        device: the model's.
    """

    def __init__(self, config: GPT2Config, places: int, length: int, dtype: torch.dtype, device: torch.device) -> None:
        shape = (config.n_layer, 2, places, config.n_head, length, config.n_embd // config.n_head)
        self.data = torch.empty(shape, dtype=dtype, device=device)
        self.rows = 0
        self._cleared = 0  # positions that hold a number in every row in use: what is masked must not be NaN

    def begin(self, count: int, prefix: KVCache | None = None) -> None:
        """Take ``count`` more rows into use, behind the others; each begins with the first row of ``prefix``."""
        new = self.data[:, :, self.rows : self.rows + count]
        new[..., : self._cleared, :] = 0
        self.rows += count
        if prefix is not None:
            start = prefix.data.shape[-2]
            self.reach(start)
            new[..., :start, :] = prefix.data[:, :, :1]

    def reach(self, span: int) -> None:
        """Let the positions below ``span`` be looked at in every row in use."""
        if span > self._cleared:
            end = min(-(-span // CLEARED_AT_A_TIME) * CLEARED_AT_A_TIME, self.data.shape[-2])
            self.data[:, :, : self.rows, :, self._cleared : end] = 0
            self._cleared = end

    def leave(self, row: int) -> None:
        """Take a row out of use; the last one moves to its place."""
        self.rows -= 1
        if row < self.rows:
            self.data[:, :, row, :, : self._cleared] = self.data[:, :, self.rows, :, : self._cleared]
        if not self.rows:
            self._cleared = 0


class Attend(Protocol):
    """How the tokens of a pass look at one another: what `GPT2.forward` is given besides the tokens.

    Called once a layer with queries, keys and values, [..., 3, H, D], where ... is the shape of the ids; returns the
    mixed values, [..., H, D].
    """

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """Mix the values of one layer."""
        ...


def causal(layer: int, qkv: Tensor) -> Tensor:  # noqa: ARG001
    """Rows side by side, [B, T, 3, H, D]: each token sees its own row up to itself.

    Rows shorter than T are padded on the right, with any id: no real token sees what comes after it.
    """
    return mix(*qkv.unbind(-3), is_causal=True).to(qkv.dtype)


@dataclass(frozen=True)
class CachedPass:
    """Attention over a cache: where the pass's tokens, [N] in one line, belong, and what each may look at.

    The last B rows of a cache take part, each with at most T tokens from position ``start`` on. Outside attention the
    line holds no padding; within it the tokens stand in a padded [B, T].

    Args:
        cache: holds earlier positions, and takes these.
        rows: [N] int64, each token's row in the cache.
        positions: [N] int64, each token's position in its row.
        first: the first of the B rows.
        start: the least position; with T = 1 it is not used.
        width: T.
        span: the positions that are looked at: 0 to span - 1.
    """

    cache: KVCache
    rows: Tensor
    positions: Tensor
    first: int
    start: int
    width: int
    span: int

    @functools.cached_property
    def mask(self) -> Tensor | None:
        """0 where a token looks, -inf elsewhere, in the cache's dtype: its own position and those before it.

        [1, 1, T, span], as all rows begin at one position; [B, 1, 1, span] for one token a row; None for a single one.
        """
        if len(self.positions) == 1:
            return None
        device = self.positions.device
        last = torch.arange(self.start, self.start + self.width, device=device) if self.width > 1 else self.positions
        hidden = torch.arange(self.span, device=device) > last[:, None]
        mask = torch.zeros(hidden.shape, dtype=self.cache.data.dtype, device=device).masked_fill_(hidden, -math.inf)
        return mask[None, None] if self.width > 1 else mask[:, None, None]

    @functools.cached_property
    def grid(self) -> Tensor:
        """[N] int64, each token's place in the padded [B * T]."""
        return (self.rows - self.first) * self.width + self.positions - self.start

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """Write keys and values [N, H, D] to the cache and attend to all that is there."""
        there = self.cache.data[layer]
        # Indices on both sides of a slice put the indexed dimensions first: [N, 2, H, D].
        there[:, self.rows, :, self.positions] = qkv[:, 1:]
        keys, values = there[:, self.first : self.cache.rows, :, : self.span].unbind()
        # [B, H, T, D] from keys and values [B, H, span, D]
        mixed = _mix_cached(self._padded(qkv[:, 0]), keys, values, self.mask)
        return mixed.transpose(1, 2).flatten(0, 1) if self.width == 1 else self._line(mixed)

    def _padded(self, query: Tensor) -> Tensor:
        """[N, H, D] to [B, H, T, D], zero where a row is shorter."""
        if self.width == 1:
            return query[:, :, None]
        grid = query.new_zeros((self.cache.rows - self.first) * self.width, *query.shape[1:])
        return grid.index_copy(0, self.grid, query).unflatten(0, (-1, self.width)).transpose(1, 2)

    def _line(self, mixed: Tensor) -> Tensor:
        """[B, H, T, D] to [N, H, D]."""
        return mixed.transpose(1, 2).flatten(0, 1).index_select(0, self.grid)


def _mix_cached(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attention over a cache, on a CPU in bf16 by whichever way is quicker than PyTorch's own (docs/decisions.md).

    Args:
        query: [B, H, T, D].
        keys: [B, H, span, D].
        values: [B, H, span, D].
        mask: added to the scores [B, H, T, span]; None where all is looked at.

    Returns:
        [B, H, T, D].
    """
    rows, heads, width, size = query.shape
    if query.dtype != torch.bfloat16 or query.device.type != "cpu" or width > 1:
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
    if mask is None:  # few numbers, so that copies cost little
        return F.scaled_dot_product_attention(query.float(), keys.float(), values.float()).to(query.dtype)
    # With the keys as the first factor oneDNN takes them as they lie; as the second it would copy them first.
    scores = torch.bmm(keys.flatten(0, 1), query.reshape(-1, size, 1)).view(rows, heads, 1, -1)
    shares = (scores * size**-0.5 + mask).softmax(-1)
    return torch.bmm(shares.flatten(0, 1), values.flatten(0, 1)).view(query.shape)


def mix(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    is_causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """Scaled dot-product attention on [B, T, H, D]; on a CPU in fp32 instead of bf16.

    PyTorch's bf16 attention on CPUs takes 2 to 5 times as long backwards as fp32's (docs/decisions.md).
    """
    q, k, v = (part.transpose(1, 2) for part in (query, key, value))
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        q, k, v = q.float(), k.float(), v.float()
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=is_causal)
    return mixed.transpose(1, 2)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """[..., in] to [..., out] by a weight [out, in]; answers are made by PyTorch's quickest way on a CPU.

    By itself PyTorch multiplies fp32 by MKL, which takes twice as long on an AMD CPU as oneDNN, and a single bf16 token
    by oneDNN, which reads weights at half the memory's speed (docs/decisions.md).
    """
    if torch.is_inference_mode_enabled() and x.device.type == "cpu" and weight.is_contiguous():
        if x.dtype == torch.float32 and torch.backends.mkldnn.is_available():
            return F.linear(x.to_mkldnn(), weight, bias).to_dense()
        if x.dtype == torch.bfloat16 and x.shape[:-1].numel() == 1:
            with torch.backends.mkldnn.flags(enabled=False, deterministic=None, allow_tf32=None, fp32_precision=None):
                return F.linear(x, weight, bias)
    return F.linear(x, weight, bias)


class Projection(nn.Module):
    """An affine map whose weight is stored [in, out], as the published GPT-2 checkpoints do.

    In memory the weight may lie the other way round, see `lay_out_for_answers`.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return _product(x, self.weight.t(), self.bias)

    def lay_out_for_answers(self) -> None:
        """Let the weight lie as [out, in] in memory, its shape staying what it is, as `_product` wants it."""
        self.weight.data = self.weight.data.t().contiguous().t()


class Embedding(nn.Module):
    """A table of vectors. Unlike `nn.Embedding` it draws no random numbers for values that are then replaced.

    A batch looks up a few hundred of 50,257 vectors. On a CPU only their gradients are computed and added to the
    table's, which the output head has filled in the meantime; autograd by itself would fill a second table with zeros,
    add to that, and add the two tables, which took an eighth of a step (docs/decisions.md).

    Attributes:
        through_autograd: whether the gradient goes that way all the same, for whoever must know when it is complete.
    """

    def __init__(self, entries: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(entries, width))
        self.through_autograd = False

    def forward(self, ids: Tensor) -> Tensor:
        """[...] int64 to [..., width]."""
        wanted = torch.is_grad_enabled() and self.weight.requires_grad
        if self.through_autograd or not wanted or self.weight.device.type != "cpu":
            return F.embedding(ids, self.weight)
        vectors = F.embedding(ids, self.weight.detach()).requires_grad_()
        vectors.register_hook(functools.partial(_add_to_rows, self.weight, ids))
        return vectors


def _add_to_rows(table: Tensor, ids: Tensor, gradients: Tensor) -> None:
    """Add gradients [..., C] to those of a table's rows ``ids`` [...]; equal ids are summed in at least fp32 first."""
    distinct, place = ids.flatten().unique(return_inverse=True)
    sums = torch.zeros(len(distinct), gradients.shape[-1], dtype=torch.promote_types(table.dtype, torch.float32))
    sums.index_add_(0, place, gradients.flatten(0, -2).to(sums.dtype))
    if table.grad is None:
        table.grad = torch.zeros_like(table)
    table.grad[distinct] = (table.grad[distinct] + sums).to(table.dtype)


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = Projection(config.n_embd, 3 * config.n_embd)
        self.c_proj = Projection(config.n_embd, config.n_embd)
        self.drop = nn.Dropout(0.0)

    def forward(self, x: Tensor, layer: int, attend: Attend) -> Tensor:
        """[..., C] to [..., C]."""
        qkv = self.c_attn(x).unflatten(-1, (3, self.n_head, -1))  # [..., 3, H, D]
        return self.drop(self.c_proj(attend(layer, qkv).flatten(-2)))


class MLP(nn.Module):
    """Two projections with GELU between; GPT-2 uses its tanh approximation."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = Projection(config.n_embd, 4 * config.n_embd)
        self.c_proj = Projection(4 * config.n_embd, config.n_embd)
        self.drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] to [..., C]."""
        return self.drop(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")))


class Block(nn.Module):
    """Attention and MLP, each on a layer-normalised copy that is added back."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, layer: int, attend: Attend) -> Tensor:
        """[..., C] to [..., C]."""
        x = x + self.attn(self.ln_1(x), layer, attend)
        return x + self.mlp(self.ln_2(x))


class GPT2(nn.Module):
    """The network. Its parameters are uninitialised until `stages.gpt2.weights` fills them.

    Attributes:
        recompute: whether the backward pass computes each block's activations again instead of keeping them.
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = config
        self.recompute = False
        self.wte = Embedding(config.vocab_size, config.n_embd)
        self.wpe = Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(0.0)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)

    def forward(self, ids: Tensor, positions: Tensor | None = None, attend: Attend = causal) -> Tensor:
        """Hidden states after the last layer norm; `logits` turns them into logits.

        Args:
            ids: int64, [B, T] rows side by side or whatever shape ``attend`` works on.
            positions: each token's position in its row, below ``config.n_positions``, in a shape that broadcasts with
                the ids; by default the last dimension counts from 0.
            attend: how tokens look at one another.

        Returns:
            [..., C] in the parameters' dtype.
        """
        if positions is None:
            positions = torch.arange(ids.shape[-1], device=ids.device)
        x = self.drop(self.wte(ids) + self.wpe(positions))
        for layer, block in enumerate(self.h):
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, layer, attend, use_reentrant=False)
            else:
                x = block(x, layer, attend)
        return self.ln_f(x)

    def set_dropout(self, share: float) -> None:
        """Drop this share of the embeddings and of what each block adds, in training mode."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = share

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., C] hidden states to [..., V] logits, by the tied head."""
        return _product(hidden, self.wte.weight)
