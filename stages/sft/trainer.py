"""The fine-tuning loop, and what it is made of: schedule, loss, evaluation."""

from __future__ import annotations

import functools
import math
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from stages.common.errors import ConfigError, DataError
from stages.common.params import Finetune, LossOn
from stages.common.records import Encoded
from stages.common.signals import Interrupted, deferred_interruption
from stages.gpt2 import runtime
from stages.gpt2.model import GPT2
from stages.sft.batches import Batch, batches_of, collate, epoch_order
from stages.sft.checkpoint import Checkpoints
from stages.sft.encoding import targets_of
from stages.sft.loss import summed_cross_entropy
from stages.sft.meter import Meter
from stages.sft.optimizer import MasterWeights
from stages.sft.progress import Progress, StepRecord
from stages.sft.team import ALONE, LossOf, Team

#: Rows in a validation batch; they are taken by length, so that little of a batch is padding.
EVALUATION_BATCH = 32


def fit(
    model: GPT2,
    train: Sequence[Encoded],
    val: Sequence[Encoded],
    settings: Finetune,
    *,
    loss_on: LossOn,
    dtype: torch.dtype,
    on_step: Callable[[StepRecord], None],
    on_epoch: Callable[[int], dict[str, Any]],
    checkpoints: Checkpoints | None = None,
    meter: Meter | None = None,
    team: Team = ALONE,
) -> Progress:
    """Fine-tune ``model`` in place.

    The order of rows depends on ``settings.seed`` and the epoch alone, so evaluating, logging, sampling or saving at
    other times changes no weight. A run that goes on from a checkpoint ends with the same bits as one left alone.

    Args:
        model: on its device, in fp32; it is left there in fp32 with the trained weights.
        train: the rows to learn from.
        val: the rows to evaluate on, all of them each time.
        settings: the recipe.
        loss_on: which tokens count in the loss.
        dtype: of the matrix products; the weights that are updated are fp32 whatever it is.
        on_step: is given a record of the untrained model and of every step done here, in order.
        on_epoch: is given the number of each epoch when it is over, with the model as it is then; returns a sample.
        checkpoints: where to go on from and to save to.
        meter: takes the time of evaluations.
        team: the processes that train the model together, all with the same arguments; its leader alone calls
            ``on_step`` and ``on_epoch`` and saves. If each has a share of the weights only, ``model`` is where all of
            them are gathered at the end of an epoch.

    Returns:
        Everything from the run's beginning on, whenever that was.

    Raises:
        DataError: the recipe makes no step from these rows.
        ConfigError: the loss or the gradient is no longer finite under this recipe.
        Interrupted: SIGINT or SIGTERM has come, and the run is saved.
    """
    steps = planned_steps(len(train), settings)
    model.set_dropout(settings.dropout)
    model.recompute = settings.activation_checkpointing
    working = team.working_model(model, dtype)
    weights = MasterWeights(working, dtype, settings, team)
    loss_of = team.distributed(working, summed_loss)
    device = working.wte.weight.device
    evaluation = functools.partial(meter.timed("evaluation", evaluate) if meter else evaluate, working, val, loss_on)
    progress = _go_on(checkpoints, weights, team, device)
    if _out_of_patience(progress, settings):
        steps = progress.step

    def record(made: StepRecord) -> None:
        progress.history.append(made)
        if team.leads:
            on_step(made)

    with deferred_interruption() as interruption:
        if not progress.history:
            record(StepRecord(step=0, epoch=0, tokens_seen=0, val_loss=evaluation(team)))

        for step, epoch, last_of_epoch, rows in _steps(train, settings, steps, done=progress.step):
            working.train(settings.dropout > 0)
            loss = backward(loss_of, weights, rows, settings, step, loss_on)
            working.eval()
            learning_rate = settings.learning_rate * rate_factor(step, steps, settings)
            grad_norm = weights.step(learning_rate)

            evaluated = step % settings.eval_every == 0 or step == steps
            made = StepRecord(
                step=step,
                epoch=epoch,
                tokens_seen=progress.history[-1].tokens_seen + sum(len(row.ids) - 1 for row in rows),
                train_loss=loss.item(),
                learning_rate=learning_rate,
                grad_norm=grad_norm.item(),
                val_loss=evaluation(team) if evaluated else None,
            )
            _check_finite(made, rows)
            record(made)
            if settings.patience is not None and made.val_loss is not None:
                best, since = best_evaluation(progress.history)
                if best is made:
                    weights.keep_best()
                if since >= settings.patience:
                    steps = step
                    last_of_epoch = True
            if last_of_epoch:
                if team.sharded:
                    weights.restore(model)
                if team.leads:
                    progress.samples.append(on_epoch(epoch))
            due = checkpoints is not None and team.leads and step < steps and checkpoints.due()
            held = checkpoints is not None and checkpoints.held
            due, stopped, held = team.any(due, interruption.signal is not None, held, device=device)
            if checkpoints and (due or (stopped and held)):
                tensors = weights.tensors()
                if team.leads:
                    checkpoints.save(step, weights.shapes(), tensors, progress)
                for _ in tensors:  # each may be gathered from all processes, and the leader's disk be full
                    pass
            if stopped:
                raise Interrupted((interruption.signal or signal.SIGTERM).name)
            if step == steps:
                break

        progress.kept_step = progress.step
        if settings.patience is not None:
            progress.kept_step = best_evaluation(progress.history)[0].step
            weights.take_best()
        weights.restore(model)
    return progress


def _go_on(checkpoints: Checkpoints | None, weights: MasterWeights, team: Team, device: torch.device) -> Progress:
    """Take the newest whole checkpoint, which the leader finds, or begin anew."""
    if checkpoints is None:
        return Progress()
    saved = checkpoints.newest() if team.leads else None
    step = team.told(saved.progress.step if saved else 0, device)
    if step == 0:
        return Progress()
    saved = saved or checkpoints.at(step)
    weights.take(saved.tensors, step)
    return saved.progress


def backward(
    loss_of: LossOf, weights: MasterWeights, rows: Sequence[Encoded], settings: Finetune, step: int, loss_on: LossOn
) -> Tensor:
    """Compute a batch's mean loss over its targets, and its gradient into ``weights``, in as many parts as asked.

    The loss of each part is divided by the targets of the whole batch, so that the parts, and the processes among which
    each is divided, make no difference but for rounding. Dropout draws from a generator that depends on the seed, the
    step and the process alone.

    Returns:
        The loss: a scalar in fp32.
    """
    team = weights.team
    dropout = settings.dropout
    count = sum(targets_of(row, loss_on) for row in rows)
    total = torch.zeros((), device=weights.master[0].device)
    with torch.random.fork_rng(enabled=dropout > 0):
        if dropout:
            torch.manual_seed(runtime.seed_for(settings.seed, "dropout", step, *[team.rank] * (team.rank > 0)))
        for part in batches_of(rows, math.ceil(len(rows) / settings.accumulate), drop_last=False):
            own, counts = team.share(part)
            batch = collate(own, loss_on, share_prefix=not dropout, dropout=dropout).filled(weights.line_multiple)
            loss = loss_of(batch.to(total.device), scale=counts / count)
            loss.backward()
            if settings.accumulate > 1:
                weights.gather()
            total += loss.detach()
    return team.sum(total)


def best_evaluation(history: Sequence[StepRecord]) -> tuple[StepRecord, int]:
    """The trained record with the lowest validation loss, the first of equals, and how many evaluations came after."""
    evaluated = [record for record in history if record.val_loss is not None and record.step > 0]
    best = min(evaluated, key=lambda record: record.val_loss or 0.0)
    return best, len(evaluated) - 1 - evaluated.index(best)


def _out_of_patience(progress: Progress, settings: Finetune) -> bool:
    """Whether a run that goes on had stopped early already."""
    evaluated = any(record.val_loss is not None and record.step > 0 for record in progress.history)
    return settings.patience is not None and evaluated and best_evaluation(progress.history)[1] >= settings.patience


def planned_steps(rows: int, settings: Finetune) -> int:
    """Optimiser steps that the recipe makes from so many train rows.

    Raises:
        DataError: the rows do not fill one batch.
    """
    an_epoch = len(batches_of(range(rows), settings.batch_size, drop_last=settings.drop_last))
    if an_epoch == 0:
        raise DataError(
            f"{rows} train rows do not fill one batch of finetune.batch_size {settings.batch_size}",
            "lower finetune.batch_size or set finetune.drop_last: false in params.yaml",
        )
    steps = an_epoch * settings.epochs
    return steps if settings.max_steps is None else min(steps, settings.max_steps)


def _steps(
    train: Sequence[Encoded], settings: Finetune, steps: int, *, done: int
) -> Iterator[tuple[int, int, bool, list[Encoded]]]:
    """Yield (step from 1, epoch from 1, whether the epoch or the run ends with it, rows) for steps after ``done``."""
    step = 0
    for epoch in range(1, settings.epochs + 1):
        order = epoch_order(len(train), settings.seed, epoch)
        batches = batches_of(order, settings.batch_size, drop_last=settings.drop_last)
        for number, batch in enumerate(batches, 1):
            step += 1
            if step > steps:
                return
            if step > done:
                yield step, epoch, number == len(batches) or step == steps, [train[index] for index in batch]


def rate_factor(step: int, steps: int, settings: Finetune) -> float:
    """What the learning rate is multiplied by at a step (from 1): rises over the warm-up, then follows the schedule.

    Linear and cosine begin to fall after the warm-up and would reach 0 one step after the last.
    """
    warmup = settings.warmup_steps
    if step <= warmup:
        return step / (warmup + 1)
    done = (step - warmup - 1) / max(steps - warmup, 1)
    if settings.schedule == "linear":
        return 1 - done
    if settings.schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return 1.0


def summed_loss(model: GPT2, batch: Batch, *, scale: float = 1.0) -> Tensor:
    """Cross-entropy in nats summed over the batch's targets, times ``scale``: a scalar in fp32.

    Logits are made only at targets.
    """
    hidden = model(batch.ids, batch.positions, batch.attend)  # [N, C]
    at_targets = hidden.index_select(0, batch.where)  # [M, C]
    return summed_cross_entropy(at_targets, model.wte.weight, batch.targets, batch.weights * scale)


@torch.no_grad()
def evaluate(model: GPT2, rows: Sequence[Encoded], loss_on: LossOn, team: Team = ALONE) -> float:
    """Mean loss in nats over all target tokens of all rows, each token counting the same."""
    by_length = sorted(rows, key=lambda row: len(row.ids))
    total = torch.zeros((), dtype=torch.float64, device=model.wte.weight.device)
    for batch_rows in batches_of(by_length, EVALUATION_BATCH, drop_last=False):
        own, counts = team.share(batch_rows)
        total += summed_loss(model, collate(own, loss_on).to(total.device), scale=float(counts))
    return team.sum(total).item() / sum(targets_of(row, loss_on) for row in rows)


def _check_finite(record: StepRecord, rows: Sequence[Encoded]) -> None:
    for name in ("train_loss", "grad_norm", "val_loss"):
        value = getattr(record, name)
        if value is not None and not math.isfinite(value):
            names = ", ".join(row.id for row in rows)
            raise ConfigError(
                f"step {record.step}: {name} is {value}; the rows of this step: {names}",
                "lower finetune.learning_rate, or set finetune.clip_norm, in params.yaml",
            )
