"""What the stage finetune writes."""

from __future__ import annotations

from stages.common.paths import ARTIFACTS
from stages.common.records import Metrics, Record

FINETUNE_FOLDER = ARTIFACTS / "finetune"
TUNED_MODEL = FINETUNE_FOLDER / "model"
HISTORY = FINETUNE_FOLDER / "history.jsonl"
FINETUNE_METRICS = FINETUNE_FOLDER / "metrics.json"
LOSS_CSV = FINETUNE_FOLDER / "loss.csv"


class StepRecord(Record):
    """One line of history.jsonl. What was not measured at a step is None, and absent in the file.

    Args:
        step: optimiser steps done; the line for 0 is the model before training.
        epoch: passes over the train rows begun, from 1; 0 before training.
        tokens_seen: ids of train rows that have been an input, counted each time; neither padding nor a row's last id,
            which is only ever a target.
        train_loss: mean loss in nats over the target tokens of this step's batch, before its update.
        learning_rate: learning rate of this step.
        grad_norm: L2 norm of this step's gradient, before clipping.
        val_loss: mean loss in nats over all target tokens of all validation rows, after this step.
    """

    step: int
    epoch: int
    tokens_seen: int
    train_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    val_loss: float | None = None


class FinetuneMetrics(Metrics):
    """The figures of a finished training.

    Args:
        parameters: parameters of the model.
        precision: dtype of the matrix products, fp32 or bf16.
        rows_train: train rows.
        rows_val: validation rows.
        trained_parameters: parameters that LoRA trains; absent where all are trained.
        steps: optimiser steps done.
        epochs: epochs begun.
        tokens_seen: tokens seen as in `StepRecord`.
        train_loss: loss of the last step's batch.
        val_loss_before: validation loss of the untrained model.
        val_loss: validation loss of the weights that are kept, those of ``kept_step``.
        last_val_loss: validation loss of the last step.
        best_val_loss: lowest validation loss of a step; the untrained model's does not count.
        best_step: the step that has it.
        kept_step: the step whose weights are kept.
    """

    parameters: int
    precision: str
    rows_train: int
    rows_val: int
    trained_parameters: int | None = None
    steps: int
    epochs: int
    tokens_seen: int
    train_loss: float | None
    val_loss_before: float
    val_loss: float
    last_val_loss: float
    best_val_loss: float
    best_step: int
    kept_step: int
