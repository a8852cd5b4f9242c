"""How far a training run has come, step by step: what a checkpoint keeps besides tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from stages.common.results.finetune import StepRecord


@dataclass
class Progress:
    """How far a run has come.

    Args:
        history: the records so far, in order; the last one's step is the number of steps done.
        kept_step: the step whose weights the finished run keeps: the last, or with ``patience`` the best.
    """

    history: list[StepRecord] = field(default_factory=list)
    kept_step: int | None = None

    @property
    def step(self) -> int:
        """Optimiser steps done; -1 before the untrained model is evaluated."""
        return self.history[-1].step if self.history else -1

    def to_json(self) -> dict[str, Any]:
        """The progress as JSON; `from_json` reads it back to the last bit."""
        tree: dict[str, Any] = _JSON.dump_python(self)
        return tree

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Progress:
        """The inverse of `to_json`.

        Raises:
            ValueError: a record has other fields or values than it should have.
        """
        return _JSON.validate_python(tree)


_JSON = TypeAdapter(Progress)


def best_evaluation(history: Sequence[StepRecord]) -> tuple[StepRecord, int]:
    """The trained record with the lowest validation loss, the first of equals, and how many evaluations came after."""
    evaluated = [record for record in history if record.val_loss is not None and record.step > 0]
    best = min(evaluated, key=lambda record: record.val_loss or 0.0)
    return best, len(evaluated) - 1 - evaluated.index(best)
