"""The loss over the vocabulary: the largest single piece of work in fine-tuning a small GPT-2, done in one pass.

Plain PyTorch writes the [M, V] logits, their fp32 copy, their log-softmax and two gradients of the same size to memory
and reads them back: at 50,257 words a token that traffic costs more than the arithmetic. Here the logits of a few
tokens at a time become losses and then, in place, gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Tokens whose fp32 logits are in memory at a time: 256 * 50,257 numbers are 51 MB.
CHUNK = 256
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
        total += _exponentials(h, head, target)[0] @ weight
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
            hidden_gradient[group] = (head.t() @ gradient).t()
            if ctx.needs_input_grad[1]:
                product = gradient @ h
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
    """The gradient of the loss by the logits, [V, m] in ``h``'s dtype, and the loss itself."""
    gradient = h.new_empty(len(head), len(h))
    total = torch.zeros((), device=h.device)
    for start in range(0, len(h), CHUNK):
        chunk = slice(start, start + CHUNK)
        target, weight = targets[chunk], weights[chunk]
        losses, exponentials, sums = _exponentials(h[chunk], head, target)
        total += losses @ weight
        # d loss / d logits = weight * (softmax(logits) - one_hot(target)), made in the exponentials' own memory.
        softmax = exponentials.mul_(weight / sums)
        softmax[target, torch.arange(len(target), device=h.device)] -= weight
        gradient[:, chunk] = softmax
        del exponentials, softmax  # before the next ones are made
    return gradient, total


def _exponentials(h: Tensor, head: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The losses [m], the exponentials of the logits [V, m], each token's up to a factor, and their sums [m]; in fp32.

    A token is a column: this way round the three matrix products of the head take 0.7 of the time (docs/decisions.md).
    """
    logits = (head @ h.t()).float()
    logits.sub_(logits.amax(dim=0))
    at_target = logits[targets, torch.arange(len(targets), device=h.device)]
    sums = logits.exp_().sum(dim=0)
    return sums.log() - at_target, logits, sums
