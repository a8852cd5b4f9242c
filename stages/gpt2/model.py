"""GPT-2, the whole network: token ids in, hidden states and logits out.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners". Parameter names and layouts are those of
the published checkpoints (`transformers.GPT2Model`): a projection's weight is stored [in, out], and the output
head is the token embedding itself.

Shape letters: B rows, T positions in a row, C width, H heads, D width of a head, S cached positions, V vocabulary,
P tokens of the shared prefix, N tokens in all.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stages.gpt2 import dropout
from stages.gpt2.dropout import Dropout
from stages.gpt2.tokenizer import VOCABULARY_SIZE

#: epsilon of the layer norms in the published config.json files.
LAYER_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class GPT2Config:
    """The sizes of a GPT-2, named as in the published config.json."""

    n_layer: int
    n_head: int
    n_embd: int
    n_positions: int
    vocab_size: int = VOCABULARY_SIZE

    @property
    def parameters(self) -> int:
        """The number of weights. With C the width: 12 C² + 13 C a block, 2 C of the last layer norm, the embeddings."""
        block = 12 * self.n_embd**2 + 13 * self.n_embd
        return self.n_layer * block + (self.vocab_size + self.n_positions + 2) * self.n_embd


class Attend(Protocol):
    """The attention of a pass: which tokens attend to which. `GPT2.forward` takes it besides the tokens.

    Called once a layer with queries, keys and values, [..., 3, H, D], where ... is the shape of the ids. Returns the
    weighted values, [..., H, D].
    """

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """Attention of one layer."""
        ...


def causal(layer: int, qkv: Tensor) -> Tensor:  # noqa: ARG001
    """Causal attention of a batch of rows, [B, T, 3, H, D] to [B, T, H, D]: each token sees its row up to itself.

    Rows shorter than T are padded on the right with any id: no real token sees what comes after it.
    """
    return scaled_dot_product(*qkv.unbind(-3), is_causal=True).to(qkv.dtype)


def scaled_dot_product(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """Attention of queries [B, T, H, D] over keys and values [B, S, H, D]; on a CPU in fp32 instead of bf16.

    PyTorch's bf16 attention on CPUs takes 2 to 5 times as long backwards as that in fp32 (docs/decisions.md).

    Args:
        query: queries.
        key: keys, of the queries' dtype.
        value: values, likewise.
        mask: [T, S] bool: the keys that a query sees; None: all.
        is_causal: each query sees the keys up to its own position; only where T is S, and without a mask.

    Returns:
        [B, T, H, D], on a CPU in fp32 where the queries are in bf16, else in their dtype.
    """
    q, k, v = (part.transpose(1, 2) for part in (query, key, value))  # [B, H, T or S, D]
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        q, k, v = q.float(), k.float(), v.float()
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal)
    return mixed.transpose(1, 2)


class Projection(nn.Module):
    """An affine map whose weight is stored [in, out], as the published GPT-2 checkpoints do.

    In memory the weight may be transposed, see `lay_out_for_inference`.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return F.linear(x, self.weight.t(), self.bias)

    def lay_out_for_inference(self) -> None:
        """Store the weight as [out, in] in memory, its shape unchanged, which `stages.gpt2.inference` reads faster."""
        self.weight.data = self.weight.data.t().contiguous().t()


class Embedding(nn.Module):
    """A table of vectors. Unlike `nn.Embedding` it draws no random numbers for values that are then replaced.

    A batch looks up a few hundred of 50,257 vectors. On a CPU only their gradients are computed, and added to the
    table's gradient, which the output head has begun by then. Autograd by itself would zero a second table, add to
    that, and add the two tables, which took an eighth of a step (docs/decisions.md).

    Attributes:
        through_autograd: whether autograd computes the gradient all the same, for callers that must know when it is
            complete.
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
    distinct, index = ids.flatten().unique(return_inverse=True)
    sums = torch.zeros(len(distinct), gradients.shape[-1], dtype=torch.promote_types(table.dtype, torch.float32))
    sums.index_add_(0, index, gradients.flatten(0, -2).to(sums.dtype))
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

    def forward(self, x: Tensor, layer: int, attend: Attend) -> Tensor:
        """[..., C] to [..., C]."""
        qkv = self.c_attn(x).unflatten(-1, (3, self.n_head, -1))  # [..., 3, H, D]
        return self.c_proj(attend(layer, qkv).flatten(-2))  # heads [..., H, D] joined to [..., C]


class MLP(nn.Module):
    """Two projections with GELU between; GPT-2 uses its tanh approximation."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = Projection(config.n_embd, 4 * config.n_embd)
        self.c_proj = Projection(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] to [..., C]."""
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))  # by way of [..., 4 * C]


class Block(nn.Module):
    """Attention and MLP, each on a layer-normalised copy that is added back."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, layer: int, attend: Attend, drop: Dropout | None = None) -> Tensor:
        """[..., C] to [..., C]; with dropout [N, C] to [N, C]."""
        if drop is None:
            x = x + self.attn(self.ln_1(x), layer, attend)
            return x + self.mlp(self.ln_2(x))
        x = x + drop(self.attn(self.ln_1(x), layer, attend), dropout.ATTENTION, layer)
        return x + drop(self.mlp(self.ln_2(x)), dropout.MLP, layer)


class GPT2(nn.Module):
    """The network. Its parameters are uninitialised until `stages.gpt2.weights` sets them.

    Attributes:
        recompute: whether the backward pass recomputes each block's activations instead of keeping them (activation
            checkpointing).
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = config
        self.recompute = False
        self.wte = Embedding(config.vocab_size, config.n_embd)
        self.wpe = Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)

    def forward(
        self,
        ids: Tensor,
        positions: Tensor | None = None,
        attend: Attend = causal,
        drop: Dropout | None = None,
    ) -> Tensor:
        """Hidden states after the last layer norm; `logits` turns them into logits.

        Args:
            ids: int64, a batch [B, T] or any other shape that ``attend`` works on.
            positions: each token's position in its row, below ``config.n_positions``, in a shape that broadcasts with
                the ids; by default the last dimension counts from 0.
            attend: attention, which says what tokens see of one another. It drops attention weights by itself.
            drop: what is dropped of the embeddings and of what each block adds; None: nothing. Ids are then [N].

        Returns:
            [..., C] in the parameters' dtype.
        """
        if positions is None:
            positions = torch.arange(ids.shape[-1], device=ids.device)
        x = self.wte(ids) + self.wpe(positions)  # [..., C]
        if drop is not None:
            x = drop(x, dropout.EMBEDDING)
        for layer, block in enumerate(self.h):
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, layer, attend, drop, use_reentrant=False)
            else:
                x = block(x, layer, attend, drop)
        return self.ln_f(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., C] hidden states to [..., V] logits, by the tied head."""
        return F.linear(hidden, self.wte.weight)
