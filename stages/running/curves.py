"""The loss curves of a fine-tuning as a picture, from its history.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.common.results.finetune import StepRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Steps that a point of the drawn training curve averages, at most: the loss of one small batch jumps about.
SMOOTHING = 10


def figure(history: Sequence[StepRecord]) -> Figure:
    """Training and validation loss over the steps."""
    from matplotlib.figure import Figure  # which takes half a second to import, and not every run draws

    trained = {record.step: record.train_loss for record in history if record.train_loss is not None}
    evaluated = {record.step: record.val_loss for record in history if record.val_loss is not None}
    mean = running_mean(list(trained.values()), SMOOTHING)

    drawn = Figure(figsize=(7.2, 4.0), layout="constrained", dpi=120)
    axes = drawn.subplots()
    axes.plot(list(trained), list(trained.values()), color="#9ecae1", linewidth=0.8, label="train, each step")
    axes.plot(list(trained), mean, color="#08519c", linewidth=1.6, label="train, running mean")
    losses = list(evaluated.values())
    axes.plot(list(evaluated), losses, color="#d94801", marker="o", markersize=4, label="validation, all rows")
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("loss per token (nats)")
    axes.set_title("Loss of the fine-tuning")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return drawn


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """At each index the mean of the last ``window`` values, or of all if fewer: [2, 4, 6] by 2 is [2, 3, 5]."""
    means: list[float] = []
    for end in range(1, len(values) + 1):
        recent = values[max(0, end - window) : end]
        means.append(sum(recent) / len(recent))
    return means
