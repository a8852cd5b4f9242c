"""The loss over the vocabulary: the largest single piece of work in fine-tuning a small GPT-2, done in one pass.

Plain PyTorch writes the [M, V] logits, their fp32 copy, their log-softmax and two gradients of the same size to memory
and reads them back. With a vocabulary of 50,257 that traffic takes longer than the arithmetic. Here the logits are
written once, in the model's dtype. In place they become exponentials, a block at a time, in the cache, in fp32. These
are the gradients but for a factor of each token, which goes into the products.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
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
#: The largest sum of a token's exponentials for which its target's logit is their reference: a loss of 60 nats. In fp32
#: an exponential overflows at 88.
MOST = math.exp(60)


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
    with _memory(hidden, head) as memory:
        for h, target, weight in zip(hidden.split(GROUP), targets.split(GROUP), weights.split(GROUP), strict=True):
            total += _Group(h, head, target, memory).losses @ weight
    return total


#: The memory of the logits on a CPU, by dtype, while no loss uses it. If it were freed, smaller tensors would take
#: parts of it, and the logits, the largest tensor of all, would have to lie elsewhere the next time.
_kept: dict[torch.dtype, Tensor] = {}


@contextlib.contextmanager
def _memory(hidden: Tensor, head: Tensor) -> Iterator[Tensor]:
    """Memory of the logits of a group for the block, flat: what was kept, where it is large enough."""
    count = len(head) * min(len(hidden), GROUP)
    if hidden.device.type != "cpu":
        yield hidden.new_empty(count)
        return
    memory = _kept.pop(hidden.dtype, None)
    if memory is None or len(memory) < count:
        memory = None  # freed before there is another one
        with torch.inference_mode(False):  # so that a training may use it too
            memory = torch.empty(count, dtype=hidden.dtype)
    yield memory
    _kept[hidden.dtype] = memory


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        total = torch.zeros((), device=hidden.device)
        hidden_gradient = torch.empty_like(hidden)
        head_gradient: Tensor | None = None
        with _memory(hidden, head) as memory:
            for start in range(0, len(targets), GROUP):
                part = slice(start, start + GROUP)
                h = hidden[part]
                group = _Group(h, head, targets[part], memory)
                total += group.losses @ weights[part]
                gradient, factors = group.gradient(weights[part])
                torch.mul(torch.mm(gradient.t(), head), factors, out=hidden_gradient[part])
                if ctx.needs_input_grad[1]:
                    product = _by_words(gradient, (h * factors).to(h.dtype), torch.empty_like(head))
                    # Several are summed in fp32: rounded to bf16 after each, the sum would be off by up to 1 %.
                    head_gradient = product if head_gradient is None else head_gradient.float().add_(product)
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


def _may_be_seen(tensor: Tensor) -> bool:
    """Whether to look at values; on a GPU that would wait for all work that is enqueued there."""
    return tensor.device.type == "cpu"


def _seen_to_be_one(scale: Tensor) -> bool:
    """Whether a scalar is 1, as far as it may be seen."""
    return _may_be_seen(scale) and bool(scale == 1)


def _by_words(words: Tensor, other: Tensor, product: Tensor) -> Tensor:
    """Make ``product`` that of [V, K] and [K, n], a part of the vocabulary at a time on a CPU."""
    step = WORDS if words.device.type == "cpu" else len(words)
    for part, out in zip(words.split(step), product.split(step), strict=True):
        torch.mm(part, other, out=out)
    return product


def _in_blocks(logits: Tensor) -> tuple[Tensor, ...]:
    """Logits [V, m] by parts of the vocabulary that stay in a CPU's cache."""
    on_cpu = logits.device.type == "cpu"
    return logits.split(max(BLOCK // max(logits.shape[1], 1), 1) if on_cpu else len(logits))


def _largest(logits: Tensor) -> Tensor:
    """[m] fp32, the largest of each column of [V, m]."""
    return torch.stack([block.amax(dim=0) for block in _in_blocks(logits)]).amax(dim=0).float()


def _exponentials(logits: Tensor, reference: Tensor) -> Tensor:
    """Turn logits [V, m] into the exponentials of what they are above the reference [m]; their sums, [m], in fp32."""
    sums = torch.zeros_like(reference)
    for block in _in_blocks(logits):
        exponentials = (block if block.dtype == torch.float32 else block.float()).sub_(reference).exp_()
        sums += exponentials.sum(dim=0)
        block.copy_(exponentials)
    return sums


class _Group:
    """The logits [V, m] of some tokens, each token a column, and what comes of them.

    This way round the head's three matrix products take 0.7 of the time (docs/decisions.md).

    Args:
        h: [m, C], what the logits come from.
        head: [V, C].
        targets: [m].
        memory: [V * m or more], of their dtype, where the logits are written.
    """

    def __init__(self, h: Tensor, head: Tensor, targets: Tensor, memory: Tensor) -> None:
        seen = _may_be_seen(h)
        self._targets = (targets, torch.arange(len(h), device=h.device))
        logits = _by_words(head, h.t(), memory[: len(head) * len(h)].view(len(head), len(h)))
        at_target = logits[self._targets].float()
        # To find the largest logit takes another pass. The target's will do, unless others are far above it.
        reference = at_target if seen else _largest(logits)
        self._sums = _exponentials(logits, reference)
        if seen and not bool((self._sums < MOST).all()):
            reference = _largest(_by_words(head, h.t(), logits))
            self._sums = _exponentials(logits, reference)
        self._exponentials = logits
        self._at_target = at_target - reference
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
