"""Batches of rows, and the order in which training sees them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.common.params import LossOn
from stages.common.records import Encoded
from stages.gpt2 import runtime
from stages.gpt2.packed import PackedRows
from stages.sft.encoding import first_target

Item = TypeVar("Item")

#: What a training batch's line and targets are filled up to a multiple of where matrix products are in bf16: oneDNN,
#: which does them on a CPU, makes a kernel for every shape that it meets, and no two batches have the same. Made anew
#: each time these took as long as half the products (docs/decisions.md).
LINE = 32


@dataclass(frozen=True)
class Batch:
    """Rows of token ids without padding, their common beginning once, and what the model must predict.

    Args:
        ids: [N] int64: the common beginning, then each row's own ids; a row's last id is only ever a target.
        positions: [N] int64, each token's position in its row.
        attend: how the tokens belong together.
        where: [M] int64, the places in the line whose next id is a target.
        targets: [M] int64, those next ids.
        weights: [M] fp32, how often each counts: a target within the common beginning stands for one in every row.
        count: targets in all rows, which is the sum of the weights.
    """

    ids: Tensor
    positions: Tensor
    attend: PackedRows
    where: Tensor
    targets: Tensor
    weights: Tensor
    count: int

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device; on its way to a GPU it waits for nothing that the GPU has to do."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)

        return replace(
            self,
            ids=moved(self.ids),
            positions=moved(self.positions),
            attend=replace(self.attend, grid=moved(self.attend.grid)),
            where=moved(self.where),
            targets=moved(self.targets),
            weights=moved(self.weights),
        )

    def filled(self, multiple: int) -> Batch:
        """The same with line and targets filled up to multiples of a length.

        The tokens at the end belong to no row, and the targets at the end count nothing: the loss and all gradients
        are those of the batch as it was, but for dropout, which draws for the tokens at the end too.
        """
        tokens, targets = (-len(part) % multiple for part in (self.ids, self.where))
        return replace(
            self,
            ids=F.pad(self.ids, (0, tokens)),
            positions=F.pad(self.positions, (0, tokens)),
            where=F.pad(self.where, (0, targets)),
            targets=F.pad(self.targets, (0, targets)),
            weights=F.pad(self.weights, (0, targets)),
        )


def line_multiple(dtype: torch.dtype) -> int:
    """What the lines of training batches are filled up to a multiple of, for products in ``dtype``: 1 is not at all."""
    return LINE if dtype == torch.bfloat16 else 1


def collate(rows: Sequence[Encoded], loss_on: LossOn, *, share_prefix: bool = True, dropout: float = 0.0) -> Batch:
    """Put rows in one line. Places and targets come from lengths, never from ids.

    Rows [1, 2, 3, 4] and [1, 2, 5] with ``loss_on="all"`` begin alike, but a row must keep an input of its own, so the
    common beginning is [1]. The line is ids [1, 2, 3, 2], with positions [0, 1, 2, 1]; targets: 2 after place 0, twice;
    3 after place 1, 4 after 2, 5 after 3.

    Args:
        rows: at least one; each has at least two ids.
        loss_on: which ids are targets.
        share_prefix: compute the common beginning once; without, each row has all its own ids.
        dropout: the share of attention weights dropped at random.
    """
    prefix = common_prefix(rows) if share_prefix else 0
    ids = [*rows[0].ids[:prefix]]
    positions = [*range(prefix)]
    width = max(len(row.ids) for row in rows) - 1 - prefix
    grid: list[int] = []
    counted: Counter[tuple[int, int]] = Counter()
    for number, row in enumerate(rows):
        start = len(ids) - prefix  # place of position p in the line: p within the prefix, start + p after it
        ids += row.ids[prefix:-1]
        positions += range(prefix, len(row.ids) - 1)
        grid += range(number * width, number * width + len(row.ids) - 1 - prefix)
        for position in range(first_target(row, loss_on), len(row.ids)):
            before = position - 1
            counted[before if before < prefix else start + before, row.ids[position]] += 1
    return Batch(
        ids=torch.tensor(ids),
        positions=torch.tensor(positions),
        attend=PackedRows(prefix, len(rows), width, torch.tensor(grid), dropout),
        where=torch.tensor([place for place, _ in counted], dtype=torch.int64),
        targets=torch.tensor([target for _, target in counted], dtype=torch.int64),
        weights=torch.tensor(list(counted.values()), dtype=torch.float32),
        count=counted.total(),
    )


def common_prefix(rows: Sequence[Encoded]) -> int:
    """How many ids all rows begin with alike, leaving each an input of its own; 0 for a single row."""
    if len(rows) < 2:
        return 0
    # Of sequences in order, the first and the last differ earliest.
    first, last = min(row.ids for row in rows), max(row.ids for row in rows)
    longest = min(len(row.ids) for row in rows) - 2
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return max(min(sum(1 for _ in alike), longest), 0)


def epoch_order(rows: int, seed: int, epoch: int) -> list[int]:
    """The order of the rows in one epoch: a permutation that depends on the seed and the epoch alone."""
    return torch.randperm(rows, generator=runtime.generator(seed, "order", epoch)).tolist()


def batches_of(order: Sequence[Item], batch_size: int, *, drop_last: bool) -> list[list[Item]]:
    """Cut an order into batches; ``drop_last`` leaves out a last one that is not full."""
    batches = [list(order[start : start + batch_size]) for start in range(0, len(order), batch_size)]
    return batches[:-1] if drop_last and len(batches[-1]) < batch_size else batches
