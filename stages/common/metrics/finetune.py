"""What the stage finetune counts and measures: its metrics.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.common.plurals import counted, word
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

    def length(self, recipe: Mapping[str, Any]) -> list[str]:
        """The steps and the epochs, in words; where the last epoch did not end, how many epochs the steps are.

        With 24 rows a batch and drop_last, 3,713 rows are 154 batches an epoch: 200 steps are 1.3 epochs.

        Args:
            recipe: the section finetune that the training was made with; may be empty.
        """
        steps, batches = counted(self.steps, "step"), self.batches_of_an_epoch(recipe)
        if not batches or self.steps == self.epochs * batches:
            return [steps, counted(self.epochs, "epoch")]
        passes = f"{self.steps / batches:.3g}"
        return [f"{steps} ({passes} {word(float(passes), 'epoch')})"]

    def batches_of_an_epoch(self, recipe: Mapping[str, Any]) -> int | None:
        """The batches that the train rows make; None where the recipe does not say.

        Args:
            recipe: the section finetune that the training was made with; may be empty, or of an earlier version.
        """
        try:
            rows, size = self.rows_train, recipe["batch_size"]
            return int(rows // size if recipe["drop_last"] else -(-rows // size))
        except (KeyError, TypeError):
            return None
