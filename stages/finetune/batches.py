"""Batches of rows, and the order in which training sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.common.records import LossOn
from stages.common.results.tokenize import Encoded
from stages.finetune.layout import PLAIN, Layout
from stages.gpt2 import runtime
from stages.gpt2.packed import PackedRows, PaddedRows, shared_prefix_length
from stages.tokenize.encoding import first_target

Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch:
    """Rows of token ids in one line, their common beginning once, and what the model must predict.

    Args:
        ids: [N] int64: the common beginning, then each row's own ids; a row's last id is only ever a target. What fills
            the line or a row up is 0, belongs to no row and comes after all that does.
        positions: [N] int64, each token's position in its row.
        attend: how the tokens belong together.
        where: [M] int64, the places in the line whose next id is a target.
        targets: [M] int64, those next ids.
        weights: [M] fp32, how often each counts: a target within the common beginning stands for one in every row.
        count: targets in all rows, which is the sum of the weights that `collate` gives.
    """

    ids: Tensor
    positions: Tensor
    attend: PackedRows | PaddedRows
    where: Tensor
    targets: Tensor
    weights: Tensor
    count: int

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device; on its way to a GPU it waits for nothing that the GPU has to do."""
        if device.type == self.ids.device.type == "cpu":
            return self
        attend = self.attend
        if isinstance(attend, PackedRows):
            attend = replace(attend, grid=runtime.sent(attend.grid, device))
        there: dict[str, Any] = {name: runtime.sent(tensor, device) for name, tensor in self.tensors().items()}
        return replace(self, attend=attend, **there)

    def tensors(self) -> dict[str, Tensor]:
        """All that a batch has besides how its tokens belong together."""
        return {
            "ids": self.ids,
            "positions": self.positions,
            "where": self.where,
            "targets": self.targets,
            "weights": self.weights,
        }

    def weighted(self, factor: float) -> Batch:
        """The same with every target counting ``factor`` times as much; ``count`` stays."""
        return replace(self, weights=self.weights * factor)

    def filled(self, *, tokens: int, targets: int) -> Batch:
        """The same with line and targets filled up to so many.

        The tokens at the end belong to no row, and the targets at the end count nothing: the loss and all gradients
        are those of the batch as it was, but for dropout, which draws for the tokens at the end too.
        """
        tokens, targets = tokens - len(self.ids), targets - len(self.where)
        return replace(
            self,
            ids=F.pad(self.ids, (0, tokens)),
            positions=F.pad(self.positions, (0, tokens)),
            where=F.pad(self.where, (0, targets)),
            targets=F.pad(self.targets, (0, targets)),
            weights=F.pad(self.weights, (0, targets)),
        )


def collate(
    rows: Sequence[Encoded],
    loss_on: LossOn,
    layout: Layout = PLAIN,
    *,
    share_prefix: bool = True,
    dropout: float = 0.0,
) -> Batch:
    """Put rows in one line. Places and targets come from lengths, never from ids.

    Rows [1, 2, 3, 4] and [1, 2, 5] with ``loss_on="all"`` begin alike, but a row must keep an input of its own, so the
    common beginning is [1]. The line is ids [1, 2, 3, 2], with positions [0, 1, 2, 1]; targets: 2 after place 0, twice;
    3 after place 1, 4 after 2, 5 after 3.

    Args:
        rows: at least one; each has at least two ids.
        loss_on: which ids are targets.
        layout: how they lie in the line; no layout changes the loss or, but for rounding, a gradient.
        share_prefix: compute the common beginning once; without, each row has all its own ids.
        dropout: the share of attention weights dropped at random.
    """
    # Each row keeps an input of its own, and the target after it.
    prefix = layout.prefix(shared_prefix_length([row.ids for row in rows], leaving=2)) if share_prefix else 0
    ids = [*rows[0].ids[:prefix]]
    positions = [*range(prefix)]
    width = layout.width(max(len(row.ids) for row in rows) - 1 - prefix)
    grid: list[int] = []
    counted: Counter[tuple[int, int]] = Counter()
    for number, row in enumerate(rows):
        start = len(ids) - prefix  # place of position p in the line: p within the prefix, start + p after it
        own = row.ids[prefix:-1]
        filling = [0] * (width - len(own) if layout.padded else 0)
        ids += own + filling
        positions += [*range(prefix, prefix + len(own)), *filling]
        grid += range(number * width, number * width + len(own))
        for position in range(first_target(row, loss_on), len(row.ids)):
            before = position - 1
            counted[before if before < prefix else start + before, row.ids[position]] += 1
    return Batch(
        ids=torch.tensor(ids),
        positions=torch.tensor(positions),
        attend=PaddedRows(prefix, len(rows), width, dropout)
        if layout.padded
        else PackedRows(prefix, len(rows), width, torch.tensor(grid), dropout),
        where=torch.tensor([place for place, _ in counted], dtype=torch.int64),
        targets=torch.tensor([target for _, target in counted], dtype=torch.int64),
        weights=torch.tensor(list(counted.values()), dtype=torch.float32),
        count=counted.total(),
    ).filled(tokens=layout.tokens(len(ids)), targets=layout.targets(len(counted)))


def epoch_order(rows: int, seed: int, epoch: int) -> list[int]:
    """The order of the rows in one epoch: a permutation that depends on the seed and the epoch alone."""
    return torch.randperm(rows, generator=runtime.generator(seed, "order", epoch)).tolist()


def batches_of(order: Sequence[Item], batch_size: int, *, drop_last: bool) -> list[list[Item]]:
    """Cut an order into batches; ``drop_last`` leaves out a last one that is not full."""
    batches = [list(order[start : start + batch_size]) for start in range(0, len(order), batch_size)]
    return batches[:-1] if drop_last and len(batches[-1]) < batch_size else batches
