"""The loss over the vocabulary: the largest single piece of work in fine-tuning a small GPT-2, done in one pass.

Plain PyTorch writes the [M, V] logits, their fp32 copy, their log-softmax and two gradients of the same size to memory
and reads them back: at 50,257 words a token that traffic costs more than the arithmetic. Here the logits of a few
tokens at a time become losses and then, in place, gradients.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: Tokens whose fp32 logits are in memory at a time: 128 * 50,257 numbers are 26 MB.
CHUNK = 128
#: Tokens whose gradients are, in the model's dtype, until one matrix product takes them all: 103 MB in bf16.
GROUP = 1024


def summed_cross_entropy(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of ``softmax(hidden @ head.T)`` in nats, weighted and summed over the tokens.

    Equal to ``(F.cross_entropy(F.linear(hidden, head).float(), targets, reduction="none") * weights).sum()`` in value
    and gradients. The gradients are made in the forward pass where they are wanted, so it suits a loss that is computed
    to be followed by ``backward``.

    Args:
        hidden: [M, C] fp32 or bf16.
        head: [V, C] of the same dtype.
        targets: [M] int64.
        weights: [M] fp32.

    Returns:
        A scalar in fp32.
    """
    if torch.is_grad_enabled() and (hidden.requires_grad or head.requires_grad):
        total: Tensor = _SummedCrossEntropy.apply(hidden, head, targets, weights)
        return total
    total = torch.zeros((), device=hidden.device)
    for h, target, weight in zip(hidden.split(CHUNK), targets.split(CHUNK), weights.split(CHUNK), strict=True):
        total += F.cross_entropy(F.linear(h, head).float(), target, reduction="none") @ weight
    return total


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        total = torch.zeros((), device=hidden.device)
        hidden_gradient = torch.empty_like(hidden)
        head_gradient: Tensor | None = None
        for start in range(0, len(targets), GROUP):
            group = slice(start, start + GROUP)
            h = hidden[group]
            gradient, loss = _logit_gradient(h, head, targets[group], weights[group])
            total += loss
            torch.mm(gradient, head, out=hidden_gradient[group])
            if ctx.needs_input_grad[1]:
                product = gradient.t() @ h
                # Several are summed in fp32: rounded to bf16 after each, the sum would be off by up to 1 %.
                head_gradient = product if head_gradient is None else head_gradient.float().add_(product)
            del gradient  # before the next one is made: it is the largest tensor of all
        ctx.save_for_backward(hidden_gradient, None if head_gradient is None else head_gradient.to(head.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        hidden_gradient, head_gradient = ctx.saved_tensors
        # On a CPU to look costs nothing, and a pass over the head's gradient 1 % of a step; on a GPU it is the reverse.
        if upstream.device.type != "cpu" or upstream != 1:
            hidden_gradient.mul_(upstream)
            if head_gradient is not None:
                head_gradient.mul_(upstream)
        return hidden_gradient, head_gradient, None, None


def _logit_gradient(h: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of the loss by the logits, [m, V] in ``h``'s dtype, and the loss itself."""
    gradient = h.new_empty(len(h), len(head))
    total = torch.zeros((), device=h.device)
    for start in range(0, len(h), CHUNK):
        chunk = slice(start, start + CHUNK)
        target, weight = targets[chunk, None], weights[chunk, None]
        logits = F.linear(h[chunk], head).float()  # [m, V]
        logits.sub_(logits.amax(dim=1, keepdim=True))
        at_target = logits.gather(1, target)
        normaliser = logits.exp_().sum(dim=1, keepdim=True)
        total += ((normaliser.log() - at_target) * weight).sum()
        # d loss / d logits = weight * (softmax(logits) - one_hot(target)), made in the logits' own memory.
        gradient[chunk] = logits.mul_(weight / normaliser).scatter_add_(1, target, -weight)
        del logits
    return gradient, total
