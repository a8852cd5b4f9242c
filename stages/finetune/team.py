"""The processes that train one model together: each computes its share of every batch, and gradients are summed.

Every process runs the same loop over the same rows in the same order. Alone, a process is a team of one, and everything
here hands back what it is given.

In a team of several either each process keeps the whole model (`torch.nn.parallel.DistributedDataParallel`) or only a
share of the fp32 weights and of the optimiser's state (FSDP2, `torch.distributed.fsdp.fully_shard`): with N processes
about 1/N of 12 bytes a weight, and besides one layer at a time in the dtype of the matrix products.
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
from stages.finetune.batches import Batch
from stages.gpt2 import runtime
from stages.gpt2.model import GPT2
from stages.running import environment

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

#: The file by which the processes find one another; torchrun by itself offers a network port instead.
RENDEZVOUS_VARIABLE = "PIPELINE_RENDEZVOUS"
#: The process that has started them all.
LAUNCHER_VARIABLE = "PIPELINE_LAUNCHER"

Row = TypeVar("Row")


class LossOf(Protocol):
    """The loss of a batch: a scalar in fp32."""

    def __call__(self, batch: Batch) -> Tensor:
        """Compute it."""
        ...


class Team:
    """This process among those that train the model.

    Args:
        rank: this process's number, from 0.
        size: how many processes there are.
        sharded: whether each keeps only a share of the weights.
    """

    def __init__(self, rank: int = 0, size: int = 1, *, sharded: bool = False) -> None:
        self.rank = rank
        self.size = size
        self.sharded = sharded and size > 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that talks, saves and writes."""
        return self.rank == 0

    def share(self, rows: Sequence[Row]) -> tuple[Sequence[Row], bool]:
        """This process's part of a batch, and whether it counts.

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
        """Put its sum over all processes in the place of each tensor, where each process keeps the whole model."""
        if self.size > 1 and not self.sharded:
            for tensor in tensors:
                dist.all_reduce(tensor)

    @contextlib.contextmanager
    def unsummed(self, loss_of: LossOf, *, when: bool) -> Iterator[None]:
        """Within the block backward passes of a loss leave each process its own gradients, if it has the whole model.

        For a batch in several parts, so that `sum_in_place` sends the sum of their gradients once. Where each process
        has a share of the weights, only its share of the gradients has room, and they are summed part by part.

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
        """As `any`, but it is what is returned that waits for the others."""
        if self.size == 1:
            return lambda: list(flags)
        counts = runtime.fetched(self.sum(runtime.sent(torch.tensor(flags, dtype=torch.float32), device)))
        return lambda: [count > 0 for count in counts()]

    def told(self, value: int, device: torch.device) -> int:
        """The value that the leader gives."""
        if self.size == 1:
            return value
        return int(self.sum(torch.tensor(value if self.leads else 0, device=device)).item())

    def home(self, device: torch.device) -> torch.device:
        """Where the whole model stays: on the device that computes, or in main memory where that has only a share."""
        return torch.device("cpu") if self.sharded else device

    def working_model(self, model: GPT2, dtype: torch.dtype) -> GPT2:
        """The model that computes: the one given, or where weights are shared out a copy that holds this process's."""
        if self.size > 1:
            # Gradients are summed as soon as they are complete, which autograd alone tells.
            model.wte.through_autograd = model.wpe.through_autograd = True
        if not self.sharded:
            return model
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        # The modules anew over the weights of the model, and these copied block by block as they are shared out.
        working = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
        for block in (*working.h, working):
            _own_weights(block)
            # It goes to the GPU when it is shared out, so that never all of the model is there.
            shard = fully_shard(block, mp_policy=policy)
            # The loss is divided by the whole batch's targets, so that gradients are summed and not averaged.
            shard.set_gradient_divide_factor(1.0)
            shard.set_force_sum_reduction_for_comms(True)
        return working

    def distributed(self, model: GPT2, loss_of: Callable[..., Tensor]) -> LossOf:
        """A loss whose backward pass sums the gradients over all processes.

        Args:
            model: what `working_model` gave, in the dtype of its matrix products.
            loss_of: takes the model and a batch.
        """
        if self.size == 1 or self.sharded:
            return lambda batch: loss_of(model, batch)
        parallel = DistributedDataParallel(_Loss(model, loss_of))
        parallel.register_comm_hook(None, _sum_in_fp32)
        wrapped: LossOf = parallel
        return wrapped


#: A process that trains by itself.
ALONE = Team()


def join(devices: int, *, sharded: bool) -> Team:
    """The team that torchrun has started this process for, or a team of one.

    Raises:
        ConfigError: torchrun has started another number of processes than the recipe says.
    """
    found = environment.worker()
    if found is None:
        return ALONE
    rank, size = found
    if size != devices:
        raise ConfigError(
            f"finetune.devices is {devices}, and torchrun has started {size} processes",
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
    """Within the block the end of another process of the team ends this one with a word.

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
    """This process's share of a tensor, in its own memory; all of one that is not shared out."""
    return tensor.to_local() if _is_shared_out(tensor) else tensor


def whole(share: Tensor, like: Tensor) -> Tensor:
    """All of a tensor of which this process has a share as it has of ``like``; every process must ask."""
    if not _is_shared_out(like):
        return share
    from torch.distributed.tensor import DTensor

    shared_out = DTensor.from_local(
        share, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )
    return shared_out.full_tensor()


def share_of(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's share of a whole tensor, as it has of ``like``."""
    if not _is_shared_out(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    there = tensor.to(like.device)
    return distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None).to_local()


def _own_weights(module: nn.Module) -> None:
    """Give a module copies of the weights that have not been shared out yet."""
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            if not _is_shared_out(weight):
                setattr(part, name, nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad))


def _is_shared_out(tensor: Tensor) -> TypeGuard[DTensor]:
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


# No annotations: DistributedDataParallel wants its own there, and not as the texts that they are in this file.
def _sum_in_fp32(_, bucket):  # type: ignore[no-untyped-def]
    """Sum gradients over all processes in fp32, whatever they are kept in.

    Each weight's by itself: the order of a sum over more than two processes depends on an element's place in what is
    summed, and DistributedDataParallel packs its buckets anew after the first step, which a run that goes on from a
    checkpoint has at another time.
    """
    gradients = bucket.gradients()
    sums = [gradient.to(torch.float32, copy=True) for gradient in gradients]
    futures = [dist.all_reduce(total, async_op=True).get_future() for total in sums]

    def rounded(_):  # type: ignore[no-untyped-def]
        for gradient, total in zip(gradients, sums, strict=True):
            gradient.copy_(total)
        return bucket.buffer()

    return torch.futures.collect_all(futures).then(rounded)
