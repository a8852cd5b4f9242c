"""The shapes of a run's batches, from the lengths of rows alone: what work and memory are counted from."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stages.common.records import LossOn
from stages.common.results.tokenize import Encoded
from stages.finetune import layout
from stages.finetune.layout import PLAIN, Layout
from stages.finetune.schedule import evaluation_batches, micro_batches_of, steps_of
from stages.finetune.team import Team
from stages.finetune.training_run import Run
from stages.gpt2.packed import shared_prefix_length
from stages.prompts.label_mask import first_target
from stages.running import counting


@dataclass(frozen=True)
class Shape:
    """The shape of packed rows (`stages.finetune.batches.collate`), from their lengths and shared prefix.

    Args:
        prefix: tokens with which all rows begin and that are there once.
        rows: number of rows.
        longest: own tokens of the longest row; more where rows are padded.
        tokens: tokens that belong to rows.
        targets: indices whose logits are made. Within the shared prefix an index counts once for every id that comes
            next.
        inputs: tokens of each row if it were alone.
        layout: what rows are padded to.
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
        """The shape of one batch or micro-batch.

        Args:
            rows: the rows.
            loss_on: which ids are targets.
            layout: how the rows are laid out.
            share_prefix: whether the shared prefix is computed once.
        """
        prefix = layout.prefix(shared_prefix_length([row.ids for row in rows], leaving=2)) if share_prefix else 0
        inputs = tuple(len(row.ids) - 1 for row in rows)
        shared: set[tuple[int, int]] = set()
        targets = 0
        for row, length in zip(rows, inputs, strict=True):
            first = first_target(row, loss_on) - 1
            targets += max(length - max(first, prefix), 0)
            shared |= {(index, row.ids[index + 1]) for index in range(first, prefix)}
        tokens = prefix + sum(inputs) - len(rows) * prefix
        width = layout.width(max(inputs) - prefix)
        return cls(prefix, len(rows), width, tokens, targets + len(shared), inputs, layout)

    @property
    def computed(self) -> int:
        """Tokens that go through the layers, with padding."""
        return self.prefix + self.grid if self.layout.padded else self.layout.tokens(self.tokens)

    @property
    def logits(self) -> int:
        """Indices whose logits are made, with padding."""
        return self.layout.targets(self.targets)

    @property
    def grid(self) -> int:
        """Size of the padded [rows, longest] in which attention works."""
        return self.rows * self.longest

    @property
    def padding(self) -> int:
        """Padding in that grid."""
        return self.grid - (self.tokens - self.prefix)

    @property
    def pairs(self) -> int:
        """Pairs of a query and a key in a layer.

        With a shared prefix every query of the grid meets every key, as the mask only comes after. Without one, and
        within the prefix, attention is causal. So it is in padded rows, each of which has the prefix. The few pairs
        more that a CPU computes for the prefix where it keeps the weights (`stages.gpt2.packed`) are left out.
        """
        if not self.prefix or self.layout.padded:
            span = self.prefix + self.longest
            return self.rows * span * (span + 1) // 2
        return self.prefix * (self.prefix + 1) // 2 + self.grid * (self.prefix + self.longest)


def training_shapes(run: Run, *, what: str = "") -> Iterator[list[Shape]]:
    """Yield for each step of a run the shapes of its micro-batches in every process that has rows of them.

    Args:
        run: what is trained how.
        what: name of the work, for a bar; empty: there is none.
    """
    of_training = layout.training(run.compute)
    shape_of = functools.partial(Shape.of, loss_on=run.loss_on, layout=of_training, share_prefix=not run.recipe.dropout)
    steps = steps_of(run.train, run.recipe, run.steps)
    for step in counting.told(steps, total=run.steps, what=what, unit="step") if what else steps:
        yield [
            shape_of(own)
            for micro_batch in micro_batches_of(step.rows, run.recipe.accumulate)
            for own in _shares(micro_batch, run.team.size)
        ]


def evaluation_shapes(run: Run) -> list[Shape]:
    """The shapes of an evaluation's batches, of rows taken by length, in every process that has rows of them."""
    of_evaluation = layout.evaluation(run.compute.device)
    return [
        Shape.of(own, run.loss_on, of_evaluation)
        for batch in evaluation_batches(run.val)
        for own in _shares(batch, run.team.size)
    ]


def _shares(rows: Sequence[Encoded], processes: int) -> list[Sequence[Encoded]]:
    """The rows of each process that has any of its own."""
    shares = [Team(rank, processes).share(rows) for rank in range(processes)]
    return [own for own, counts in shares if counts]
