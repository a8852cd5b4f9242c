"""AdamW over fp32 weights, behind a model that may compute in bf16."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from stages.finetune.team import ALONE, Team, local, shard_of, whole
from stages.gpt2.model import GPT2
from stages.params.finetune import Finetune

#: Elements, of one weight or several, that are updated at a time behind a bf16 model, so that no fp32 gradient of the
#: model's size ever exists. On a CPU their gradient, weight and state stay in the cache from the conversion to fp32
#: until the weight goes back. On a GPU every block needs some kernels more.
BLOCK, BLOCK_ON_GPU = 1 << 20, 1 << 25
#: The longest pieces of a gradient whose squares are summed in one go.
PIECE = 1 << 10
#: torch.optim.AdamW's defaults.
BETAS = (0.9, 0.999)
EPSILON = 1e-8


class MasterWeights:
    """The fp32 weights and AdamW's state over them, behind a model that may compute in bf16.

    An update of relative size 1e-3 vanishes in bf16's 8 bits of precision, so bf16 is for matrix products only: a step
    turns the gradients to fp32, updates the fp32 weights by them and gives these to the model.

    Args:
        model: the model, in fp32; it is turned to ``dtype``.
        dtype: dtype of the matrix products.
        settings: the recipe.
        team: the processes that train the model. Where weights are sharded the model stays in fp32 and turns to
            ``dtype`` by itself, layer by layer; what is kept here is this rank's shard.
    """

    def __init__(self, model: GPT2, dtype: torch.dtype, settings: Finetune, team: Team = ALONE) -> None:
        masters: dict[str, Tensor] = dict(model.named_parameters())
        if dtype != torch.float32 and not team.sharded:
            masters = {name: p.detach().clone().requires_grad_(p.requires_grad) for name, p in masters.items()}
            model.to(dtype)
        self.team = team
        # All weights of the model, and the fp32 weights of those that are not trained.
        self.parameters: dict[str, Tensor] = dict(model.named_parameters())
        self.frozen = {name: master for name, master in masters.items() if not master.requires_grad}
        # Of the weights that are trained: names, fp32 weights, the model's, which in fp32 are the same, and the state.
        self.names = [name for name in masters if name not in self.frozen]
        self.master = [local(masters[name].detach()) for name in self.names]
        self.apart = masters[self.names[0]] is not self.parameters[self.names[0]]
        self.working = [self.parameters[name].detach() for name in self.names] if self.apart else self.master
        self.exp_avg = [torch.zeros_like(master) for master in self.master]
        self.exp_avg_sq = [torch.zeros_like(master) for master in self.master]
        # The gradient of a block in fp32, where weights are updated by the block. It is used again and again, since
        # fresh memory is slow to write.
        device = self.master[0].device
        most = min(BLOCK_ON_GPU if device.type == "cuda" else BLOCK, sum(map(torch.numel, self.master)))
        self._block = torch.empty(most, device=device) if self.apart else None
        # The accumulated gradients of a batch's micro-batches, in fp32.
        self.sums: list[Tensor] = []
        self.best: list[Tensor] = []
        self.clip_norm = settings.clip_norm
        self.decay = [
            settings.weight_decay if settings.decay == "all" or weight.dim() >= 2 else 0.0
            for weight in (self.parameters[name] for name in self.names)
        ]
        self._parts = self._divided()

    def gather(self) -> None:
        """Accumulate the model's gradients in fp32, for a step of several micro-batches."""
        gradients = _in_fp32(self._gradients())
        self._release()
        if self.sums:
            torch._foreach_add_(self.sums, gradients)
        else:
            self.sums = gradients

    def forget(self) -> None:
        """Forget the gradients."""
        self._release()
        self.sums = []

    @torch.no_grad()
    def norm(self) -> Tensor:
        """The L2 norm of the gradients as they are, before any clipping: a scalar in fp32."""
        gradients = self.sums or self._gradients()
        if gradients[0].is_cuda:
            squares = torch.stack(list(torch._foreach_norm(gradients, 2, torch.float32))).square()
        elif self._block is None:
            squares = torch.stack([_square(gradient) for gradient in gradients])
        else:
            squares = torch.stack([_square(_gathered(part.of(gradients), self._block)) for part in self._parts])
        total = squares.sum()
        return (self.team.sum(total) if self.team.sharded else total).sqrt()

    @torch.no_grad()
    def step(
        self, learning_rate: float | Tensor, norm: Tensor, after: float | Tensor, lost: Tensor | None = None
    ) -> None:
        """Update the weights by the gradients, give them to the model, and forget the gradients.

        Args:
            learning_rate: learning rate of this step, a number or a scalar in fp32 on the weights' device.
            norm: what `norm` gave.
            after: number of steps made before, a number or a scalar likewise.
            lost: a scalar in fp32, on the weights' device. Where it is 1 nothing is updated; a GPU looks at it by
                itself, so that nothing waits for it.
        """
        # As torch.nn.utils.clip_grad_norm_, which never multiplies by more than 1.
        scale = None if self.clip_norm is None else (self.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        gradients = self.sums or self._gradients()
        for part in self._parts:
            wide = self._wide(part.of(gradients))
            if scale is not None:
                torch._foreach_mul_(wide, scale)
            part.update(wide, after, learning_rate, lost)
        self.forget()

    @torch.no_grad()
    def keep_best(self) -> None:
        """Remember the weights as they are now."""
        self.best = [weight.clone() for weight in self.master]

    @torch.no_grad()
    def take_best(self) -> None:
        """Go back to the weights remembered."""
        torch._foreach_copy_(self.master, self.best)
        self._give_back()

    def shapes(self) -> dict[str, list[int]]:
        """The whole shapes of what `tensors` gives, by name, in its order."""
        return {f"{kind}.{name}": list(self.parameters[name].shape) for kind in self._state() for name in self.names}

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Weights, optimiser state and the best weights if remembered, in fp32, each with its name.

        They are whole. Where they are sharded every process must take them all: each is gathered when it is asked for,
        so that they are never all in memory.
        """
        for kind, values in self._state().items():
            for name, value in self._named(values):
                yield f"{kind}.{name}", self._whole(name, value)

    @torch.no_grad()
    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        if f"best.{self.names[0]}" in tensors:
            self.keep_best()
        for kind, values in self._state().items():
            for name, value in self._named(values):
                value.copy_(shard_of(tensors[f"{kind}.{name}"], self.parameters[name]))
        self._give_back()

    @torch.no_grad()
    def restore(self, model: GPT2) -> None:
        """Make a model hold the fp32 weights: the one given at first, or where that is sharded another like it."""
        masters = dict(self._named(self.master)) | self.frozen
        for name, weight in model.named_parameters():
            if self.team.sharded:
                weight.copy_(self._whole(name, local(masters[name])))
            elif self.apart:
                weight.data = masters[name].data

    def _named(self, values: list[Tensor]) -> Iterator[tuple[str, Tensor]]:
        return zip(self.names, values, strict=True)

    def _state(self) -> dict[str, list[Tensor]]:
        best = {"best": self.best} if self.best else {}
        return {"weight": self.master, "exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq} | best

    def _whole(self, name: str, shard: Tensor) -> Tensor:
        return whole(shard, self.parameters[name])

    def _gradients(self) -> list[Tensor]:
        found = []
        for name in self.names:
            if (gradient := self.parameters[name].grad) is None:
                raise RuntimeError(f"{name} has no gradient")
            found.append(local(gradient))
        return found

    def _wide(self, gradients: list[Tensor]) -> list[Tensor]:
        """Gradients in fp32."""
        if self._block is None:
            return gradients
        return list(_gathered(gradients, self._block).split([len(gradient) for gradient in gradients]))

    def _release(self) -> None:
        for name in self.names:
            self.parameters[name].grad = None

    def _give_back(self) -> None:
        if self.apart:
            torch._foreach_copy_(self.working, self.master)

    def _divided(self) -> list[_Part]:
        """What is updated in one call: all weights of one decay, or behind a bf16 model a block of elements."""
        rows = list(zip(self.master, self.working, self.exp_avg, self.exp_avg_sq, strict=True))
        parts = []
        for decay in dict.fromkeys(self.decay):
            sizes = {number: row[0].numel() for number, row in enumerate(rows) if self.decay[number] == decay}
            for block in _blocks(sizes, sum(sizes.values()) if self._block is None else len(self._block)):
                pieces = ([tensor.view(-1)[where] for tensor in rows[number]] for number, where in block)
                masters, working, exp_avg, exp_avg_sq = map(list, zip(*pieces, strict=True))
                parts.append(_Part(decay, block, masters, working if self.apart else masters, exp_avg, exp_avg_sq))
        return parts


#: Some of a weight's elements: the number of the weight, and the slice of its flat tensor.
_Elements = tuple[int, slice]


def _blocks(sizes: Mapping[int, int], most: int) -> Iterator[list[_Elements]]:
    """Cut weights, given by number with their sizes, into blocks of ``most`` elements; the last one may have fewer."""
    block: list[_Elements] = []
    room = most
    for number, size in sizes.items():
        start = 0
        while start < size:
            end = min(start + room, size)
            block.append((number, slice(start, end)))
            room -= end - start
            start = end
            if not room:
                yield block
                block, room = [], most
    if block:
        yield block


@dataclass(frozen=True)
class _Part:
    """Elements of weights that are updated in one call. At each index the four lists have flat tensors of one length.

    Args:
        decay: weight decay.
        elements: which elements they are.
        masters: fp32 weights.
        working: the model's weights; where these are the fp32 ones, the same list.
        exp_avg: AdamW's first moments.
        exp_avg_sq: AdamW's second moments.
    """

    decay: float
    elements: list[_Elements]
    masters: list[Tensor]
    working: list[Tensor]
    exp_avg: list[Tensor]
    exp_avg_sq: list[Tensor]

    def of(self, gradients: list[Tensor]) -> list[Tensor]:
        """The gradients of these elements, from whole gradients."""
        return [gradients[number].reshape(-1)[where] for number, where in self.elements]

    def update(
        self, gradients: list[Tensor], after: float | Tensor, learning_rate: float | Tensor, lost: Tensor | None
    ) -> None:
        """One step of AdamW by gradients in fp32, unless ``lost`` is 1; the model gets the new weights.

        Arguments are those of `MasterWeights.step`.
        """
        counts = torch.empty(len(self.masters), device=self.masters[0].device)
        counts.copy_(after) if isinstance(after, Tensor) else counts.fill_(after)
        adamw(
            self.masters,
            gradients,
            self.exp_avg,
            self.exp_avg_sq,
            max_exp_avg_sqs=[],
            state_steps=list(counts.unbind()),  # it adds one to each
            fused=True,
            found_inf=lost,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=learning_rate,
            weight_decay=self.decay,
            eps=EPSILON,
            maximize=False,
        )
        if self.working is not self.masters:
            torch._foreach_copy_(self.working, self.masters)


def _in_fp32(tensors: list[Tensor]) -> list[Tensor]:
    """Tensors of one dtype in fp32, on a GPU in few kernels; those that are so already are themselves."""
    if tensors[0].dtype == torch.float32:
        return tensors
    wide = [torch.empty_like(tensor, dtype=torch.float32) for tensor in tensors]
    torch._foreach_copy_(wide, tensors)
    return wide


def _gathered(tensors: list[Tensor], memory: Tensor) -> Tensor:
    """Flat tensors behind one another at the beginning of ``memory``, in its dtype."""
    lengths = [len(tensor) for tensor in tensors]
    together = memory[: sum(lengths)]
    torch._foreach_copy_(together.split(lengths), tensors)
    return together


def _square(gradient: Tensor) -> Tensor:
    """The square of the L2 norm, in fp32.

    It is the sum over short pieces. On a CPU one norm or one dot product of millions of numbers adds them up in such
    long runs that in the worst case measured the square was 0.5 % too small (docs/decisions.md).
    """
    blocks = [block.float() for block in gradient.reshape(-1).split(BLOCK)]
    pieces = (block.view(-1, math.gcd(len(block), PIECE)) for block in blocks)
    return torch.stack([torch.linalg.vector_norm(piece, dim=1).square().sum() for piece in pieces]).sum()
