"""What the model runs on: device, dtype, random numbers, determinism."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.common.records import Precision

#: For the jobs of the stages, which name it and do not import torch.
Device = torch.device


def prepare() -> torch.device:
    """Choose the device and make torch deterministic; call once, before any other use of torch.

    Returns:
        "cuda" where torch sees a GPU (the first one it is shown), else "cpu".
    """
    # cuBLAS chooses its workspace by this, and with it the order of its sums. Torch needs it to be deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _be_deterministic(True)
    # Filling every new buffer with NaN finds bugs in torch, not in our code, and takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _keep_freed_memory()
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _be_deterministic(wanted: bool) -> None:
    """As `torch.use_deterministic_algorithms`, which loads the compiler Inductor besides, in seconds."""
    torch.set_deterministic_debug_mode("error" if wanted else "default")


def _keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next one; elsewhere this does nothing.

    By default every large tensor is a mapping of its own, which the kernel zeroes page by page in each step. That takes
    about a tenth of a step's processor time (docs/decisions.md). The parameters are those of mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
        mallopt(m_mmap_max, 0)
        mallopt(m_trim_threshold, -1)  # never
        mallopt(m_top_pad, 64 << 20)


@dataclass(frozen=True)
class Compute:
    """The device on which matrix products are computed, and their dtype."""

    device: torch.device
    dtype: torch.dtype


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 matrices in hardware (CPU: AVX512-BF16 or AMX; GPU: compute capability 8)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def dtype_for(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype of matrix products: as named, or for "auto" bf16 where the device has it and fp32 elsewhere.

    Stages ask `stages.gpt2.products.chosen` before, which measures on a processor whether bf16 is faster.
    """
    if precision == "auto":
        return torch.bfloat16 if has_bf16(device) else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def name_of(dtype: torch.dtype) -> Precision:
    """A dtype's name in params.yaml: "bf16" or "fp32"."""
    return "bf16" if dtype == torch.bfloat16 else "fp32"


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A separate CPU generator for one purpose, such as ``generator(seed, "order", epoch)``.

    Two purposes never share one, so that drawing more numbers for one does not change the other.
    """
    return torch.Generator().manual_seed(seed_for(seed, *purpose))


def seed_for(seed: int, *purpose: str | int) -> int:
    """A separate seed for one purpose: 63 bits of a hash of both."""
    text = ":".join(map(str, (seed, *purpose)))
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy on a device of a tensor in main memory. The copy to a GPU is asynchronous: the host does not wait."""
    return put(torch.empty_like(tensor, device=device), tensor)


def put(there: Tensor, tensor: Tensor) -> Tensor:
    """Copy a tensor in main memory into one that may be on a GPU, without a wait, as `sent` does."""
    if there.is_cuda:
        return there.copy_(tensor.pin_memory(), non_blocking=True)
    return there.copy_(tensor)


def fetched(tensor: Tensor) -> Callable[[], list[float]]:
    """Begin to copy a vector to main memory. What is returned gives its numbers.

    When called it waits for what computes them, and not for what is enqueued on the GPU later.
    """
    if not tensor.is_cuda:
        return tensor.tolist
    there = torch.empty_like(tensor, device="cpu", pin_memory=True)
    there.copy_(tensor, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def numbers() -> list[float]:
        copied.synchronize()
        return there.tolist()

    return numbers


@contextlib.contextmanager
def distinct_indices(device: torch.device) -> Iterator[None]:
    """Within the block tensors are written at indices of which no two are equal.

    In deterministic mode PyTorch would first sort the indices on a GPU, in some twenty kernels.
    """
    if device.type != "cuda" or not torch.are_deterministic_algorithms_enabled():
        yield
        return
    _be_deterministic(False)
    try:
        yield
    finally:
        _be_deterministic(True)
