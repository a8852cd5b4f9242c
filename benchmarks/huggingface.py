"""`transformers` in a plain loop, with the settings that make it fast here, and what `benchmarks.sft_trainer` shares.

Weights in fp32, under bf16 autocast where the task is in bf16; fused AdamW on every parameter, scaled-dot-product
attention, no activation checkpointing, no clipping. Rows are padded to the longest of their batch. The padding-free
kinds pack a batch's rows into one, for which `transformers` makes a block-diagonal mask from the positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DataCollatorWithFlattening, GPT2LMHeadModel

from benchmarks.clock import EVALUATIONS, Clock
from benchmarks.results import Timing, Training
from benchmarks.task import Task
from stages.common.results.tokenize import Encoded
from stages.gpt2.tokenizer import END_OF_TEXT

#: The label that PyTorch's cross entropy leaves out (`ignore_index`).
IGNORED = -100

Collate = Callable[[Sequence[Encoded]], dict[str, Any]]


def train(task: Task, model_folder: Path, device: str, clock: Clock, *, padding_free: bool) -> Training:
    """The loop that one writes around GPT2LMHeadModel."""
    model = load(model_folder).to(device)
    collate = flattened if padding_free else padded
    optimizer = adamw(model, task)

    clock.begin()
    model.train()
    for rows in task.batches():
        batch = moved(collate(rows), device)
        with computing(task, device):
            loss = model(**batch, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        clock.step(loss.detach(), targets(batch))
    for _ in range(EVALUATIONS):
        with clock.evaluation():
            mean_loss(model, task, task.val, collate, device)
    return outcome(clock.result(), model, task, device)


def computing(task: Task, device: str) -> torch.autocast:
    """A context in which matrix products are done in the task's precision."""
    return torch.autocast(device, torch.bfloat16, enabled=task.precision == "bf16")


def load(folder: Path) -> Any:
    """The task's model in fp32."""
    return GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")


def adamw(model: Any, task: Task) -> torch.optim.Optimizer:
    """The recipe's optimiser."""
    recipe = task.recipe
    return torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)


def padded(rows: Sequence[Encoded]) -> dict[str, Any]:
    """Padded rows, [B, T]. Padding comes after a row's own tokens, so causal attention needs no mask for it."""
    ids = [torch.tensor(row.ids) for row in rows]
    return {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=END_OF_TEXT),
        "labels": pad_sequence(ids, batch_first=True, padding_value=IGNORED),
    }


def flattened(rows: Sequence[Encoded]) -> dict[str, Any]:
    """Rows packed into one, [1, N], without padding."""
    batch: dict[str, Any] = DataCollatorWithFlattening()([{"input_ids": row.ids} for row in rows])
    return batch


def moved(batch: dict[str, Any], device: str) -> dict[str, Any]:
    """A batch on a device."""
    return {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}


def targets(batch: dict[str, Any]) -> torch.Tensor:
    """Number of target tokens: the labels that are not `IGNORED`, without each row's first, which nothing predicts."""
    labels: torch.Tensor = batch["labels"]
    return (labels[:, 1:] != IGNORED).sum()


def length(row: Encoded) -> int:
    """Ids in a row."""
    return len(row.ids)


@torch.no_grad()
def mean_loss(model: Any, task: Task, rows: Sequence[Encoded], collate: Collate, device: str) -> float:
    """Mean loss over all target tokens of rows, taken by length so that little is padding."""
    model.eval()
    ordered, size = sorted(rows, key=length), task.recipe.batch_size
    total, count = torch.zeros((2,), device=device)
    for start in range(0, len(rows), size):
        batch = moved(collate(ordered[start : start + size]), device)
        with computing(task, device):
            total += model(**batch, use_cache=False).loss * targets(batch)
        count += targets(batch)
    model.train()
    return float(total / count)


def outcome(timing: Timing, model: Any, task: Task, device: str) -> Training:
    """What every contender reports."""
    final_loss = mean_loss(model, task, task.val[: task.recipe.batch_size], padded, device)
    return Training(timing=timing, precision=task.precision, evaluations=task.evaluations(), final_loss=final_loss)
