"""The next token from the logits: the most likely one, or a drawn one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

#: In place of a token's id, where a row's logits hold NaN or infinity: nothing can be chosen from them.
NO_TOKEN = -1


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn, where it is not the most likely one.

    Args:
        temperature: number above 0 that logits are divided by. Below 1 likely tokens become likelier.
        top_k: number of most likely tokens to draw from; None for all.
        top_p: probability that the fewest most likely tokens to draw from reach together (nucleus sampling, Holtzman et
            al. 2020), after ``top_k`` and renormalised; None for all.

    Raises:
        ValueError: a value is out of range.
    """

    temperature: float
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature: expected a number above 0, found {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k: expected at least 1, found {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p: expected a number above 0 and at most 1, found {self.top_p}")


def most_likely(logits: Tensor) -> Tensor:
    """The most likely token of each row: [B, V] logits to [B] ids, or `NO_TOKEN`. Of equals the lowest id."""
    largest, ids = logits.max(dim=-1)  # in bf16 on a CPU `argmax` takes five times as long
    return ids.where(largest.isfinite(), NO_TOKEN)  # the largest of numbers of which one is NaN is NaN


def sample(logits: Tensor, draws: Tensor, sampling: Sampling) -> Tensor:
    """Draw a token for each row by inverting the distribution function, tokens in the order of their ids.

    Probabilities .2, .3, .5 and the draw .4 give token 1, as .2 <= .4 < .2 + .3.

    Args:
        logits: logits, [B, V].
        draws: random numbers in [0, 1), [B] fp32.
        sampling: how to draw.

    Returns:
        [B] ids, or `NO_TOKEN`.
    """
    cumulative = probabilities(logits, sampling).cumsum(-1)  # [B, V]
    # In fp64 a draw of 24 bits times the sum stays below the sum, so a token is always found.
    ids = torch.searchsorted(cumulative, draws.double()[:, None] * cumulative[:, -1:], right=True)[:, 0]
    return ids.where(logits.amax(-1).isfinite(), NO_TOKEN)


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """[B, V] logits to the fp64 probabilities to draw from. Of equals at the edge of ``top_p`` lower ids stay.

    The largest logit is subtracted before the division and not after it, as softmax does by itself: divided by a tiny
    temperature all logits may be infinite, and infinity less infinity is no number.
    """
    logits = logits.double()
    logits = (logits - logits.amax(-1, keepdim=True)) / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    found = logits.softmax(-1)
    if sampling.top_p is None:
        return found
    ranked, ids = found.sort(dim=-1, descending=True, stable=True)
    before = ranked.cumsum(-1) - ranked  # the probability of all likelier tokens
    kept = torch.zeros_like(found).scatter(-1, ids, ranked.masked_fill(before >= sampling.top_p, 0))
    return kept / kept.sum(-1, keepdim=True)
