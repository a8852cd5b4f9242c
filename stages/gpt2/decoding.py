"""Generation: prompts in, answers out, over a KV cache. Works on token ids alone.

A batch is prefilled once, then grows by one token a row and step. Every row has its own length and positions, which
are passed explicitly: GPT-2's padding id is its end-of-text id, so neither can be read off the ids. Rows that are
finished leave the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from stages.gpt2.model import GPT2, CachedPass, KVCache

StopReason = Literal["end_of_text", "max_new_tokens", "context"]


@dataclass(frozen=True)
class Answer:
    """What was generated for one prompt. ``ids`` ends with the end-of-text id if that is why it stopped."""

    ids: list[int]
    stop_reason: StopReason


@dataclass
class _Row:
    """A prompt on its way to an answer."""

    index: int
    prompt: Sequence[int]
    ids: list[int] = field(default_factory=list)


def generate(
    model: GPT2, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, end_of_text: int, batch_size: int
) -> Iterator[tuple[int, Answer]]:
    """Answer every prompt greedily.

    Prompts are taken in order of length, so that a batch holds little padding. A row's arithmetic does not involve the
    other rows, so in fp32 answers have been the same for every batch size tried; a matrix product may round differently
    for another number of rows, though, and in bf16 that shows.

    Args:
        model: in evaluation or training mode alike; it has no dropout.
        prompts: token ids, each prompt at least one.
        max_new_tokens: the longest answer, its end-of-text included.
        end_of_text: the id that ends an answer.
        batch_size: prompts answered at a time.

    Yields:
        (index of the prompt, its answer), in the order in which answers are finished. An answer stops with "context"
        where the next token would not fit into ``model.config.n_positions``; it is empty if the prompt alone fills it.
    """
    order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
    fitting = [index for index in order if len(prompts[index]) < model.config.n_positions]
    for index in order[len(fitting) :]:
        yield index, Answer([], "context")
    for start in range(0, len(fitting), batch_size):
        rows = [_Row(index, prompts[index]) for index in fitting[start : start + batch_size]]
        yield from _generate_batch(model, rows, max_new_tokens, end_of_text)


def _generate_batch(
    model: GPT2, rows: list[_Row], max_new_tokens: int, end_of_text: int
) -> Iterator[tuple[int, Answer]]:
    longest = max(len(row.prompt) for row in rows)
    capacity = min(longest + max_new_tokens, model.config.n_positions)
    with torch.inference_mode():
        cache = KVCache(model.config, len(rows), capacity, model.wte.weight.dtype, model.wte.weight.device)
        logits = prefill(model, cache, [row.prompt for row in rows])
    while rows:
        for row, token in zip(rows, next_token(logits).tolist(), strict=True):
            row.ids.append(token)
        reasons = [_stop_reason(row, max_new_tokens, end_of_text, model.config.n_positions) for row in rows]
        yield from ((row.index, Answer(row.ids, reason)) for row, reason in zip(rows, reasons, strict=True) if reason)
        kept = [number for number, reason in enumerate(reasons) if reason is None]
        if not kept:
            return
        with torch.inference_mode():
            if len(kept) < len(rows):
                cache.keep(torch.tensor(kept, device=cache.data.device))
                rows = [rows[number] for number in kept]
            logits = decode_one(
                model, cache, [row.ids[-1] for row in rows], [len(row.prompt) + len(row.ids) - 1 for row in rows]
            )


def prefill(model: GPT2, cache: KVCache, prompts: Sequence[Sequence[int]]) -> Tensor:
    """Compute every prompt's keys and values, and the logits of the token after it.

    Args:
        model: the network.
        cache: for as many rows as there are prompts.
        prompts: token ids; shorter ones are padded on the right, where no real token looks. What the padding leaves in
            the cache stands at positions that are written again before any token looks at them.

    Returns:
        [B, V] logits at each prompt's last token.
    """
    device = model.wte.weight.device
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    longest = max(map(len, prompts))
    ids = torch.tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts], device=device)
    positions = torch.arange(longest, device=device).expand(len(prompts), longest)
    hidden = model(ids, positions, CachedPass(cache, positions, longest))  # [B, T, C]
    return model.logits(hidden[torch.arange(len(prompts), device=device), lengths - 1])


def decode_one(model: GPT2, cache: KVCache, tokens: Sequence[int], positions: Sequence[int]) -> Tensor:
    """Put one more token into every row.

    Args:
        model: the network.
        cache: holds every earlier position of every row.
        tokens: B ids, one a row.
        positions: where each stands in its own row.

    Returns:
        [B, V] logits of the token after it.
    """
    device = model.wte.weight.device
    ids = torch.tensor(tokens, device=device)[:, None]
    where = torch.tensor(positions, device=device)[:, None]
    return model.logits(model(ids, where, CachedPass(cache, where, max(positions) + 1))[:, 0])


def next_token(logits: Tensor) -> Tensor:
    """The most likely token of each row: [B, V] logits to [B] ids. Of equals, the lowest id."""
    return logits.argmax(dim=-1)


def _stop_reason(row: _Row, max_new_tokens: int, end_of_text: int, n_positions: int) -> StopReason | None:
    if row.ids[-1] == end_of_text:
        return "end_of_text"
    if len(row.ids) == max_new_tokens:
        return "max_new_tokens"
    if len(row.prompt) + len(row.ids) == n_positions:
        return "context"
    return None
