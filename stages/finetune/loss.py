"""The loss over the vocabulary: the largest single piece of work in fine-tuning a small GPT-2, done in one pass.

Plain PyTorch writes the [M, V] logits, their fp32 copy, their log-softmax and two gradients of the same size to memory
and reads them back. With a vocabulary of 50,257 that traffic takes longer than the arithmetic. Here the logits are
written once, in the model's dtype. In place they become exponentials, a block at a time, in the cache, in fp32. These
are the gradients but for a factor of each token, which goes into the products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from stages.gpt2 import runtime

#: Target tokens whose logits are in memory at a time, until a matrix product takes their gradients: 103 MB in bf16.
GROUP = 1024
#: Logits that are turned to fp32 at a time on a CPU: 1 MB, so that they stay in the cache. A GPU takes all at once.
BLOCK = 1 << 18
#: Tokens of the vocabulary that a CPU multiplies at a time: oneDNN's product of 50,257 takes a quarter longer.
WORDS = 1 << 13
#: The number of tokens is brought to a multiple of this by some of weight 0: a CPU's product writes rows of whole cache
#: lines in 0.75 of the time.
COLUMNS = 16


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
    more = -len(targets) % COLUMNS
    hidden, targets, weights = pad(hidden, (0, 0, 0, more)), pad(targets, (0, more)), pad(weights, (0, more))
    if torch.is_grad_enabled() and (hidden.requires_grad or head.requires_grad):
        total: Tensor = _SummedCrossEntropy.apply(hidden, head, targets, weights)
        return total
    total = torch.zeros((), device=hidden.device)
    for h, target, weight in zip(hidden.split(GROUP), targets.split(GROUP), weights.split(GROUP), strict=True):
        total += _Group(h, head, target).losses @ weight
    return total


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        total = torch.zeros((), device=hidden.device)
        hidden_gradient = torch.empty_like(hidden)
        head_gradient: Tensor | None = None
        for start in range(0, len(targets), GROUP):
            part = slice(start, start + GROUP)
            h = hidden[part]
            group = _Group(h, head, targets[part])
            total += group.losses @ weights[part]
            gradient, factors = group.gradient(weights[part])
            torch.mul(torch.mm(gradient.t(), head), factors, out=hidden_gradient[part])
            if ctx.needs_input_grad[1]:
                product = _by_words(gradient, (h * factors).to(h.dtype))
                # Several are summed in fp32: rounded to bf16 after each, the sum would be off by up to 1 %.
                head_gradient = product if head_gradient is None else head_gradient.float().add_(product)
            del group, gradient  # before the next one is made: it is the largest tensor of all
        if head_gradient is not None:
            head_gradient = head_gradient.to(head.dtype)
        ctx.save_for_backward(hidden_gradient, head_gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        [scale] = gradients
        hidden_gradient, head_gradient = ctx.saved_tensors
        if not _seen_to_be_one(scale):
            for gradient in ctx.saved_tensors:
                if gradient is not None:
                    gradient.mul_(scale)  # a second backward pass would be refused for it
        return hidden_gradient, head_gradient, None, None


def _seen_to_be_one(scale: Tensor) -> bool:
    """Whether a scalar is 1; on a GPU it is not looked at, which would wait for all work that is enqueued there."""
    return not scale.is_cuda and bool(scale == 1)


def _by_words(words: Tensor, other: Tensor) -> Tensor:
    """The product of [V, K] and [K, n], a part of the vocabulary at a time on a CPU."""
    if words.device.type != "cpu":
        return words @ other
    product = words.new_empty(len(words), other.shape[1])
    for part, out in zip(words.split(WORDS), product.split(WORDS), strict=True):
        torch.mm(part, other, out=out)
    return product


def _in_blocks(logits: Tensor) -> tuple[Tensor, ...]:
    """Logits [V, m] by parts of the vocabulary that stay in a CPU's cache."""
    on_cpu = logits.device.type == "cpu"
    return logits.split(max(BLOCK // logits.shape[1], 1) if on_cpu else len(logits))


class _Group:
    """The logits [V, m] of some tokens, each token a column, and what comes of them.

    This way round the head's three matrix products take 0.7 of the time (docs/decisions.md).

    Args:
        h: [m, C], what the logits come from.
        head: [V, C].
        targets: [m].
    """

    def __init__(self, h: Tensor, head: Tensor, targets: Tensor) -> None:
        logits = _by_words(head, h.t())
        self._targets = (targets, torch.arange(len(h), device=h.device))
        at_target = logits[self._targets].float()
        largest = torch.stack([block.amax(dim=0) for block in _in_blocks(logits)]).amax(dim=0).float()
        self._sums = torch.zeros(len(h), device=h.device)
        for block in _in_blocks(logits):
            exponentials = (block if block.dtype == torch.float32 else block.float()).sub_(largest).exp_()
            self._sums += exponentials.sum(dim=0)
            block.copy_(exponentials)
        self._exponentials = logits
        self._at_target = at_target - largest
        #: [m] fp32, in nats.
        self.losses = self._sums.log() - self._at_target

    def gradient(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Make the logits their weighted losses' gradient, but for a factor of each token.

        The gradient is weight * (softmax(logits) - one_hot(target)). A softmax is exponentials over their sum, so that
        it takes no pass over the logits: the factors go into what the products are multiplied with.

        Returns:
            [V, m] of the logits' dtype: the exponentials, less their sum at the target; and [m, 1] fp32: what each
            column is to be multiplied with.
        """
        # The difference is made in fp32: of exponentials rounded to bf16 nothing may be left.
        at_target = (self._at_target.exp() - self._sums).to(self._exponentials.dtype)
        with runtime.distinct_indices(self._exponentials.device):
            self._exponentials[self._targets] = at_target
        return self._exponentials, (weights / self._sums).unsqueeze(1)
