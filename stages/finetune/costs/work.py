"""What fine-tuning computes, counted from lengths and sizes alone.

Floating-point operations (FLOP) are those of matrix products, in which nearly all of the time goes; a multiplication
and an addition are two. Forward, a token costs ``2 * 12 * C**2`` in each of L layers' projections (Kaplan et al. 2020,
arXiv 2001.08361, section 2.1), ``4 * C`` in each layer for every key that its query meets, and ``2 * V * C`` if its
logits are made. Backward costs twice as much: one product for the gradient of each factor.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from typing import overload

from stages.finetune.costs.shape import Shape, evaluation_shapes, training_shapes
from stages.finetune.costs.weights import lora_weights
from stages.finetune.schedule import evaluated
from stages.finetune.training_run import Run
from stages.gpt2.model import GPT2Config
from stages.params.finetune import Lora


@dataclass(frozen=True)
class Work:
    """What a pass over some rows computes. Works add up.

    Args:
        tokens: inputs of the rows, each row's own, without padding: the useful ones.
        computed: tokens that went through the layers, with padding; a shared prefix counts once.
        padding: padding in the grids in which attention works.
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
        return Work(
            self.tokens + other.tokens,
            self.computed + other.computed,
            self.padding + other.padding,
            self.targets + other.targets,
            self.flop + other.flop,
            self.plain_flop + other.plain_flop,
        )


def total(works: Iterable[Work]) -> Work:
    """All of them together."""
    return sum(works, Work())


@dataclass(frozen=True)
class FlopCounter:
    """Counts operations, of a forward pass alone or with backward pass, recomputation and low-rank updates.

    Args:
        sizes: sizes of the model.
        lora: the low-rank updates, if these are all that is trained.
        recompute: whether the backward pass computes the layers again.
        train: whether there is a backward pass.
    """

    sizes: GPT2Config
    lora: Lora | None = None
    recompute: bool = False
    train: bool = True

    def flop(self, *, tokens: int, pairs: int, targets: int) -> int:
        """Operations for ``tokens`` in the layers, ``pairs`` of query and key in each, and the logits of ``targets``.

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
        """Operations for rows of these lengths, every row alone, with logits of every token and all weights trained.

        These are the model FLOPs by which MFU, the model FLOPs utilisation, is defined (Chowdhery et al. 2022,
        arXiv 2204.02311, appendix B), here with causal attention counted as the half that it is.
        """
        tokens = sum(lengths)
        plain = FlopCounter(self.sizes, train=self.train)
        return plain.flop(tokens=tokens, pairs=sum(n * (n + 1) // 2 for n in lengths), targets=tokens)


def work_of(shape: Shape, counter: FlopCounter) -> Work:
    """What a pass over packed rows computes."""
    return Work(
        tokens=sum(shape.inputs),
        computed=shape.computed,
        padding=shape.padding,
        targets=shape.targets,
        flop=counter.flop(tokens=shape.computed, pairs=shape.pairs, targets=shape.logits),
        plain_flop=counter.plain_flop(shape.inputs),
    )


class Works(Sequence[Work]):
    """Works in a row, in 48 bytes each."""

    def __init__(self, works: Iterable[Work]) -> None:
        self._numbers = array("q")
        for one in works:
            self._numbers.extend(astuple(one))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._numbers) // _FIGURES

    @overload
    def __getitem__(self, index: int) -> Work: ...
    @overload
    def __getitem__(self, index: slice) -> list[Work]: ...
    def __getitem__(self, index: int | slice) -> Work | list[Work]:
        """A work by its number from 0, or some works."""
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return [self[number] for number in numbers]
        return Work(*self._numbers[numbers * _FIGURES : (numbers + 1) * _FIGURES])


_FIGURES = len(fields(Work))


@dataclass(frozen=True)
class Plan:
    """What a run computes if nothing ends it early.

    Args:
        steps: work of each step, the first step first.
        evaluation: work of one evaluation.
        evaluated: the steps after which the run evaluates.
    """

    steps: Sequence[Work]
    evaluation: Work
    evaluated: list[int]

    def of(self, steps: Iterable[int]) -> Work:
        """The work of the steps with these numbers, from 1."""
        return total(self.steps[step - 1] for step in steps)

    def seconds_left(self, step: int, *, rate: float, evaluation_seconds: float | None) -> float:
        """The seconds that what comes after a step takes.

        Args:
            step: number of steps done.
            rate: operations a second that steps have reached.
            evaluation_seconds: seconds of one evaluation; None if none has been measured: it goes at the steps' rate.
        """
        if evaluation_seconds is None:
            evaluation_seconds = self.evaluation.flop / rate
        left = self.of(range(step + 1, len(self.steps) + 1))
        return left.flop / rate + evaluation_seconds * sum(after > step for after in self.evaluated)


def plan(run: Run, sizes: GPT2Config, seen: Callable[[Shape], None] | None = None) -> Plan:
    """Count the work of a run that trains a model of these sizes.

    With several processes it counts what all of them compute, except rows that do not count in the loss.

    Args:
        run: what is trained how, and on what.
        sizes: sizes of the model.
        seen: function that is called with every batch, so that no second pass over the rows is needed for its memory.
    """
    training = FlopCounter(sizes, run.recipe.lora, run.recipe.activation_checkpointing)
    forward = FlopCounter(sizes, run.recipe.lora, train=False)

    def works() -> Iterator[Work]:
        for shapes in training_shapes(run, what="plan the batches"):
            if seen is not None:
                for shape in shapes:
                    seen(shape)
            yield total(work_of(shape, training) for shape in shapes)

    return Plan(
        Works(works()),
        total(work_of(shape, forward) for shape in evaluation_shapes(run)),
        evaluations(run.steps, run.recipe.eval_every),
    )


def evaluations(steps: int, every: int) -> list[int]:
    """The steps after which a run evaluates, 0 for the untrained model: of 7 steps, every 3, these are 0, 3, 6, 7."""
    return [step for step in range(steps + 1) if evaluated(step, steps, every)]
