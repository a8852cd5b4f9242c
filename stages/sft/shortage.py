"""Memory that is short: how an error says so, and how people are told sizes."""

from __future__ import annotations

import errno

import torch

GIB = 1 << 30
#: What torch's and Python's errors say when memory is short: its CPU allocator, C++, cuBLAS and cuDNN.
_SHORTAGES = (
    "can't allocate memory",
    "Cannot allocate memory",
    "not enough memory",
    "std::bad_alloc",
    "CUDA out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory is short."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in _SHORTAGES)


def size(count: int) -> str:
    """A number of bytes for people: 1.5 GiB, or 12 MiB below a tenth of that."""
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / (1 << 20):.0f} MiB"
