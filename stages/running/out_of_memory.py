"""Out of memory: how errors say so."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Callable, Iterator

from stages.common.errors import ConfigError

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


def _is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory is short."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    torch = sys.modules.get("torch")  # whose errors there are only where it is loaded
    of_torch = torch is not None and isinstance(error, torch.OutOfMemoryError)
    return of_torch or isinstance(error, MemoryError) or any(text in str(error) for text in _SHORTAGES)


@contextlib.contextmanager
def explained(explain: Callable[[], tuple[str, str]]) -> Iterator[None]:
    """Turn a shortage of memory that the block meets into an error that says what to lower.

    Args:
        explain: function called then; it says what wants the memory, and what to lower.

    Raises:
        ConfigError: memory is short.
    """
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        if not _is_shortage(error):
            raise
        what, advice = explain()
        reason = " ".join(str(error).split())[:160]
        raise ConfigError(f"out of memory: {what}" + (f" ({reason})" if reason else ""), advice) from None
