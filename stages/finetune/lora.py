"""LoRA: low-rank updates of some projections instead of all weights (Hu et al. 2021, arXiv 2106.09685).

A projection ``x W + b`` becomes ``x W + b + (alpha / rank) (x A^T) B^T`` with A [rank, in] random and B [out, rank]
zero, so that training begins at the model as it was. Only A and B are trained; `merge` adds their product to W. The
adapter is saved in the format of Hugging Face's PEFT.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.common.files import write_json
from stages.gpt2 import runtime, weights
from stages.gpt2.model import GPT2, Projection
from stages.params.finetune import Lora

ADAPTER = "adapter"


class LoraProjection(nn.Module):
    """A projection with a low-rank update.

    Args:
        base: the projection; its parameters are frozen.
        settings: rank and alpha.
        generator: generator of A's random numbers.
    """

    def __init__(self, base: Projection, settings: Lora, generator: torch.Generator) -> None:
        super().__init__()
        inputs, outputs = base.weight.shape
        self.base = base.requires_grad_(False)
        self.scale = settings.alpha / settings.rank
        # PEFT's bound: nn.Linear's own, uniform within 1 / sqrt(in).
        bound = 1 / math.sqrt(inputs)
        start = torch.empty(settings.rank, inputs).uniform_(-bound, bound, generator=generator)
        self.lora_a = nn.Parameter(start.to(base.weight.device))
        self.lora_b = nn.Parameter(torch.zeros(outputs, settings.rank, device=base.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return self.base(x) + F.linear(F.linear(x, self.lora_a), self.lora_b) * self.scale

    @torch.no_grad()
    def merged(self) -> Projection:
        """The plain projection that computes the same."""
        self.base.weight.add_((self.lora_b @ self.lora_a).t(), alpha=self.scale)
        return self.base


def attach(model: GPT2, settings: Lora, seed: int) -> None:
    """Freeze the model and give its target projections, such as every ``c_attn``, an update to train.

    Args:
        model: the model, which is changed.
        settings: rank, alpha and targets.
        seed: seed of the updates' first weights.
    """
    model.requires_grad_(False)
    for name, module in list(model.named_modules()):
        if isinstance(module, Projection) and name.rpartition(".")[2] in settings.targets:
            _replace(model, name, LoraProjection(module, settings, runtime.generator(seed, "lora", name)))


def merge(model: GPT2) -> None:
    """Put the updates into the weights; the model is a plain GPT-2 again."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraProjection):
            _replace(model, name, module.merged())
    model.requires_grad_(True)


def adapter_tensors(model: GPT2) -> dict[str, Tensor]:
    """The updates' tensors on the CPU in fp32, under the names that PEFT gives them for GPT2LMHeadModel."""
    tensors: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraProjection):
            for part, value in (("lora_A", module.lora_a), ("lora_B", module.lora_b)):
                key = f"base_model.model.transformer.{name}.{part}.weight"
                tensors[key] = value.detach().to("cpu", torch.float32, copy=True)
    return tensors


def save_adapter(tensors: dict[str, Tensor], settings: Lora, folder: Path, *, base: str) -> None:
    """Write an adapter as PEFT reads it into a folder of its own within ``folder``.

    Args:
        tensors: what `adapter_tensors` gave.
        settings: rank, alpha and targets.
        folder: the model's folder.
        base: the model that the adapter belongs to, as PEFT is to find it: a path relative to where PEFT is started.
    """
    own = folder / ADAPTER
    own.mkdir()
    weights.write_tensors(own / "adapter_model.safetensors", tensors)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted(settings.targets),
        "fan_in_fan_out": True,  # the weights are stored [in, out]
        "bias": "none",
    }
    write_json(own / "adapter_config.json", config)


def _replace(model: GPT2, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
