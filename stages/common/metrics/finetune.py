"""What the stage finetune counts and measures: its metrics.json."""

from __future__ import annotations

from stages.common.records import Metrics


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
