"""The memory that fine-tuning wants, estimated from sizes, and what to lower where it is not there."""

from __future__ import annotations

import itertools
import math
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import psutil
import torch

from stages.finetune import loss
from stages.finetune.costs.shape import Shape, evaluation_shapes, training_shapes
from stages.finetune.costs.weights import Weights
from stages.finetune.optimizer import BLOCK_ON_GPU
from stages.finetune.training_run import Run
from stages.gpt2 import graphs
from stages.gpt2.graphs import VARIABLE
from stages.gpt2.model import GPT2Config
from stages.gpt2.packed import keeps_weights
from stages.gpt2.runtime import Compute
from stages.params.finetune import Lora
from stages.running import machine
from stages.running.console import fitted, size
from stages.running.out_of_memory import explained

#: The code of torch's kernels, which is loaded when they are first used, and what allocators hold back: between 10 and
#: 150 MB in the runs measured (docs/decisions.md).
KERNELS = 64 << 20
#: The same on a GPU, where cuBLAS has workspaces: 0.3 GiB were missing in every run on tests/fake_cuda.c.
KERNELS_ON_GPU = 384 << 20
#: What fine-tuning is proposed to lower with, where it trains all weights.
LOW_RANK = Lora(rank=16, alpha=16.0, targets=["c_attn"])


@dataclass(frozen=True)
class Estimate:
    """Bytes that fine-tuning wants at its peak besides what the program takes before it begins.

    Args:
        weights: weights of the model, in the dtype of the matrix products.
        masters: fp32 weights that are updated, where these are others than the model's; and the best so far.
        optimizer: AdamW's two moments.
        gradients: all gradients, as they are when the backward pass ends.
        activations: what the forward pass keeps for the backward pass of one micro-batch.
        logits: the logits, or their gradient, and the head's gradient, when the loss is computed.
        held: what stays taken beside the gradients when the backward pass ends.
        accumulated: whether gradients of one micro-batch wait for those of the next.
        buckets: buckets in which several processes that each keep the whole model sum their gradients.
        evaluation: what the forward pass of a validation batch holds at a time.
        captured: what CUDA graphs of steps keep for themselves on a GPU (`stages.finetune.captured_steps`).
        kernels: see `KERNELS`.
    """

    weights: int
    masters: int
    optimizer: int
    gradients: int
    activations: int
    logits: int
    accumulated: bool = False
    buckets: int = 0
    evaluation: int = 0
    captured: int = 0
    held: int = 0
    kernels: int = KERNELS

    @property
    def total(self) -> int:
        """The peak: all parts that meet there."""
        return sum(self._parts().values())

    def _parts(self) -> dict[str, int]:
        """The parts that meet at the peak.

        Activations are given back layer by layer as gradients come, so that the peak is where the loss is computed or
        where the backward pass ends, whichever is higher. What is given back on a CPU stays with the program, and
        gradients, which have other sizes, take little of it. With gradient accumulation the gradients of the first
        micro-batch are there when the loss of the next is computed. An evaluation is made between steps. A checkpoint
        takes no memory of its own: tensors are written, and gathered from several processes, one at a time.
        """
        parts = {"weights": self.weights, "fp32 weights": self.masters, "optimiser": self.optimizer}
        parts |= {"buckets of gradients": self.buckets, "CUDA graphs": self.captured}
        at_the_loss = self.activations + self.logits
        at_the_end = self.gradients + self.held
        if self.evaluation > max(at_the_end, at_the_loss + self.gradients * self.accumulated):
            return parts | {"evaluation": self.evaluation, "kernels": self.kernels}
        if self.accumulated or at_the_end > at_the_loss:
            parts["gradients"] = self.gradients
        if self.accumulated or at_the_end <= at_the_loss:
            parts |= {"activations": self.activations, "logits and loss": self.logits}
        else:
            parts["activations and logits"] = self.held
        return parts | {"kernels": self.kernels}

    def __str__(self) -> str:
        """As in ``3.4 GiB (weights 0.5 GiB, ...)``."""
        parts = self._parts()
        return f"{size(self.total)} ({', '.join(f'{name} {size(part)}' for name, part in parts.items() if part)})"


class Peaks:
    """The bytes of a run's largest batch, found batch by batch.

    Args:
        sizes: sizes of the model.
        run: what is trained how, and on what.
    """

    def __init__(self, sizes: GPT2Config, run: Run) -> None:
        self._sizes, self._run = sizes, run
        #: Of the loss of a batch; of its activations and its loss together; and of its activations and its logits.
        self.at_the_loss = self.kept = self.forward = 0
        #: Of the logits of a batch, whose memory a CPU keeps for all batches.
        self.logits = 0

    def add(self, shape: Shape) -> None:
        """Count a batch or micro-batch."""
        of_the_loss, kept = _loss(shape, self._sizes, self._run), activations(shape, self._sizes, self._run)
        self.at_the_loss = max(self.at_the_loss, of_the_loss)
        self.kept = max(self.kept, kept + of_the_loss)
        logits = _logits(shape, self._sizes, self._run.compute)
        self.logits = max(self.logits, logits)
        self.forward = max(self.forward, kept + logits)


def estimate(sizes: GPT2Config, run: Run, peaks: Peaks | None = None) -> Estimate:
    """The memory of a run's largest step, in the process that wants most.

    With d bytes a number in the dtype of the products, W weights, of which T are trained:

    - weights d W; fp32 weights 4 W if d is 2, and 4 T more where early stopping keeps the best;
    - optimiser 8 T; gradients d T, and 4 T more where they are turned to fp32 whole, to be accumulated over the
      micro-batches; on a GPU a block of them in fp32;
    - activations, see `activations`;
    - the loss (`stages.finetune.loss`): the logits of up to GROUP target tokens in d, which become their gradient, and
      the head's gradient twice, V * C in d each, if the head is trained; on a CPU, where the logits' memory stays, once
      and what the backward pass of a layer takes, if that is more;
    - on a CPU, activations and logits beside the gradients, see `Estimate`;
    - an evaluation: what one layer and the ends of the forward pass of a validation batch hold, and its logits;
    - on a GPU the loss's logits twice more in fp32, and for captured steps, which have memory of their own, again
      activations and loss or the gradients.

    Args:
        sizes: sizes of the model.
        run: what is trained how, and on what.
        peaks: those of all batches of the run; None: they are gone through here.
    """
    recipe, dtype, device = run.recipe, run.compute.dtype, run.compute.device
    width, bf16 = dtype.itemsize, dtype != torch.float32
    weights = Weights.of(sizes, recipe, vocab_size=sizes.vocab_size)
    block = 4 * min(BLOCK_ON_GPU, weights.trained) if bf16 and device.type == "cuda" else 0
    if peaks is None:
        peaks = Peaks(sizes, run)
        for shape in itertools.chain.from_iterable(training_shapes(run, what="estimate the memory")):
            peaks.add(shape)
    on_cpu = device.type == "cpu"
    # A CPU keeps the memory of the largest logits so far, and the first evaluation comes before the first step.
    validated = max((_logits(shape, sizes, run.compute) for shape in evaluation_shapes(run)), default=0)
    more = max(0, validated - peaks.logits) if on_cpu else 0
    at_the_loss, kept = peaks.at_the_loss + more, peaks.kept + more
    found = Estimate(
        weights=width * weights.all,
        masters=4 * (weights.all * bf16 + weights.trained * (recipe.patience is not None)),
        optimizer=8 * weights.trained,
        gradients=weights.trained * (width + 4 * (bf16 and recipe.accumulate > 1)) + block,
        activations=kept - at_the_loss,
        logits=at_the_loss,
        accumulated=recipe.accumulate > 1,
        held=peaks.forward + more if on_cpu else 0,
        evaluation=max((_evaluation(shape, sizes, run) for shape in evaluation_shapes(run)), default=0),
        kernels=KERNELS if on_cpu else KERNELS_ON_GPU,
    )
    if run.team.size > 1:
        return _of_one_process(found, weights, run)
    if graphs.enabled(device) and not recipe.activation_checkpointing:
        return replace(found, captured=max(kept, found.gradients))
    return found


def _of_one_process(alone: Estimate, weights: Weights, run: Run) -> Estimate:
    """The estimate for one of N processes (`stages.finetune.team`).

    Where each keeps the whole model, gradients are summed in buckets, d T, in fp32, 4 T. Where each keeps a share, 1/N
    of fp32 weights, moments and gradients are there, and whole in d, with their gradients, the embeddings and two
    layers at a time. On a CPU all weights, 4 W, stay as well.
    """
    width, trained, processes = run.compute.dtype.itemsize, weights.trained, run.team.size
    if not run.team.sharded:
        return replace(alone, gradients=trained * (width + 4), buckets=trained * width)
    return replace(
        alone,
        weights=width * weights.at_a_time + 4 * weights.all * (run.compute.device.type == "cpu"),
        masters=4 * (weights.all + trained * (run.recipe.patience is not None)) // processes,
        optimizer=8 * trained // processes,
        gradients=4 * trained // processes + (width + 4) * min(weights.at_a_time, trained),
    )


def activations(shape: Shape, sizes: GPT2Config, run: Run) -> int:
    """Bytes that a forward pass keeps of one micro-batch.

    Of a token, in each layer: both layer norms' inputs and outputs (4 C), what goes into the attention's second
    projection (C), GELU's input and output (8 C).

    Attention that keeps its weights (`stages.gpt2.packed`) keeps these, in fp32, and queries, keys and values of all
    tokens (3 C). PyTorch's own keeps queries, keys, values and its output in the padded grid, the keys and values with
    the shared prefix once a row, on a CPU in fp32; with a shared prefix queries, keys and values of all tokens stay as
    well. Where rows are padded it keeps these four of each row with the prefix, and nothing else.

    Dropout keeps two masks a token. Of every pair it keeps the weight in fp32, its mask, and what is left of the weight
    in the dtype of the products, on a CPU in fp32. With activation checkpointing a layer keeps its input alone, and one
    layer at a time all of this.
    """
    dtype, device, recipe = run.compute.dtype, run.compute.device, run.recipe
    item, width = dtype.itemsize, sizes.n_embd
    layer = shape.computed * 13 * width * item
    seen = sizes.n_head * (shape.prefix + shape.longest)
    pairs = seen * shape.grid
    kept = keeps_weights(shape.prefix, shape.rows, shape.longest, sizes.n_head)
    if device.type == "cpu" and not recipe.dropout and kept:
        chunks = math.ceil(shape.prefix / shape.longest)  # the shared tokens are rows too
        layer += shape.computed * 3 * width * item + 4 * (pairs + seen * chunks * shape.longest)
    elif shape.layout.padded:
        layer += 4 * (shape.grid + shape.rows * shape.prefix) * width * item
    else:
        attention_item = 4 if device.type == "cpu" else item
        keys = shape.grid + shape.rows * shape.prefix
        layer += (2 * shape.grid + 2 * keys) * width * attention_item
        if shape.prefix and attention_item == item:
            layer += shape.computed * 3 * width * item
    if recipe.dropout:
        layer += 2 * shape.computed * width + pairs * (4 + 1 + (4 if device.type == "cpu" else item))
    ends = (3 * shape.computed + 2 * shape.logits) * width * item
    if recipe.activation_checkpointing:
        return ends + layer + sizes.n_layer * shape.computed * width * item
    return ends + layer * sizes.n_layer


def _loss(shape: Shape, sizes: GPT2Config, run: Run) -> int:
    """Bytes of the logits, which become their gradients, and of the head's gradient.

    The head's gradient is there twice until it has become the embedding's. Then the backward pass of the first layer
    takes about as much as that layer has kept; on a CPU the logits' memory is still there.
    """
    head = 0 if run.recipe.lora else sizes.vocab_size * sizes.n_embd * run.compute.dtype.itemsize
    layer = activations(shape, replace(sizes, n_layer=1), run) if run.compute.device.type == "cpu" else 0
    return _logits(shape, sizes, run.compute) + head + max(head, layer)


def _logits(shape: Shape, sizes: GPT2Config, compute: Compute) -> int:
    """Bytes of the logits of up to GROUP target tokens; a GPU turns all of them to fp32 at a time, and back."""
    a_logit = compute.dtype.itemsize + 8 * (compute.device.type == "cuda")
    return min(shape.logits, loss.GROUP) * sizes.vocab_size * a_logit


def _evaluation(shape: Shape, sizes: GPT2Config, run: Run) -> int:
    """Bytes that the forward pass of a validation batch holds at its peak: one layer's, and the logits."""
    plain = run.recipe.model_copy(update={"dropout": 0.0, "activation_checkpointing": False})
    one_layer = activations(shape, replace(sizes, n_layer=1), replace(run, recipe=plain))
    return one_layer + _logits(shape, sizes, run.compute)


def available(device: torch.device) -> int:
    """Bytes that this process can still take: of the GPU, or of the machine within the limits set to the process."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return machine.free_memory()


def taken(device: torch.device) -> int:
    """The memory, in bytes, that the process has now; on a GPU, what torch has of it."""
    return torch.cuda.memory_reserved(device) if device.type == "cuda" else psutil.Process().memory_info().rss


def peak(device: torch.device) -> int:
    """The most memory, in bytes, that the process has had at a time; on a GPU, what torch has had of it."""
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else machine.peak_resident()


class Demand:
    """What a run wants, what there is, and what other values of the recipe would want.

    Args:
        sizes: sizes of the model.
        run: what is trained how, and on what.
        free: bytes available to this process before the model is loaded.
        peaks: those of all batches of the run; None: they are gone through here.
    """

    def __init__(self, sizes: GPT2Config, run: Run, free: int, peaks: Peaks | None = None) -> None:
        self._sizes = sizes
        self._run = run
        self.free = free
        self.wanted = estimate(sizes, run, peaks)

    @property
    def fits(self) -> bool:
        """Whether what is wanted is there."""
        return self.wanted.total <= self.free

    def __str__(self) -> str:
        """What a person is told before training."""
        found = f"memory: about {self.wanted} besides the program itself; {size(self.free)} are free"
        if self.fits:
            return fitted(found, 2)
        first, *values = f"{found}. That may not be enough. {self.advice()}".split("\n")
        return "\n".join([fitted(first, 2), *values])

    def advice(self) -> str:
        """What to lower, with the memory that it wants then."""
        listed = [
            f"  - {change}: about {size(count)}{'' if count <= self.free else ', still more than is free'}"
            for change, count in self.others().items()
        ]
        last = "take a smaller model (download.model) or a machine with more memory"
        return "\n".join(["set one of these in params.yaml:", *listed, f"  - or {last}"]) if listed else last

    def others(self) -> dict[str, int]:
        """Other values of the recipe, as one writes them into params.yaml, and the bytes that each wants, if fewer.

        Of the numbers the mildest that fits, or else the strictest.
        """
        now = self._run.recipe
        found: dict[str, int] = {}
        # Doubled and halved, to the ends: micro-batches of one row, and one row.
        counts = [*(1 << n for n in range(1, 32) if now.accumulate < 1 << n < now.batch_size), now.batch_size]
        halves = [now.batch_size >> n for n in range(1, 32) if now.batch_size >> n]
        for name, values in (("accumulate", counts), ("batch_size", halves)):
            totals = {value: self._total(**{name: value}) for value in values}
            for value, total in totals.items():
                if total <= self.free or value == values[-1]:
                    found[f"finetune.{name}: {value}"] = total
                    break
        if self.wanted.captured:
            found[f"{VARIABLE}=0, in the environment and not there"] = self.wanted.total - self.wanted.captured
        if not now.activation_checkpointing:
            found["finetune.activation_checkpointing: true"] = self._total(activation_checkpointing=True)
        if now.lora is None:
            shown = f"{{rank: {LOW_RANK.rank}, alpha: {LOW_RANK.alpha:g}, targets: [{', '.join(LOW_RANK.targets)}]}}"
            found[f"finetune.lora: {shown}"] = self._total(lora=LOW_RANK)
        return {change: total for change, total in found.items() if total < self.wanted.total}

    def explained(self) -> AbstractContextManager[None]:
        """Turn a shortage of memory that the block meets into a ConfigError that says what to lower."""
        wants = f"fine-tuning wants about {self.wanted}, and {size(self.free)} were free before it"
        return explained(lambda: (wants, self.advice()))

    def _total(self, **changed: object) -> int:
        # No more steps than the run has: where batches are smaller, the rows that it sees are the same.
        recipe = self._run.recipe.model_copy(update={"max_steps": self._run.steps} | changed)
        return estimate(self._sizes, replace(self._run, recipe=recipe)).total
