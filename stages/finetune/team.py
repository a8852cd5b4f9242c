"""The process group that trains one model: each process computes its share of every batch, and gradients are summed.

Every process runs the same loop over the same rows in the same order; ranks count from 0. With a world size of 1
everything here hands back what it is given.

With a larger world size each process keeps either the whole model (`torch.nn.parallel.DistributedDataParallel`) or a
shard of the fp32 weights and of the optimiser's state (FSDP2, `torch.distributed.fsdp.fully_shard`). A shard is about
1/N of 12 bytes a weight with N processes; besides it there is one layer at a time in the dtype of the matrix products.
"""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeGuard, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stages.common.errors import ConfigError, TemporaryFailure
from stages.common.plurals import counted
from stages.finetune.batches import Batch
from stages.gpt2 import runtime
from stages.gpt2.model import GPT2
from stages.running import environment

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

#: The file by which the processes find one another; torchrun by itself offers a network port instead.
RENDEZVOUS_VARIABLE = "PIPELINE_RENDEZVOUS"
#: The process that has started all others.
LAUNCHER_VARIABLE = "PIPELINE_LAUNCHER"

Row = TypeVar("Row")


class LossOf(Protocol):
    """The loss of a batch: a scalar in fp32."""

    def __call__(self, batch: Batch) -> Tensor:
        """Compute it."""
        ...


class Team:
    """The process group, as one of its processes sees it.

    Args:
        rank: rank of this process, from 0.
        size: the world size: how many processes there are.
        sharded: whether each keeps only a shard of the weights.
    """

    def __init__(self, rank: int = 0, size: int = 1, *, sharded: bool = False) -> None:
        self.rank = rank
        self.size = size
        self.sharded = sharded and size > 1

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, the process that reports, saves and writes."""
        return self.rank == 0

    def share(self, rows: Sequence[Row]) -> tuple[Sequence[Row], bool]:
        """The rows of a batch that this process computes, and whether they count.

        Where there are fewer rows than processes, some compute a row that does not count: all must take part when
        gradients are summed.
        """
        own = rows[self.rank :: self.size]
        return (own, True) if own else (rows[:1], False)

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes, the same bits in each."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def sum_in_place(self, tensors: Sequence[Tensor]) -> None:
        """Sum each tensor over all processes in place, where each process keeps the whole model."""
        if self.size > 1 and not self.sharded:
            for tensor in tensors:
                dist.all_reduce(tensor)

    @contextlib.contextmanager
    def unsummed(self, loss_of: LossOf, *, when: bool) -> Iterator[None]:
        """Within the block backward passes leave each process its own gradients, if it has the whole model.

        This is for gradient accumulation: `sum_in_place` then sends the sum over the micro-batches once. Where weights
        are sharded there is room for a shard of the gradients only, and they are summed after each micro-batch.

        Args:
            loss_of: what `distributed` gave.
            when: whether to do so at all.
        """
        with loss_of.no_sync() if when and isinstance(loss_of, DistributedDataParallel) else contextlib.nullcontext():
            yield

    def any(self, *flags: bool, device: torch.device) -> list[bool]:
        """For each flag, whether it is true in any process."""
        return self.ask(*flags, device=device)()

    def ask(self, *flags: bool, device: torch.device) -> Callable[[], list[bool]]:
        """As `any`, but only the function returned waits for the other processes."""
        if self.size == 1:
            return lambda: list(flags)
        counts = runtime.fetched(self.sum(runtime.sent(torch.tensor(flags, dtype=torch.float32), device)))
        return lambda: [count > 0 for count in counts()]

    def told(self, value: int, device: torch.device) -> int:
        """The value that rank 0 gives."""
        if self.size == 1:
            return value
        return int(self.sum(torch.tensor(value if self.leads else 0, device=device)).item())

    def home(self, device: torch.device) -> torch.device:
        """The device of the whole model: the one that computes, or the CPU where that has only a shard."""
        return torch.device("cpu") if self.sharded else device

    def working_model(self, model: GPT2, dtype: torch.dtype) -> GPT2:
        """The model that computes: the one given, or where weights are sharded a copy that holds this rank's shard."""
        if self.size > 1:
            # Gradients are summed as soon as they are complete, which autograd alone tells.
            model.wte.through_autograd = model.wpe.through_autograd = True
        if not self.sharded:
            return model
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        # New modules over the weights of the model; these are copied block by block when they are sharded.
        working = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
        for block in (*working.h, working):
            _own_weights(block)
            # A block goes to the GPU when it is sharded, so that the whole model is never there.
            shard = fully_shard(block, mp_policy=policy)
            # The loss is divided by the target tokens of the whole batch, so that gradients are summed, not averaged.
            shard.set_gradient_divide_factor(1.0)
            shard.set_force_sum_reduction_for_comms(True)
        return working

    def distributed(self, model: GPT2, loss_of: Callable[..., Tensor]) -> LossOf:
        """A loss whose backward pass sums the gradients over all processes.

        Args:
            model: what `working_model` gave, in the dtype of its matrix products.
            loss_of: function that returns the loss of the model on a batch.
        """
        if self.size == 1 or self.sharded:
            return lambda batch: loss_of(model, batch)
        parallel = DistributedDataParallel(_Loss(model, loss_of))
        parallel.register_comm_hook(None, _sum_in_fp32)
        wrapped: LossOf = parallel
        return wrapped


#: A world size of 1.
ALONE = Team()


def join(devices: int, *, sharded: bool) -> Team:
    """The process group for which torchrun has started this process, or `ALONE`.

    Raises:
        ConfigError: torchrun has started another number of processes than the recipe says.
    """
    found = environment.worker()
    if found is None:
        return ALONE
    rank, size = found
    if size != devices:
        raise ConfigError(
            f"finetune.devices is {devices}, and torchrun has started {counted(size, 'process', 'processes')}",
            f"torchrun --nproc-per-node {devices}, or finetune.devices: {size} in params.yaml",
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    # On one machine the processes need not be reachable from elsewhere.
    if (path := os.environ.get(RENDEZVOUS_VARIABLE)) is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
        store = dist.FileStore(path, size)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    else:
        dist.init_process_group(backend)
    return Team(rank, size, sharded=sharded)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Within the block, if another process ends, this one ends with a message.

    Raises:
        TemporaryFailure: another process has ended.
    """
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        if not (isinstance(error, dist.DistError) or "gloo" in reason or "NCCL" in reason):
            raise
        raise TemporaryFailure(
            f"another process of this training has ended ({reason})", "run the same command again"
        ) from None


def leave() -> None:
    """End what `join` began."""
    if dist.is_initialized():
        dist.destroy_process_group()


def local(tensor: Tensor) -> Tensor:
    """This rank's shard of a tensor, in its own memory; a tensor that is not sharded as it is."""
    return tensor.to_local() if _is_sharded(tensor) else tensor


def whole(shard: Tensor, like: Tensor) -> Tensor:
    """The whole of a tensor that is sharded like ``like``; every process must ask."""
    if not _is_sharded(like):
        return shard
    from torch.distributed.tensor import DTensor

    sharded = DTensor.from_local(
        shard, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )
    return sharded.full_tensor()


def shard_of(tensor: Tensor, like: Tensor) -> Tensor:
    """This rank's shard of a whole tensor that is to be sharded like ``like``."""
    if not _is_sharded(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    on_device = tensor.to(like.device)
    return distribute_tensor(on_device, like.device_mesh, like.placements, src_data_rank=None).to_local()


def _own_weights(module: nn.Module) -> None:
    """Give a module copies of the weights that are not sharded yet."""
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            if not _is_sharded(weight):
                setattr(part, name, nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad))


def _is_sharded(tensor: Tensor) -> TypeGuard[DTensor]:
    # The module of DTensor takes a second to import, and is there wherever one has been made.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


class _Loss(nn.Module):
    """Model and loss as one module: DistributedDataParallel sums the gradients of what is computed in its forward."""

    def __init__(self, model: GPT2, loss_of: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model = model
        self._loss_of = loss_of

    def forward(self, batch: Batch) -> Tensor:
        return self._loss_of(self.model, batch)


# No annotations: DistributedDataParallel checks for its own, and in this file annotations are texts.
def _sum_in_fp32(_, bucket):  # type: ignore[no-untyped-def]
    """Sum gradients over all processes in fp32, whatever they are kept in.

    Each weight's gradient is summed by itself. The order of a sum over more than two processes depends on an element's
    index in the tensor that is summed. DistributedDataParallel packs its buckets again after the first step, and a run
    that goes on from a checkpoint has its first step at another time.
    """
    gradients = bucket.gradients()
    sums = [gradient.to(torch.float32, copy=True) for gradient in gradients]
    futures = [dist.all_reduce(total, async_op=True).get_future() for total in sums]

    def rounded(_):  # type: ignore[no-untyped-def]
        for gradient, total in zip(gradients, sums, strict=True):
            gradient.copy_(total)
        return bucket.buffer()

    return torch.futures.collect_all(futures).then(rounded)
