"""Generation: prompts in, answers out, over a KV cache. Works on token ids alone.

`tokens` is continuous batching. Up to ``batch_size`` rows are active, each with a slot in a cache that is
allocated once. A row is prefilled, then grows by one token a step. A finished row frees its slot, and when enough slots
are free, waiting rows take them. The shared prefix of all prompts is computed once. Lengths and positions are passed
explicitly: GPT-2's padding id is its end-of-text id, so that neither can be read off the ids.
"""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stages.common.errors import DataError
from stages.common.records import StopReason
from stages.gpt2 import graphs
from stages.gpt2.captured_decoding import CapturedDecoding
from stages.gpt2.inference import Network, PromptPass, SingleStepPass, StepPass
from stages.gpt2.kv_cache import KVCache
from stages.gpt2.model import GPT2
from stages.gpt2.packed import shared_prefix_length
from stages.gpt2.prepacked import Layout
from stages.gpt2.prompt_lookup import PromptLookup
from stages.gpt2.sampling import NO_TOKEN, Sampling, most_likely, sample

#: Waiting rows are prefilled when at least this share of the slots is free. Each prefill reads all weights, so that one
#: row at a time would double the passes; a quarter keeps three slots of four busy.
FREE_SLOTS = 1 / 4


@dataclass(frozen=True)
class Token:
    """One step of one answer.

    Args:
        index: index of the prompt.
        id: id of the token; None if the prompt leaves no room for any.
        stop_reason: why the answer ends here; None if it goes on.
    """

    index: int
    id: int | None
    stop_reason: StopReason | None


@dataclass(frozen=True)
class Answer:
    """What was generated for one prompt. ``ids`` ends with the end-of-text id if that is why it stopped."""

    ids: list[int]
    stop_reason: StopReason


@dataclass(frozen=True)
class Decoding:
    """How prompts are answered.

    Args:
        end_of_text: id that ends an answer.
        max_new_tokens: length of the longest answer, its end-of-text included: one number, or one a prompt.
        batch_size: the most prompts that are answered at a time.
        sampling: how to draw tokens; None takes the most likely one.
        speculative: whether a greedy row that is alone on a CPU decodes speculatively (`stages.gpt2.prompt_lookup`);
            several of its tokens may then come at once.

    Raises:
        ValueError: a length or the batch size is below 1.
    """

    end_of_text: int
    max_new_tokens: int | Sequence[int]
    batch_size: int
    sampling: Sampling | None = None
    speculative: bool = True

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, found {self.batch_size}")
        lengths = [self.max_new_tokens] if isinstance(self.max_new_tokens, int) else self.max_new_tokens
        if lengths and min(lengths) < 1:
            raise ValueError(f"max_new_tokens: expected at least 1, found {min(lengths)}")


@dataclass
class _Row:
    """A prompt and its answer so far; ``draws`` gives its random numbers."""

    index: int
    prompt: Sequence[int]
    most: int
    draws: torch.Generator | None
    ids: list[int] = field(default_factory=list)
    lookup: PromptLookup = field(default_factory=PromptLookup)

    @property
    def position(self) -> int:
        """The position of the last token."""
        return len(self.prompt) + len(self.ids) - 1

    def draft(self, context: int) -> list[int]:
        """Draft tokens, perhaps none. They and one more token fit into a sequence of ``context`` tokens."""
        most = min(self.most - len(self.ids), context - self.position - 1) - 1
        return self.lookup.draft([*self.prompt, *self.ids], most) if most > 0 else []


def prepare(model: GPT2, layout: Layout = "plain") -> Network:
    """A model's network, its weights laid out for inference; arguments and effects as of `Network.prepared`.

    Results are rounded differently than with the layout of training.
    """
    return Network.prepared(model, layout)


def generate(
    model: GPT2 | Network, prompts: Sequence[Sequence[int]], how: Decoding, seeds: Sequence[int] | None = None
) -> Iterator[tuple[int, Answer]]:
    """Answer every prompt. Arguments and errors are those of `tokens`.

    Yields:
        (index of the prompt, its answer) in the order in which answers are finished.
    """
    ids: defaultdict[int, list[int]] = defaultdict(list)
    for token in tokens(model, prompts, how, seeds):
        if token.id is not None:
            ids[token.index].append(token.id)
        if token.stop_reason:
            yield token.index, Answer(ids.pop(token.index, []), token.stop_reason)


def tokens(
    model: GPT2 | Network, prompts: Sequence[Sequence[int]], how: Decoding, seeds: Sequence[int] | None = None
) -> Iterator[Token]:
    """Answer every prompt, token by token, longest prompt first.

    Long prompts tend to have long answers, and a single long answer at the end takes most time: a step reads all
    weights, however few rows there are.

    A row's computation and its random numbers do not involve the other rows. In fp32 answers have been the same for
    every batch size tried. A matrix product may round differently for another number of rows, which shows in bf16.

    Args:
        model: model in evaluation or training mode, whose dropout is left out in both; or what `prepare` made of it.
        prompts: token ids, each prompt at least one.
        how: how they are answered.
        seeds: seeds of the random numbers, one a prompt; needed for sampling, and of no effect without it.

    Yields:
        Tokens in the order in which they are made. An answer stops with "context" where the next token would not fit
        into ``model.config.n_positions``. One whose prompt alone fills that is a single `Token` without an id.

    Raises:
        ValueError: a prompt is empty, the number of seeds or lengths is not that of the prompts, or there is sampling
            without seeds.
        DataError: the model's logits are NaN or infinite.
    """
    rows = _rows(prompts, how, seeds)
    context = model.config.n_positions
    yield from (Token(row.index, None, "context") for row in rows if len(row.prompt) >= context)
    if fitting := [row for row in rows if len(row.prompt) < context]:
        yield from _Batch(model, fitting, how).tokens()


def _rows(prompts: Sequence[Sequence[int]], how: Decoding, seeds: Sequence[int] | None) -> list[_Row]:
    if how.sampling and seeds is None:
        raise ValueError("sampling without seeds: expected one a prompt")
    if empty := [index for index, prompt in enumerate(prompts) if not prompt]:
        raise ValueError(f"prompt {empty[0]}: expected at least one token, found none")
    most = [how.max_new_tokens] * len(prompts) if isinstance(how.max_new_tokens, int) else how.max_new_tokens
    drawn = seeds if how.sampling else None
    for what, values in (("max_new_tokens", most), ("seeds", drawn)):
        if values is not None and len(values) != len(prompts):
            raise ValueError(f"{what}: expected {len(prompts)}, one a prompt, found {len(values)}")
    draws = [None] * len(prompts) if drawn is None else [torch.Generator().manual_seed(seed) for seed in drawn]
    return [_Row(*row) for row in zip(range(len(prompts)), prompts, most, draws, strict=True)]


class _Batch:
    """Continuous batching: rows that wait, and active rows, each in the slot of its index in ``_active``.

    Args:
        model: the model.
        rows: at least one row; each has a prompt that leaves room for a token.
        how: how they are answered.
    """

    def __init__(self, model: GPT2 | Network, rows: Sequence[_Row], how: Decoding) -> None:
        self._how, self._context = how, model.config.n_positions
        self._waiting = deque(sorted(rows, key=lambda row: -len(row.prompt)))
        self._active: list[_Row] = []
        self._slots = min(how.batch_size, len(rows))
        self._network = network = Network.of(model) if isinstance(model, GPT2) else model
        self._prefix = _prefix(network, [row.prompt for row in self._waiting])
        longest = max(len(row.prompt) + row.most for row in rows)
        self._cache = cache = network.cache(self._slots, min(longest, self._context))
        device = network.wte.device
        runner = graphs.runner(device)
        self._decode = (
            CapturedDecoding(network, cache, runner) if runner else functools.partial(decode_one, network, cache)
        )
        self._drafting = how.speculative and how.sampling is None and runner is None and device.type == "cpu"

    def tokens(self) -> Iterator[Token]:
        """The tokens of all rows, in the order in which they are made."""
        while self._waiting or self._active:
            for row, new in self._step():
                yield from _extended(row, new, self._how.end_of_text, self._context)
            self._free_slots()

    def _step(self) -> Iterable[tuple[_Row, Sequence[int]]]:
        """Some rows with the tokens that come next in each: one, or several from accepted draft tokens."""
        free = self._slots - len(self._active)
        if self._waiting and free >= self._slots * FREE_SLOTS:
            grown = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
            self._active += grown
            logits = prefill(self._network, self._cache, [row.prompt for row in grown], self._prefix)
        elif self._drafting and len(self._active) == 1 and (draft := self._active[0].draft(self._context)):
            return [(self._active[0], _verified(self._network, self._cache, self._active[0], draft))]
        else:
            grown = self._active
            logits = self._decode([row.ids[-1] for row in grown], [row.position for row in grown])
        chosen = _choose(logits, grown, self._how.sampling)
        return [(row, [token]) for row, token in zip(grown, chosen, strict=True)]

    def _free_slots(self) -> None:
        """Let rows leave whose answers have ended; the last row takes a freed slot."""
        for slot in reversed(range(len(self._active))):
            if _stop_reason(self._active[slot], self._how.end_of_text, self._context):
                self._cache.leave(slot)
                self._active[slot] = self._active[-1]
                self._active.pop()


def _prefix(network: Network, prompts: Sequence[Sequence[int]]) -> KVCache | None:
    """The keys and values of the shared prefix of all prompts; None if they share none."""
    length = shared_prefix_length(prompts, leaving=1)
    if not length:
        return None
    cache = network.cache(1, length)
    fill(network, cache, [prompts[0][:length]])
    return cache


@torch.inference_mode()
def prefill(
    network: Network, cache: KVCache, prompts: Sequence[Sequence[int]], prefix: KVCache | None = None
) -> Tensor:
    """Take rows into the cache and compute the logits of the token after each prompt. No padding is computed.

    Args:
        network: network of the model.
        cache: cache with as many free slots as there are prompts.
        prompts: token ids.
        prefix: keys and values of the shared prefix, in a cache of just that length; each prompt has at least one token
            more.

    Returns:
        [B, V] logits at each prompt's last token.
    """
    hidden = fill(network, cache, prompts, prefix)
    with network.products_for(len(prompts)):
        return network.head(hidden)


@torch.inference_mode()
def fill(network: Network, cache: KVCache, prompts: Sequence[Sequence[int]], prefix: KVCache | None = None) -> Tensor:
    """Take rows into the cache, without logits. Arguments are those of `prefill`.

    Returns:
        [B, C] hidden states at each prompt's last token.
    """
    device = network.wte.device
    first, start = cache.rows, prefix.span if prefix else 0
    cache.begin(len(prompts), max(map(len, prompts)), prefix)
    own = [prompt[start:] for prompt in prompts]
    lengths = [len(ids) for ids in own]
    ids = torch.tensor([token for ids in own for token in ids], device=device)  # [N]
    positions = torch.cat([torch.arange(start, start + length, device=device) for length in lengths])
    last = torch.tensor(lengths, device=device).cumsum(0) - 1
    with network.products_for(len(ids)):
        return network.hidden(ids, positions, PromptPass(cache, first, start, lengths))[last]


@torch.inference_mode()
def decode_one(network: Network, cache: KVCache, tokens: Sequence[int], positions: Sequence[int]) -> Tensor:
    """Put one more token into every row of the cache.

    Args:
        network: network of the model.
        cache: cache that holds every earlier position of every row.
        tokens: B ids, one a row.
        positions: position of each in its row.

    Returns:
        [B, V] logits of the token after it.
    """
    span = max(positions) + 1
    cache.fit(span)
    ids, at = torch.tensor([tokens, positions], device=network.wte.device)  # [B] each
    attend = StepPass(cache, at, span) if len(tokens) > 1 else SingleStepPass(cache, positions[0])
    with network.products_for(len(tokens)):
        return network.head(network.hidden(ids, at, attend))


@torch.inference_mode()
def decode_several(network: Network, cache: KVCache, tokens: Sequence[int], position: int) -> Tensor:
    """Put several more tokens into the only row of the cache.

    Args:
        network: network of the model.
        cache: cache that holds every earlier position of the row; later ones are overwritten when they come.
        tokens: T successive ids.
        position: position of the first.

    Returns:
        [T, V] logits of the token after each.
    """
    cache.fit(position + len(tokens))
    ids, at = torch.tensor([tokens, range(position, position + len(tokens))], device=network.wte.device)  # [T] each
    with network.products_for(len(tokens)):
        return network.head(network.hidden(ids, at, PromptPass(cache, 0, position, [len(tokens)])))


def _verified(network: Network, cache: KVCache, row: _Row, draft: list[int]) -> list[int]:
    """The next tokens of the only row of a cache: the draft tokens that are accepted, and one more."""
    chosen = _tokens(most_likely(decode_several(network, cache, [row.ids[-1], *draft], row.position)))
    pairs = zip(draft, chosen, strict=False)
    accepted = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    row.lookup.verified(len(draft), accepted)
    return chosen[: accepted + 1]


def _choose(logits: Tensor, rows: Sequence[_Row], sampling: Sampling | None) -> list[int]:
    if sampling is None:
        return _tokens(most_likely(logits))
    draws = torch.stack([torch.rand((), generator=row.draws) for row in rows])
    # On the CPU whatever the model's device: an answer then depends on the logits alone.
    return _tokens(sample(logits.cpu(), draws, sampling))


def _tokens(chosen: Tensor) -> list[int]:
    """Chosen ids as numbers.

    Raises:
        DataError: there was nothing to choose from. Weights are finite where they are read: it is their products that
            are not.
    """
    found: list[int] = chosen.tolist()
    if NO_TOKEN in found:
        raise DataError(
            "the model's logits are NaN or infinite, so that no token follows: its training has diverged, or its "
            "numbers are too large for the precision",
            "set generate.precision: fp32 in params.yaml; if it is fp32, lower finetune.learning_rate; then dvc repro",
        )
    return found


def _extended(row: _Row, new: Sequence[int], end_of_text: int, context: int) -> Iterator[Token]:
    """Append new tokens to a row's answer, up to the one that ends it."""
    for token in new:
        row.ids.append(token)
        yield Token(row.index, token, stop := _stop_reason(row, end_of_text, context))
        if stop:
            return


def _stop_reason(row: _Row, end_of_text: int, context: int) -> StopReason | None:
    if row.ids[-1] == end_of_text:
        return "end_of_text"
    if len(row.ids) == row.most:
        return "max_new_tokens"
    if len(row.prompt) + len(row.ids) == context:
        return "context"
    return None
