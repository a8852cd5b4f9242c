"""Passes over rows: the loss and gradient of a batch, and an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from stages.common.errors import DataError
from stages.common.records import LossOn
from stages.common.results.tokenize import Encoded
from stages.common.token_files import lengths_of
from stages.finetune import layout, schedule
from stages.finetune.batches import Batch, collate
from stages.finetune.loss import summed_cross_entropy
from stages.finetune.optimizer import MasterWeights
from stages.finetune.team import ALONE, LossOf, Team
from stages.finetune.training_run import Run
from stages.gpt2 import runtime
from stages.gpt2.model import GPT2
from stages.prompts.label_mask import targets_of


def micro_batches(rows: Sequence[Encoded], run: Run, step: int) -> list[Batch]:
    """The rows of a step as micro-batches in main memory: of each, the rows that this process computes.

    The weights of the target tokens are such that the losses of all micro-batches, in all processes, add up to the mean
    over the target tokens of the whole batch. What is dropped of a row depends on the seed, the step and the row's id
    alone. How the batch is divided makes no difference but for rounding.

    Args:
        rows: the rows.
        run: what is trained how.
        step: number of the step.

    Raises:
        DataError: no row has a target token.
    """
    recipe = run.recipe
    count = _targets(rows, run.loss_on)
    shape = layout.training(run.compute)
    found = []
    for micro_batch in schedule.micro_batches_of(rows, recipe.accumulate):
        own, counts = run.team.share(micro_batch)
        seeds = [runtime.seed_for(recipe.seed, "dropout", step, row.id) for row in own] if recipe.dropout else []
        batch = collate(own, run.loss_on, shape, dropout=recipe.dropout, seeds=seeds)
        found.append(batch.weighted(counts / count))
    return found


def backward(loss_of: LossOf, weights: MasterWeights, batches: Sequence[Batch]) -> Tensor:
    """Compute the loss of micro-batches on the device, and its gradient into ``weights``.

    Args:
        loss_of: function that returns the loss of a micro-batch, a scalar in fp32: its share of the batch's loss.
        weights: weights of the model that ``loss_of`` calls.
        batches: the micro-batches, one or more.

    Returns:
        The loss: a scalar in fp32.
    """
    team = weights.team
    several = len(batches) > 1
    total = torch.zeros((), device=weights.master[0].device)
    with team.unsummed(loss_of, when=several):
        for batch in batches:
            loss = loss_of(batch)
            loss.backward()
            if several:
                weights.gather()
            total += loss.detach()
    team.sum_in_place(weights.sums)
    return team.sum(total)


def summed_loss(model: GPT2, batch: Batch) -> Tensor:
    """Cross-entropy in nats, weighted and summed over the batch's target tokens: a scalar in fp32.

    Logits are computed at the positions before target tokens alone, where others mask labels with ``ignore_index``.
    """
    hidden = model(batch.ids, batch.positions, batch.attention, batch.drop)  # [N, C]
    at_targets = hidden.index_select(0, batch.where)  # [M, C]
    return summed_cross_entropy(at_targets, model.wte.weight, batch.targets, batch.weights)


#: The batches of so many tokens are kept from one evaluation to the next, in some 50 MB; those of more are made again.
KEPT_TOKENS = 1 << 20


class Evaluation:
    """Mean loss in nats over all target tokens of rows, each token counting the same; again at every call.

    Args:
        model: the model, in evaluation mode.
        rows: the rows, at least one.
        loss_on: which tokens count.
        team: the processes that evaluate together.
        loss_of: function that returns `summed_loss` of the model and a batch in main memory; None does it plainly.

    Raises:
        DataError: no row has a target token.
    """

    def __init__(
        self,
        model: GPT2,
        rows: Sequence[Encoded],
        loss_on: LossOn,
        team: Team = ALONE,
        loss_of: Callable[[Batch], Tensor] | None = None,
    ) -> None:
        self._device = device = model.wte.weight.device
        self._team = team
        self._loss_of = loss_of or (lambda batch: summed_loss(model, batch.to(device)))
        self._count = _targets(rows, loss_on)
        self._rows, self._loss_on = rows, loss_on
        few = int(lengths_of(rows).sum()) <= KEPT_TOKENS
        self._kept = list(self._made()) if few else None

    def _made(self) -> Iterator[Batch]:
        """The batches, as they are asked for."""
        for rows in schedule.evaluation_batches(self._rows):
            own, counts = self._team.share(rows)
            yield collate(own, self._loss_on, layout.evaluation(self._device)).weighted(float(counts))

    @torch.no_grad()
    def __call__(self, check: Callable[[], None] = lambda: None) -> float:
        """Evaluate the model as it is.

        Args:
            check: function called before each batch; it may end the evaluation by raising.
        """
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        for batch in self._made() if self._kept is None else self._kept:
            check()
            total += self._loss_of(batch)
        return self._team.sum(total).item() / self._count


def _targets(rows: Sequence[Encoded], loss_on: LossOn) -> int:
    """How many target tokens rows have together."""
    count = sum(targets_of(row, loss_on) for row in rows)
    if count == 0:
        names = ", ".join(row.id for row in rows)
        raise DataError(f"no token to learn from in the rows {names}", "set tokenize.loss_on: all, or fix the rows")
    return count
