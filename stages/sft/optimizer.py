"""AdamW over fp32 weights, behind a model that may compute in bf16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stages.common.params import Finetune
from stages.gpt2.model import GPT2


class MasterWeights:
    """The fp32 weights and AdamW's state over them, behind a model that may compute in bf16.

    An update of relative size 1e-3 vanishes in bf16's 8 bits of precision, so bf16 is for matrix products only: before
    a step the gradients go to the fp32 weights, after it the weights go back to the model.

    Args:
        model: in fp32; from then on in ``dtype``.
        dtype: of the matrix products.
        settings: the recipe.
    """

    def __init__(self, model: GPT2, dtype: torch.dtype, settings: Finetune) -> None:
        masters: dict[str, Tensor] = dict(model.named_parameters())
        if dtype != torch.float32:
            masters = {name: p.detach().clone().requires_grad_(p.requires_grad) for name, p in masters.items()}
            model.to(dtype)
        working: dict[str, Tensor] = dict(model.named_parameters())
        self.names = [name for name, master in masters.items() if master.requires_grad]
        self.master = [masters[name] for name in self.names]
        self.working = [working[name] for name in self.names]
        self.frozen = [(master, working[name]) for name, master in masters.items() if not master.requires_grad]
        self.optimizer = torch.optim.AdamW(self._groups(settings), lr=settings.learning_rate, fused=True)
        self.best: dict[str, Tensor] = {}
        self.clip_norm = settings.clip_norm

    def gather(self) -> None:
        """Add the model's gradients to those of the fp32 weights."""
        for master, working in self._apart():
            assert working.grad is not None
            gradient = working.grad.to(torch.float32)
            master.grad = gradient if master.grad is None else master.grad.add_(gradient)
            working.grad = None

    def step(self, learning_rate: float) -> Tensor:
        """Update the weights by the gradients gathered and give them to the model; returns the gradients' L2 norm."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if self.clip_norm is None:
            grad_norm = nn.utils.get_total_norm([weight.grad for weight in self.master if weight.grad is not None])
        else:
            grad_norm = nn.utils.clip_grad_norm_(self.master, self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._give_back()
        return grad_norm

    def keep_best(self) -> None:
        """Remember the weights as they are now."""
        self.best = {f"best.{name}": w.detach().clone() for name, w in zip(self.names, self.master, strict=True)}

    @torch.no_grad()
    def take_best(self) -> None:
        """Go back to the weights remembered."""
        for name, master in zip(self.names, self.master, strict=True):
            master.copy_(self.best[f"best.{name}"])
        self._give_back()

    def tensors(self) -> dict[str, Tensor]:
        """Weights, optimiser state and the best weights if remembered, by name, as a checkpoint keeps them."""
        state = {f"weight.{name}": master.detach() for name, master in zip(self.names, self.master, strict=True)}
        state |= self.best
        for name, master in zip(self.names, self.master, strict=True):
            state |= {f"{key}.{name}": value for key, value in self.optimizer.state[master].items()}
        return state

    @torch.no_grad()
    def take(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        for name, master in zip(self.names, self.master, strict=True):
            master.copy_(tensors[f"weight.{name}"])
            # AdamW's own names for its state; "step" is a tensor of one number.
            self.optimizer.state[master] = {
                key: tensors[f"{key}.{name}"].to(master.device) for key in ("step", "exp_avg", "exp_avg_sq")
            }
        self.best = {
            name: value.to(self.master[0].device) for name, value in tensors.items() if name.startswith("best.")
        }
        self._give_back()

    def restore(self) -> None:
        """Make the model hold the fp32 weights themselves."""
        for master, working in (*self._apart(), *self.frozen):
            working.data = master.data

    def _groups(self, settings: Finetune) -> list[dict[str, Any]]:
        """The weights that decay, and those that do not."""
        decaying = [weight for weight in self.master if settings.decay == "all" or weight.dim() >= 2]
        others = [weight for weight in self.master if settings.decay != "all" and weight.dim() < 2]
        decays = ((decaying, settings.weight_decay), (others, 0.0))
        return [{"params": weights, "weight_decay": decay} for weights, decay in decays if weights]

    def _apart(self) -> list[tuple[Tensor, Tensor]]:
        """The pairs of master and working weights that are not the same tensor: none in fp32."""
        return [pair for pair in zip(self.master, self.working, strict=True) if pair[0] is not pair[1]]

    @torch.no_grad()
    def _give_back(self) -> None:
        for master, working in self._apart():
            working.copy_(master)
