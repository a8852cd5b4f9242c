"""Generation: prompts in, answers out, over a KV cache. Works on token ids alone.

`tokens` is the loop. Up to ``batch_size`` rows are under way, each with a place in a cache that is allocated once. A
row is prefilled, then grows by one token a step; one that is finished leaves, and when enough have left, waiting ones
take their places. What all prompts begin with is computed once. Every row has its own length and positions, which are
passed explicitly: GPT-2's padding id is its end-of-text id, so neither can be read off the ids.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stages.common.records import StopReason
from stages.gpt2 import graphs
from stages.gpt2.captured_decoding import RecordedDecoding
from stages.gpt2.inference import KVCache, LoneStepPass, Network, PromptPass, StepPass
from stages.gpt2.lookahead import Lookahead
from stages.gpt2.model import GPT2, Projection

#: Waiting rows come in when at least this share of the places is free. Each time costs a pass over the weights, so one
#: row at a time would double the passes; a quarter keeps three places of four at work.
FREE_PLACES = 1 / 4


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn instead of taken greedily.

    Args:
        temperature: above 0; logits are divided by it. Below 1 likely tokens become likelier.
        top_k: draw from so many likeliest tokens; None: from all.
        top_p: draw from the fewest likeliest tokens whose probabilities sum to at least this (Holtzman et al. 2020,
            "nucleus sampling"), after ``top_k`` and renormalised; None: from all.

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


@dataclass(frozen=True)
class Token:
    """One step of one answer.

    Args:
        index: of the prompt.
        id: the token, or None if the prompt leaves no room for any.
        stop_reason: why the answer ends with it, or None if it goes on.
    """

    index: int
    id: int | None
    stop_reason: StopReason | None


@dataclass(frozen=True)
class Answer:
    """What was generated for one prompt. ``ids`` ends with the end-of-text id if that is why it stopped."""

    ids: list[int]
    stop_reason: StopReason


@dataclass
class _Row:
    """A prompt on its way to an answer; ``draws`` gives its random numbers."""

    index: int
    prompt: Sequence[int]
    most: int
    draws: torch.Generator | None
    ids: list[int] = field(default_factory=list)
    lookahead: Lookahead = field(default_factory=Lookahead)

    @property
    def position(self) -> int:
        """Where the last token stands."""
        return len(self.prompt) + len(self.ids) - 1

    def guesses(self, room: int) -> list[int]:
        """What may follow, as far as it and one token more fit in a sequence of ``room``; perhaps nothing."""
        most = min(self.most - len(self.ids), room - self.position - 1) - 1
        return self.lookahead.guess([*self.prompt, *self.ids], most) if most > 0 else []


def prepare(model: GPT2) -> GPT2:
    """Lay out a model's weights as a CPU reads them fastest when it answers; training is slower with that layout.

    It gives other roundings.
    """
    if model.wte.weight.device.type == "cpu":
        for module in model.modules():
            if isinstance(module, Projection):
                module.lay_out_for_answers()
    return model


def generate(
    model: GPT2,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int | Sequence[int],
    end_of_text: int,
    batch_size: int,
    sampling: Sampling | None = None,
    seeds: Sequence[int] | None = None,
    lookahead: bool = True,
) -> Iterator[tuple[int, Answer]]:
    """Answer every prompt. Arguments and errors are those of `tokens`.

    Yields:
        (index of the prompt, its answer), in the order in which answers are finished.
    """
    ids: defaultdict[int, list[int]] = defaultdict(list)
    for token in tokens(
        model,
        prompts,
        max_new_tokens=max_new_tokens,
        end_of_text=end_of_text,
        batch_size=batch_size,
        sampling=sampling,
        seeds=seeds,
        lookahead=lookahead,
    ):
        if token.id is not None:
            ids[token.index].append(token.id)
        if token.stop_reason:
            yield token.index, Answer(ids.pop(token.index, []), token.stop_reason)


def tokens(
    model: GPT2,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int | Sequence[int],
    end_of_text: int,
    batch_size: int,
    sampling: Sampling | None = None,
    seeds: Sequence[int] | None = None,
    lookahead: bool = True,
) -> Iterator[Token]:
    """Answer every prompt, token by token, longest prompt first.

    Long prompts tend to have long answers, and an answer that is left alone at the end costs most: a step reads all
    weights however few the rows are.

    A row's arithmetic and its random numbers do not involve the other rows, so in fp32 answers have been the same for
    every batch size tried; a matrix product may round differently for another number of rows, though, and in bf16 that
    shows.

    Args:
        model: in evaluation or training mode alike, as its dropout is left out.
        prompts: token ids, each prompt at least one.
        max_new_tokens: the longest answer, its end-of-text included: one number, or one a prompt.
        end_of_text: the id that ends an answer.
        batch_size: the most prompts that are answered at a time.
        sampling: how to draw tokens; None takes the most likely one.
        seeds: of the random numbers, one a prompt; needed for ``sampling``, and of no effect without it.
        lookahead: on a CPU let a greedy row that is alone guess several tokens and confirm them in one pass
            (`stages.gpt2.lookahead`); its tokens may then come several at a time.

    Yields:
        Tokens, in the order in which they are made. An answer stops with "context" where the next token would not fit
        into ``model.config.n_positions``; one whose prompt alone fills it is a single `Token` without an id.

    Raises:
        ValueError: a prompt is empty, a length or the batch size is below 1, seeds or lengths are not as many as
            prompts, or there is ``sampling`` without seeds.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, found {batch_size}")
    if sampling and seeds is None:
        raise ValueError("sampling without seeds: whoever draws says from which random numbers")
    rows = _rows(prompts, max_new_tokens, seeds if sampling else None)
    room = model.config.n_positions
    waiting = deque(sorted((row for row in rows if len(row.prompt) < room), key=lambda row: -len(row.prompt)))
    yield from (Token(row.index, None, "context") for row in rows if len(row.prompt) >= room)
    if not waiting:
        return
    places = min(batch_size, len(waiting))
    network = Network.of(model)
    prefix = _prefix(network, [row.prompt for row in waiting])
    cache = network.cache(places, min(max(len(row.prompt) + row.most for row in waiting), room))
    recorder = graphs.recorder(network.wte.device)
    decode = RecordedDecoding(network, cache, recorder) if recorder else functools.partial(decode_one, network, cache)
    ahead = lookahead and sampling is None and recorder is None and network.wte.device.type == "cpu"
    active: list[_Row] = []  # the row in each place
    while waiting or active:
        free = places - len(active)
        if waiting and free >= places * FREE_PLACES:
            grown = [waiting.popleft() for _ in range(min(free, len(waiting)))]
            active += grown
            logits = prefill(network, cache, [row.prompt for row in grown], prefix)
            made = [[token] for token in _choose(logits, grown, sampling)]
        elif ahead and len(active) == 1 and (guesses := active[0].guesses(room)):
            grown = active
            made = [_confirmed(network, cache, active[0], guesses)]
        else:
            grown = active
            logits = decode([row.ids[-1] for row in grown], [row.position for row in grown])
            made = [[token] for token in _choose(logits, grown, sampling)]
        for row, new in zip(grown, made, strict=True):
            for token in new:
                row.ids.append(token)
                yield Token(row.index, token, stop := _stop_reason(row, end_of_text, room))
                if stop:
                    break
        for place in reversed(range(len(active))):
            if _stop_reason(active[place], end_of_text, room):
                cache.leave(place)
                active[place] = active[-1]
                active.pop()


def _rows(
    prompts: Sequence[Sequence[int]], max_new_tokens: int | Sequence[int], seeds: Sequence[int] | None
) -> list[_Row]:
    if empty := [index for index, prompt in enumerate(prompts) if not prompt]:
        raise ValueError(f"prompt {empty[0]}: expected at least one token, found none")
    most = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else max_new_tokens
    for what, values in (("max_new_tokens", most), ("seeds", seeds)):
        if values is not None and len(values) != len(prompts):
            raise ValueError(f"{what}: expected {len(prompts)}, one a prompt, found {len(values)}")
    if most and min(most) < 1:
        raise ValueError(f"max_new_tokens: expected at least 1, found {min(most)}")
    draws = [None] * len(prompts) if seeds is None else [torch.Generator().manual_seed(seed) for seed in seeds]
    return [_Row(*row) for row in zip(range(len(prompts)), prompts, most, draws, strict=True)]


def common_prefix(prompts: Sequence[list[int]]) -> int:
    """How many ids all prompts begin with alike, leaving each at least one of its own; 0 for a single prompt.

    [1, 2, 3] and [1, 2, 4, 5] have 2, [1, 2] and [1, 2, 3] have 1.
    """
    if len(prompts) < 2:
        return 0
    # Of sequences in order, the first and the last differ earliest.
    pairs = zip(min(prompts), max(prompts), strict=False)
    alike = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return min(alike, min(map(len, prompts)) - 1)


def _prefix(network: Network, prompts: Sequence[Sequence[int]]) -> KVCache | None:
    """The keys and values of what all prompts begin with; None if it is nothing."""
    length = common_prefix([list(prompt) for prompt in prompts])
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
        network: the model's.
        cache: with places for as many more rows.
        prompts: token ids.
        prefix: keys and values of what all prompts begin with, in a cache of just that length; each prompt has at
            least one token more.

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
        network: the model's.
        cache: holds every earlier position of every row.
        tokens: B ids, one a row.
        positions: where each stands in its own row.

    Returns:
        [B, V] logits of the token after it.
    """
    span = max(positions) + 1
    cache.fit(span)
    ids, where = torch.tensor([tokens, positions], device=network.wte.device)
    attend = StepPass(cache, where, span) if len(tokens) > 1 else LoneStepPass(cache, positions[0])
    with network.products_for(len(tokens)):
        return network.head(network.hidden(ids, where, attend))


@torch.inference_mode()
def decode_several(network: Network, cache: KVCache, tokens: Sequence[int], position: int) -> Tensor:
    """Put several more tokens into the only row of the cache.

    Args:
        network: the model's.
        cache: holds every earlier position of the row; what it holds of later ones is overwritten when they come.
        tokens: T ids, one behind another.
        position: where the first stands.

    Returns:
        [T, V] logits of the token after each.
    """
    cache.fit(position + len(tokens))
    ids, where = torch.tensor([tokens, range(position, position + len(tokens))], device=network.wte.device)
    with network.products_for(len(tokens)):
        return network.head(network.hidden(ids, where, PromptPass(cache, 0, position, [len(tokens)])))


def _confirmed(network: Network, cache: KVCache, row: _Row, guesses: list[int]) -> list[int]:
    """The tokens that the only row of a cache goes on with: those of the guesses that are right, and one more."""
    chosen = most_likely(decode_several(network, cache, [row.ids[-1], *guesses], row.position)).tolist()
    right = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(guesses, chosen, strict=False)))
    row.lookahead.told(len(guesses), right)
    return chosen[: right + 1]


def _choose(logits: Tensor, rows: Sequence[_Row], sampling: Sampling | None) -> list[int]:
    if sampling is None:
        return most_likely(logits).tolist()
    draws = torch.stack([torch.rand((), generator=row.draws) for row in rows])
    # On the CPU whatever the model's device: an answer then depends on the logits alone.
    return sample(logits.cpu(), draws, sampling).tolist()


def most_likely(logits: Tensor) -> Tensor:
    """The most likely token of each row: [B, V] logits to [B] ids. Of equals, the lowest id."""
    return logits.max(dim=-1).indices  # in bf16 on a CPU `argmax` takes five times as long


def sample(logits: Tensor, draws: Tensor, sampling: Sampling) -> Tensor:
    """Draw a token for each row by inverting the distribution function, tokens in the order of their ids.

    Probabilities .2, .3, .5 and the draw .4 give token 1, as .2 <= .4 < .2 + .3.

    Args:
        logits: [B, V].
        draws: [B] fp32 in [0, 1).
        sampling: how to draw.

    Returns:
        [B] ids.
    """
    cumulative = probabilities(logits, sampling).cumsum(-1)  # [B, V]
    # In fp64 a draw of 24 bits times the sum stays below the sum, so a token is always found.
    return torch.searchsorted(cumulative, draws.double()[:, None] * cumulative[:, -1:], right=True)[:, 0]


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """[B, V] logits to the fp64 probabilities that are drawn from. Of equals at ``top_p``'s edge, lower ids stay."""
    logits = logits.double() / sampling.temperature
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


def _stop_reason(row: _Row, end_of_text: int, room: int) -> StopReason | None:
    if row.ids[-1] == end_of_text:
        return "end_of_text"
    if len(row.ids) == row.most:
        return "max_new_tokens"
    if len(row.prompt) + len(row.ids) == room:
        return "context"
    return None
