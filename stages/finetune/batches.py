"""Batches of rows, and the order in which training sees them."""

from __future__ import annotations

from array import array
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
from stages.gpt2.dropout import Dropout, row_key, token_keys
from stages.gpt2.packed import PackedRows, PaddedRows, shared_prefix_length
from stages.prompts.label_mask import first_target

Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch:
    """Rows of token ids packed one behind another, their shared prefix once, and what the model must predict.

    Args:
        ids: [N] int64: the shared prefix, then each row's own ids. A row's last id is only ever a target. Padding is 0,
            belongs to no row and comes after all that does.
        positions: [N] int64, each token's position in its row.
        attend: how the tokens attend to one another.
        where: [M] int64, the indices of the tokens whose next id is a target. Where others give the remaining ones the
            label ``ignore_index``, they are left out here (the label mask).
        targets: [M] int64, those next ids.
        weights: [M] fp32, how often each counts: a target within the shared prefix stands for one in every row.
        count: target tokens in all rows, which is the sum of the weights that `collate` gives.
        drop: what is dropped; None: nothing.
    """

    ids: Tensor
    positions: Tensor
    attend: PackedRows | PaddedRows
    where: Tensor
    targets: Tensor
    weights: Tensor
    count: int
    drop: Dropout | None = None

    def attention(self, layer: int, qkv: Tensor) -> Tensor:
        """How the tokens attend to one another, dropout included: `stages.gpt2.model.Attend`."""
        return self.attend(layer, qkv, self.drop)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device. The copy to a GPU does not wait for what is enqueued there."""
        if device.type == self.ids.device.type == "cpu":
            return self
        attend = self.attend
        if isinstance(attend, PackedRows):
            attend = replace(attend, grid=runtime.sent(attend.grid, device))
        sent: dict[str, Any] = {name: runtime.sent(tensor, device) for name, tensor in self.tensors().items()}
        if self.drop is not None:
            sent["drop"] = replace(self.drop, rows=sent.pop("row keys"), tokens=sent.pop("token keys"))
        return replace(self, attend=attend, **sent)

    def tensors(self) -> dict[str, Tensor]:
        """All of a batch but how its tokens attend to one another."""
        keys = {} if self.drop is None else {"row keys": self.drop.rows, "token keys": self.drop.tokens}
        return {
            "ids": self.ids,
            "positions": self.positions,
            "where": self.where,
            "targets": self.targets,
            "weights": self.weights,
            **keys,
        }

    def weighted(self, factor: float) -> Batch:
        """The same with every target token counting ``factor`` times as much; ``count`` stays."""
        return replace(self, weights=self.weights * factor)

    def padded(self, *, tokens: int, targets: int) -> Batch:
        """The same with tokens and target tokens padded to these lengths.

        Padded tokens belong to no row, and padded targets have the weight 0: the loss and all gradients are those of
        the batch as it was.
        """
        tokens, targets = tokens - len(self.ids), targets - len(self.where)
        drop = None if self.drop is None else replace(self.drop, tokens=F.pad(self.drop.tokens, (0, tokens)))
        return replace(
            self,
            drop=drop,
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
    seeds: Sequence[int] = (),
) -> Batch:
    """Pack rows. Indices and targets come from lengths, never from ids.

    Rows [1, 2, 3, 4] and [1, 2, 5] with ``loss_on="all"`` begin alike, but a row must keep an input of its own, so the
    shared prefix is [1]. The ids are [1, 2, 3, 2] with positions [0, 1, 2, 1]. Targets are 2 after index 0, twice, then
    3 after index 1, 4 after 2 and 5 after 3.

    Args:
        rows: the rows, at least one; each has at least two ids.
        loss_on: which ids are targets.
        layout: how the rows are laid out; no layout changes the loss or, but for rounding, a gradient.
        share_prefix: compute the shared prefix once; without, each row has all its own ids.
        dropout: the share dropped at random. Above 0 no prefix is shared: its tokens have another mask in every row.
        seeds: seeds of the rows' masks, one a row, where there is dropout.
    """
    # Each row keeps an input of its own, and the target after it.
    share_prefix = share_prefix and not dropout
    prefix = layout.prefix(shared_prefix_length([row.ids for row in rows], leaving=2)) if share_prefix else 0
    ids = [*rows[0].ids[:prefix]]
    positions = [*range(prefix)]
    width = layout.width(max(len(row.ids) for row in rows) - 1 - prefix)
    grid: list[int] = []
    row_of: list[int] = []
    counted: Counter[tuple[int, int]] = Counter()
    for number, row in enumerate(rows):
        start = len(ids) - prefix  # the token at position p has index p within the prefix, and start + p after it
        own = row.ids[prefix:-1]
        padding = [0] * (width - len(own) if layout.padded else 0)
        ids += own + padding
        positions += [*range(prefix, prefix + len(own)), *padding]
        row_of += [number] * (len(own) + len(padding))
        grid += range(number * width, number * width + len(own))
        for position in range(first_target(row, loss_on), len(row.ids)):
            before = position - 1
            counted[before if before < prefix else start + before, row.ids[position]] += 1
    drop = None
    if dropout:
        keys = torch.tensor([row_key(seed) for seed in seeds], dtype=torch.int32)
        drop = Dropout(dropout, keys, token_keys(keys, torch.tensor(row_of), torch.tensor(positions)))
    return Batch(
        ids=torch.tensor(ids),
        positions=torch.tensor(positions),
        attend=PaddedRows(prefix, len(rows), width)
        if layout.padded
        else PackedRows(prefix, len(rows), width, torch.tensor(grid)),
        where=torch.tensor([index for index, _ in counted], dtype=torch.int64),
        targets=torch.tensor([target for _, target in counted], dtype=torch.int64),
        weights=torch.tensor(list(counted.values()), dtype=torch.float32),
        count=counted.total(),
        drop=drop,
    ).padded(tokens=layout.tokens(len(ids)), targets=layout.targets(len(counted)))


def epoch_order(rows: int, seed: int, epoch: int) -> array[int]:
    """The order of the rows in one epoch: a permutation that depends on the seed and the epoch alone."""
    order = torch.randperm(rows, generator=runtime.generator(seed, "order", epoch))
    return array("q", order.numpy().tobytes())  # 8 bytes a row, where a list takes 40


def batches_of(order: Sequence[Item], batch_size: int, *, drop_last: bool) -> list[list[Item]]:
    """Cut an order into batches; ``drop_last`` leaves out a last one that is not full."""
    batches = [list(order[start : start + batch_size]) for start in range(0, len(order), batch_size)]
    return batches[:-1] if drop_last and len(batches[-1]) < batch_size else batches
