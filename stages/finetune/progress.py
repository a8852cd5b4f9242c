"""How far a training run has come, step by step: what history.jsonl shows and a checkpoint keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StepRecord:
    """One line of history.jsonl. What was not measured at a step is None.

    Args:
        step: optimiser steps done; the line for 0 is the model before training.
        epoch: passes over the train rows begun, from 1; 0 before training.
        tokens_seen: ids of train rows that have been an input, counted each time; neither padding nor a row's last id,
            which is only ever a target.
        train_loss: mean loss in nats over the target tokens of this step's batch, before its update.
        learning_rate: of this step.
        grad_norm: the L2 norm of the gradient of this step, before clipping.
        val_loss: mean loss in nats over all target tokens of all validation rows, after this step.
    """

    step: int
    epoch: int
    tokens_seen: int
    train_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    val_loss: float | None = None


@dataclass
class Progress:
    """How far a run has come, and what it has to tell: what a checkpoint holds besides tensors.

    Args:
        history: the records so far, in order; the last one's step is the number of steps done.
        samples: what ``on_epoch`` returned, an entry an epoch, the last one of the weights that the run keeps.
        kept_step: the step whose weights the finished run keeps: the last, or with ``patience`` the best.
    """

    history: list[StepRecord] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    kept_step: int | None = None

    @property
    def step(self) -> int:
        """Optimiser steps done; -1 before the untrained model is evaluated."""
        return self.history[-1].step if self.history else -1

    def to_json(self) -> dict[str, Any]:
        """As JSON; `from_json` reads it back to the last bit."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Progress:
        """The inverse of `to_json`."""
        return cls([StepRecord(**record) for record in tree["history"]], tree["samples"], tree["kept_step"])


def best_evaluation(history: Sequence[StepRecord]) -> tuple[StepRecord, int]:
    """The trained record with the lowest validation loss, the first of equals, and how many evaluations came after."""
    evaluated = [record for record in history if record.val_loss is not None and record.step > 0]
    best = min(evaluated, key=lambda record: record.val_loss or 0.0)
    return best, len(evaluated) - 1 - evaluated.index(best)
