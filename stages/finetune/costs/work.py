"""What fine-tuning computes, counted from lengths and sizes alone.

Floating-point operations (FLOP) are those of matrix products, in which nearly all of the time goes; a multiplication
and an addition are two. Forward, a token costs ``2 * 12 * C**2`` in each of L layers' projections (Kaplan et al. 2020,
arXiv 2001.08361, section 2.1), ``4 * C`` in each layer for every key that its query meets, and ``2 * V * C`` if its
logits are made. Backward costs twice as much: one product for the gradient of each factor.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stages.common.records import LossOn
from stages.common.results.tokenize import Encoded
from stages.finetune import layout
from stages.finetune.batches import batches_of
from stages.finetune.layout import PLAIN, Layout
from stages.finetune.schedule import evaluated, parts_of, steps_of
from stages.finetune.team import Team
from stages.gpt2.model import GPT2Config
from stages.gpt2.packed import shared_prefix_length
from stages.gpt2.runtime import Compute
from stages.params.finetune import Finetune, Lora
from stages.tokenize.encoding import first_target


@dataclass(frozen=True)
class Work:
    """What a pass over some rows computes. Works add up.

    Args:
        tokens: inputs of the rows, each row's own, none of padding: the useful ones.
        computed: tokens that went through the layers, what fills up a line among them; what the rows of a batch begin
            with counts once.
        padding: places in the attention's grids that hold no token.
        targets: tokens whose logits were made for the loss.
        flop: operations done.
        plain_flop: operations of a plain pass over the same rows: every row alone, logits of every token.
    """

    tokens: int = 0
    computed: int = 0
    padding: int = 0
    targets: int = 0
    flop: int = 0
    plain_flop: int = 0

    def __add__(self, other: Work) -> Work:
        """The sum, field by field."""
        return Work(*(mine + theirs for mine, theirs in zip(_fields(self), _fields(other), strict=True)))


def total(works: Sequence[Work]) -> Work:
    """All of them together."""
    return sum(works, Work())


@dataclass(frozen=True)
class Costs:
    """How much one forward pass's operations cost once backward, recomputation and low-rank updates are counted.

    Args:
        sizes: of the model.
        lora: the low-rank updates, if these are all that is trained.
        recompute: whether the backward pass computes the layers again.
        train: whether there is a backward pass.
    """

    sizes: GPT2Config
    lora: Lora | None = None
    recompute: bool = False
    train: bool = True

    def flop(self, *, tokens: int, pairs: int, targets: int) -> int:
        """Operations for so many tokens through the layers, pairs of query and key in a layer, and logits.

        Frozen weights have no gradient, so that with LoRA a projection's backward pass costs one product, not two.
        """
        width, layers = self.sizes.n_embd, self.sizes.n_layer
        frozen = self.train and self.lora is not None
        projections = 2 * 12 * width**2 * layers * tokens
        attention = 4 * width * layers * pairs
        head = 2 * self.sizes.vocab_size * width * targets
        updates = 2 * lora_weights(self.sizes, self.lora) * tokens
        if not self.train:
            return projections + attention + head + updates
        passes = 3 + self.recompute
        return (passes - frozen) * projections + passes * (attention + updates) + (3 - frozen) * head

    def plain_flop(self, lengths: Sequence[int]) -> int:
        """Operations for rows of so many inputs each, every row alone with logits of every token, all weights trained.

        This is what is called the model's FLOP, and their share of the peak its MFU (Chowdhery et al. 2022,
        arXiv 2204.02311, appendix B), here with causal attention counted as the half that it is.
        """
        tokens = sum(lengths)
        plain = Costs(self.sizes, train=self.train)
        return plain.flop(tokens=tokens, pairs=sum(n * (n + 1) // 2 for n in lengths), targets=tokens)


@dataclass(frozen=True)
class Shape:
    """How rows lie in one line (`stages.finetune.batches.collate`), from their lengths and common beginning.

    Args:
        prefix: tokens that all begin with and that are there once.
        rows: how many.
        longest: of the longest row's own tokens; more where rows are filled up.
        tokens: in the line that belong to rows.
        targets: places whose logits are made. Within the common beginning a place is one for every id that comes next.
        inputs: each row's tokens if it were alone.
        layout: what they are filled up to.
    """

    prefix: int
    rows: int
    longest: int
    tokens: int
    targets: int
    inputs: tuple[int, ...]
    layout: Layout = PLAIN

    @classmethod
    def of(
        cls, rows: Sequence[Encoded], loss_on: LossOn, layout: Layout = PLAIN, *, share_prefix: bool = True
    ) -> Shape:
        """The shape of one batch, or one part of it.

        Args:
            rows: of the batch.
            loss_on: which ids are targets.
            layout: how they lie in the line.
            share_prefix: whether the common beginning is computed once.
        """
        prefix = layout.prefix(shared_prefix_length([row.ids for row in rows], leaving=2)) if share_prefix else 0
        inputs = tuple(len(row.ids) - 1 for row in rows)
        common: set[tuple[int, int]] = set()
        targets = 0
        for row, length in zip(rows, inputs, strict=True):
            first = first_target(row, loss_on) - 1
            targets += max(length - max(first, prefix), 0)
            common |= {(place, row.ids[place + 1]) for place in range(first, prefix)}
        tokens = prefix + sum(inputs) - len(rows) * prefix
        width = layout.width(max(inputs) - prefix)
        return cls(prefix, len(rows), width, tokens, targets + len(common), inputs, layout)

    @property
    def computed(self) -> int:
        """Tokens in the line once it is filled up."""
        return self.prefix + self.grid if self.layout.padded else self.layout.tokens(self.tokens)

    @property
    def logits(self) -> int:
        """Places whose logits are made once they are filled up."""
        return self.layout.targets(self.targets)

    @property
    def grid(self) -> int:
        """Places of the padded [rows, longest] in which attention works."""
        return self.rows * self.longest

    @property
    def pairs(self) -> int:
        """Pairs of a query and a key in a layer.

        With a common beginning every place of the grid meets every key, as the mask only comes after. Without one, and
        within the beginning, attention is causal; so it is in rows that are filled up, which have the beginning each.
        The few more that a CPU computes for the beginning where it keeps the weights (`stages.gpt2.packed`) are left
        out.
        """
        if not self.prefix or self.layout.padded:
            span = self.prefix + self.longest
            return self.rows * span * (span + 1) // 2
        return self.prefix * (self.prefix + 1) // 2 + self.grid * (self.prefix + self.longest)


def work_of(shape: Shape, costs: Costs) -> Work:
    """What a pass over rows in one line computes."""
    return Work(
        tokens=sum(shape.inputs),
        computed=shape.computed,
        padding=shape.grid - (shape.tokens - shape.prefix),
        targets=shape.targets,
        flop=costs.flop(tokens=shape.computed, pairs=shape.pairs, targets=shape.logits),
        plain_flop=costs.plain_flop(shape.inputs),
    )


def training_shapes(
    train: Sequence[Encoded], settings: Finetune, loss_on: LossOn, steps: int, layout: Layout, processes: int = 1
) -> list[list[Shape]]:
    """What is computed at once in each of a run's steps, the first step first, with rows in a layout.

    Each of the parts that a batch is cut into is divided among the processes (`stages.finetune.team`).
    """
    shape_of = functools.partial(Shape.of, loss_on=loss_on, layout=layout, share_prefix=not settings.dropout)
    return [
        [shape_of(own) for part in parts_of(step.rows, settings.accumulate) for own in _shares(part, processes)]
        for step in steps_of(train, settings, steps)
    ]


def evaluation_shapes(
    val: Sequence[Encoded], loss_on: LossOn, layout: Layout, size: int, processes: int = 1
) -> list[Shape]:
    """The batches of an evaluation: the rows by length, ``size`` at a time, divided among the processes."""
    by_length = sorted(val, key=lambda row: len(row.ids))
    batches = batches_of(by_length, size, drop_last=False)
    return [Shape.of(own, loss_on, layout) for batch in batches for own in _shares(batch, processes)]


@dataclass(frozen=True)
class Plan:
    """What a run computes if nothing ends it early.

    Args:
        steps: of each step, the first step first.
        evaluation: of one evaluation.
        evaluated: the steps after which it evaluates.
    """

    steps: list[Work]
    evaluation: Work
    evaluated: list[int]

    def of(self, steps: Iterable[int]) -> Work:
        """Of the steps with these numbers, from 1, together."""
        return total([self.steps[step - 1] for step in steps])

    def seconds_left(self, step: int, *, rate: float, evaluation_seconds: float | None) -> float:
        """The seconds that what comes after a step takes.

        Args:
            step: the steps done.
            rate: operations a second that steps have reached.
            evaluation_seconds: of one evaluation; None if none has been measured, and it goes at the steps' rate.
        """
        if evaluation_seconds is None:
            evaluation_seconds = self.evaluation.flop / rate
        left = self.of(range(step + 1, len(self.steps) + 1))
        return left.flop / rate + evaluation_seconds * sum(after > step for after in self.evaluated)


def plan(
    train: Sequence[Encoded],
    val: Sequence[Encoded],
    settings: Finetune,
    sizes: GPT2Config,
    loss_on: LossOn,
    *,
    steps: int,
    evaluation_batch: int,
    place: Compute,
    processes: int = 1,
) -> Plan:
    """Count a run of ``steps`` steps at a place, whose evaluations take ``evaluation_batch`` rows at a time.

    Of several processes it counts what all of them compute, except rows that do not count in the loss.
    """
    costs = Costs(sizes, settings.lora, settings.activation_checkpointing)
    forward = Costs(sizes, settings.lora, train=False)
    shapes = training_shapes(train, settings, loss_on, steps, layout.training(place.device, place.dtype), processes)
    of_val = evaluation_shapes(val, loss_on, layout.evaluation(place.device), evaluation_batch, processes)
    return Plan(
        [total([work_of(part, costs) for part in parts]) for parts in shapes],
        total([work_of(shape, forward) for shape in of_val]),
        evaluations(steps, settings.eval_every),
    )


def evaluations(steps: int, every: int) -> list[int]:
    """The steps after which a run of so many evaluates, 0 being the untrained model: 7 steps, every 3: 0, 3, 6, 7."""
    return [step for step in range(steps + 1) if evaluated(step, steps, every)]


def _shares(rows: Sequence[Encoded], processes: int) -> list[Sequence[Encoded]]:
    """The rows of each process that has any of its own."""
    shares = [Team(rank, processes).share(rows) for rank in range(processes)]
    return [own for own, counts in shares if counts]


def lora_weights(sizes: GPT2Config, lora: Lora | None) -> int:
    """Weights of the low-rank updates: a projection [in, out] gets ``rank * (in + out)``."""
    if lora is None:
        return 0
    width = sizes.n_embd
    # In and out of the projections of a layer; both the attention and the MLP have a c_proj.
    shapes = {"c_attn": [(1, 3)], "c_proj": [(1, 1), (4, 1)], "c_fc": [(1, 4)]}
    units = sum(inputs + outputs for target in set(lora.targets) for inputs, outputs in shapes[target])
    return lora.rank * units * width * sizes.n_layer


def _fields(work: Work) -> tuple[int, ...]:
    return (work.tokens, work.computed, work.padding, work.targets, work.flop, work.plain_flop)
