"""AdamW over fp32 weights, behind a model that may compute in bf16."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from stages.common.params import Finetune
from stages.gpt2.model import GPT2

#: Elements that are updated at a time on a CPU behind a bf16 model: their gradient, weight and state stay in the cache
#: from the conversion to fp32 until the weight goes back, and no fp32 gradient of the model's size ever exists.
BLOCK = 1 << 18
#: torch.optim.AdamW's defaults.
BETAS = (0.9, 0.999)
EPSILON = 1e-8


class MasterWeights:
    """The fp32 weights and AdamW's state over them, behind a model that may compute in bf16.

    An update of relative size 1e-3 vanishes in bf16's 8 bits of precision, so bf16 is for matrix products only: a step
    turns the gradients to fp32, updates the fp32 weights by them and gives these to the model.

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
        self.exp_avg = [torch.zeros_like(master) for master in self.master]
        self.exp_avg_sq = [torch.zeros_like(master) for master in self.master]
        self.steps = 0
        self.best: dict[str, Tensor] = {}
        self.clip_norm = settings.clip_norm
        self.decay = [
            settings.weight_decay if settings.decay == "all" or master.dim() >= 2 else 0.0 for master in self.master
        ]

    def gather(self) -> None:
        """Add the model's gradients to a sum in fp32: for a step whose gradient comes in several parts."""
        for master, working in self._apart():
            assert working.grad is not None
            gradient = working.grad.to(torch.float32)
            master.grad = gradient if master.grad is None else master.grad.add_(gradient)
            working.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> Tensor:
        """Update the weights by the gradients, give them to the model, and forget the gradients.

        Returns:
            The gradients' L2 norm before any clipping: a scalar in fp32.
        """
        squares: list[Tensor] = []
        scale = None
        if self.clip_norm is not None:
            # As torch.nn.utils.clip_grad_norm_, which never multiplies by more than 1.
            squares = [_square(gradient) for part in self._parts() for gradient in part.gradients]
            scale = (self.clip_norm / (torch.stack(squares).sum().sqrt() + 1e-6)).clamp(max=1.0)
        for part in self._parts():
            gradients = [gradient.to(torch.float32) for gradient in part.gradients]
            if scale is None:
                squares += map(_square, gradients)
            else:
                torch._foreach_mul_(gradients, scale)
            part.update(gradients, self.steps, learning_rate)
        for weight in (*self.master, *self.working):
            weight.grad = None
        self.steps += 1
        return torch.stack(squares).sum().sqrt()

    @torch.no_grad()
    def keep_best(self) -> None:
        """Remember the weights as they are now."""
        self.best = {f"best.{name}": weight.detach().clone() for name, weight in self._named(self.master)}

    @torch.no_grad()
    def take_best(self) -> None:
        """Go back to the weights remembered."""
        for name, master in self._named(self.master):
            master.copy_(self.best[f"best.{name}"])
        self._give_back()

    def tensors(self) -> dict[str, Tensor]:
        """Weights, optimiser state and the best weights if remembered, by name, as a checkpoint keeps them."""
        state = {"steps": torch.tensor(self.steps)}
        for kind, values in self._state().items():
            state |= {f"{kind}.{name}": value.detach() for name, value in self._named(values)}
        return state | self.best

    @torch.no_grad()
    def take(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self.steps = int(tensors["steps"])
        for kind, values in self._state().items():
            for name, value in self._named(values):
                value.copy_(tensors[f"{kind}.{name}"])
        device = self.master[0].device
        self.best = {name: value.to(device) for name, value in tensors.items() if name.startswith("best.")}
        self._give_back()

    def restore(self) -> None:
        """Make the model hold the fp32 weights themselves."""
        for master, working in (*self._apart(), *self.frozen):
            working.data = master.data

    def _named(self, values: list[Tensor]) -> Iterator[tuple[str, Tensor]]:
        return zip(self.names, values, strict=True)

    def _state(self) -> dict[str, list[Tensor]]:
        return {"weight": self.master, "exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq}

    def _apart(self) -> list[tuple[Tensor, Tensor]]:
        """The pairs of master and working weights that are not the same tensor: none in fp32."""
        return [pair for pair in zip(self.master, self.working, strict=True) if pair[0] is not pair[1]]

    def _give_back(self) -> None:
        for master, working in self._apart():
            working.copy_(master)

    def _parts(self) -> Iterator[_Part]:
        """What is updated together: all weights of the same decay, or on a CPU behind a bf16 model each block."""
        gradients = [m.grad if m.grad is not None else w.grad for m, w in zip(self.master, self.working, strict=True)]
        rows = zip(self.master, self.working, gradients, self.exp_avg, self.exp_avg_sq, strict=True)
        tables = [(tuple(row), decay) for row, decay in zip(rows, self.decay, strict=True)]
        if self._apart() and self.master[0].device.type == "cpu":
            for row, decay in tables:
                blocks = (tensor.view(-1).split(BLOCK) for tensor in row)
                for block in zip(*blocks, strict=True):
                    yield _Part(*([piece] for piece in block), decay=decay)
        else:
            for decay in dict.fromkeys(self.decay):
                columns = zip(*(row for row, own in tables if own == decay), strict=True)
                yield _Part(*map(list, columns), decay=decay)


@dataclass(frozen=True)
class _Part:
    """Tensors of one length at each place, updated in one call."""

    masters: list[Tensor]
    working: list[Tensor]
    gradients: list[Tensor]
    exp_avg: list[Tensor]
    exp_avg_sq: list[Tensor]
    decay: float

    def update(self, gradients: list[Tensor], steps: int, learning_rate: float) -> None:
        """One step of AdamW by gradients in fp32, after ``steps`` others; the model's weights become the new ones."""
        adamw(
            self.masters,
            gradients,
            self.exp_avg,
            self.exp_avg_sq,
            max_exp_avg_sqs=[],
            # It adds one to each of these.
            state_steps=[torch.tensor(float(steps), device=weight.device) for weight in self.masters],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=learning_rate,
            weight_decay=self.decay,
            eps=EPSILON,
            maximize=False,
        )
        if self.working[0] is not self.masters[0]:
            torch._foreach_copy_(self.working, self.masters)


def _square(gradient: Tensor) -> Tensor:
    """The square of the L2 norm, in fp32."""
    return torch.linalg.vector_norm(gradient, dtype=torch.float32).square()
