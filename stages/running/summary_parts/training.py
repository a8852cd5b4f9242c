"""The summary of a fine-tuning: its length, its losses, and what it cost on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.plurals import counted
from stages.common.results.finetune import StepRecord
from stages.running.console import duration
from stages.running.costs import TrainingCosts


def training_lines(found: FinetuneMetrics, history: Iterable[StepRecord], recipe: Mapping[str, Any]) -> list[str]:
    """The length of a training, its precision and its losses.

    Args:
        found: its figures.
        history: its steps, for the first train loss; may be empty.
        recipe: the section finetune that it was made with; may be empty.
    """
    counts = [*reversed(found.length(recipe)), counted(found.tokens_seen, "token")]
    lines = [", ".join([*counts, found.precision])]
    if found.train_loss is not None:
        first = next((row.train_loss for row in history if row.train_loss is not None), None)
        start = "" if first is None else f"{first:z.3f} → "
        lines.append(f"train loss       {start}{found.train_loss:z.3f} nats a token (of the last step's batch)")
    best = f"best {found.best_val_loss:z.3f} at step {found.best_step:,}"
    lines.append(f"validation loss  {found.val_loss_before:z.3f} → {found.val_loss:z.3f} nats a token ({best})")
    return lines


def device_of(costs: TrainingCosts, processes: int) -> str:
    """The device of a fine-tuning, in words.

    Args:
        costs: its costs.
        processes: world size.
    """
    if costs.device == "cpu":
        return "on the CPU"
    return "on a GPU" if processes == 1 else f"on {processes} GPUs"


def cost_lines(costs: TrainingCosts) -> list[str]:
    """Two lines on what a fine-tuning cost: time and memory, speed and HFU."""
    estimated = costs.estimated_seconds
    parts = [duration(costs.seconds) + ("" if estimated is None else f", estimated {duration(estimated)}")]
    if costs.steps_before:
        parts[0] += f", for the last {costs.steps:,} of {counted(costs.steps_before + costs.steps, 'step')}"
        before = costs.seconds_before
        parts.append("for those before not known" if before is None else f"{duration(before)} for those before")
    if costs.seconds_to_first_step is not None:
        parts.append(f"first step after {duration(costs.seconds_to_first_step)}")
    parts.append(f"{costs.peak_memory_bytes / 2**30:.1f} GiB at most")
    lines = [f"time             {'; '.join(parts)}"]
    if costs.tokens_per_second is not None:
        hfu = "HFU not known: the machine was busy when its peak was measured"
        if costs.hfu is not None:
            hfu = f"HFU {100 * costs.hfu:.0f} % of {costs.peak_tflop_per_second:.3g} TFLOP/s measured here"
        lines.append(f"speed            {costs.tokens_per_second:,.0f} tokens/s, {hfu}")
    return lines
