"""The loop of "Build a Large Language Model (From Scratch)", chapter 7, as its package `llms-from-scratch` has it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from llms_from_scratch.ch04 import GPTModel
from llms_from_scratch.ch05 import calc_loss_batch, evaluate_model, load_weights_into_gpt
from llms_from_scratch.ch07 import custom_collate_fn
from torch.utils.data import DataLoader, Dataset

from benchmarks.clock import EVALUATIONS, Clock
from benchmarks.results import Training
from benchmarks.task import POSITIONS, Task
from stages.gpt2 import weights
from stages.gpt2.model import GPT2

#: Steps between two evaluations, and batches of each split in one (chapter 7.6).
EVAL_FREQ = 5
EVAL_ITER = 5


class Rows(Dataset[list[int]]):
    """Token ids as the package's InstructionDataset gives them."""

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows = rows

    def __getitem__(self, index: int) -> list[int]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)


def train(task: Task, model_folder: Path, device: str, clock: Clock, *, bf16: bool = False) -> Training:
    """The body of ``train_model_simple`` and its evaluation, in fp32 as in the book or under bf16 autocast."""
    model = of(weights.load(model_folder, made_by="python -m benchmarks.finetune"))
    model.to(device)
    recipe = task.recipe
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    collate = partial(custom_collate_fn, device=device, allowed_max_length=POSITIONS)
    # The package's collate appends the end-of-text itself.
    train_loader, val_loader = (
        DataLoader(Rows([row.ids[:-1] for row in rows]), batch_size=recipe.batch_size, collate_fn=collate)
        for rows in (task.order(), task.val)
    )
    context = autocast(device) if bf16 else contextlib.nullcontext

    clock.begin()
    model.train()
    for input_batch, target_batch in itertools.islice(train_loader, task.warmup + task.steps):
        optimizer.zero_grad()
        with context():
            loss = calc_loss_batch(input_batch, target_batch, model, device)
        loss.backward()
        optimizer.step()
        clock.step(loss.detach(), (target_batch != -100).sum())
    for _ in range(EVALUATIONS):
        with clock.evaluation(), context():
            evaluate_model(model, train_loader, val_loader, device, EVAL_ITER)
    timing = clock.result()

    model.eval()
    with torch.no_grad(), context():
        final_loss = calc_loss_batch(*next(iter(val_loader)), model, device).item()
    evaluations = len(range(0, task.total_steps, EVAL_FREQ))
    return Training(timing=timing, precision="bf16" if bf16 else "fp32", evaluations=evaluations, final_loss=final_loss)


def autocast(device: str) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """Makes contexts in which matrix products are done in bf16."""
    return partial(torch.autocast, device_type=device, dtype=torch.bfloat16)


def of(model: GPT2) -> GPTModel:
    """The package's model with the weights of ours. Its head, begun with the same values, is a matrix of its own."""
    sizes = model.config
    copy = GPTModel(
        {
            "vocab_size": sizes.vocab_size,
            "context_length": sizes.n_positions,
            "emb_dim": sizes.n_embd,
            "n_heads": sizes.n_head,
            "n_layers": sizes.n_layer,
            "drop_rate": 0.0,
            "qkv_bias": True,
        }
    )
    load_weights_into_gpt(copy, parameters(model))
    return copy


def parameters(model: GPT2) -> dict[str, Any]:
    """A model's weights in the tree of OpenAI's checkpoint, from which the package loads."""
    tensors = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}

    def affine(name: str) -> dict[str, Any]:
        return {"w": tensors[f"{name}.weight"], "b": tensors[f"{name}.bias"]}

    def norm(name: str) -> dict[str, Any]:
        return {"g": tensors[f"{name}.weight"], "b": tensors[f"{name}.bias"]}

    blocks = [
        {
            "ln_1": norm(f"h.{layer}.ln_1"),
            "ln_2": norm(f"h.{layer}.ln_2"),
            "attn": {part: affine(f"h.{layer}.attn.{part}") for part in ("c_attn", "c_proj")},
            "mlp": {part: affine(f"h.{layer}.mlp.{part}") for part in ("c_fc", "c_proj")},
        }
        for layer in range(model.config.n_layer)
    ]
    return {"wte": tensors["wte.weight"], "wpe": tensors["wpe.weight"], "blocks": blocks, **norm("ln_f")}
