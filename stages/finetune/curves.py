"""What a fine-tuning run tells about itself: metrics.json, loss.csv and the loss curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.common.files import atomic_file
from stages.finetune.progress import Progress, StepRecord, best_evaluation

#: Steps that a point of the drawn training curve averages, at most: the loss of one small batch jumps about.
SMOOTHING = 10


def metrics(trained: Progress) -> dict[str, Any]:
    """The figures of a finished run.

    ``val_loss`` is that of the weights which the run keeps, those of ``kept_step``; ``last_val_loss`` that of its last
    step. The best is the lowest of a step, so that the untrained model's does not count.
    """
    evaluated = {record.step: record.val_loss for record in trained.history if record.val_loss is not None}
    best, _ = best_evaluation(trained.history)
    last = trained.history[-1]
    assert trained.kept_step is not None
    return {
        "steps": last.step,
        "epochs": last.epoch,
        "tokens_seen": last.tokens_seen,
        "train_loss": last.train_loss,
        "val_loss_before": evaluated[0],
        "val_loss": evaluated[trained.kept_step],
        "last_val_loss": last.val_loss,
        "best_val_loss": best.val_loss,
        "best_step": best.step,
        "kept_step": trained.kept_step,
    }


def write_csv(history: Sequence[StepRecord], path: Path) -> None:
    """The losses by step, for `dvc plots`: columns step, train_loss, val_loss; empty where not measured."""
    with atomic_file(path) as stream:
        stream.write("step,train_loss,val_loss\n")
        for record in history:
            cells = ("" if loss is None else f"{loss:.6f}" for loss in (record.train_loss, record.val_loss))
            stream.write(f"{record.step},{','.join(cells)}\n")


def draw(history: Sequence[StepRecord], path: Path, *, title: str) -> None:
    """Draw training and validation loss over the steps, as a PNG with nothing in it but the picture."""
    from matplotlib.figure import Figure

    trained = [record for record in history if record.train_loss is not None]
    steps = [record.step for record in trained]
    losses = [record.train_loss for record in trained if record.train_loss is not None]
    evaluated = {record.step: record.val_loss for record in history if record.val_loss is not None}

    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, losses, color="#9ecae1", linewidth=0.8, label="train, each step")
    axes.plot(steps, running_mean(losses, SMOOTHING), color="#08519c", linewidth=1.6, label="train, running mean")
    axes.plot(
        list(evaluated),
        list(evaluated.values()),
        color="#d94801",
        marker="o",
        markersize=4,
        label="validation, all rows",
    )
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("loss per token (nats)")
    axes.set_title(title)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    with atomic_file(path, "wb") as stream:
        # No software name or date: equal runs give equal bytes.
        figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """At each place the mean of the last ``window`` values, or of as many as there are: [2, 4, 6] by 2 is [2, 3, 5]."""
    means: list[float] = []
    for end in range(1, len(values) + 1):
        recent = values[max(0, end - window) : end]
        means.append(sum(recent) / len(recent))
    return means
