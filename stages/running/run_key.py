"""The key of a run: a hash of all that its results depend on, the machine too."""

from __future__ import annotations

import functools
import hashlib
import platform
from pathlib import Path

import torch

from stages.common.files import sha256


def run_key(*parts: str | Path) -> str:
    """A name for a run on this machine: a hash of texts and of files' contents, 16 hexadecimal digits."""
    digest = hashlib.sha256("\n".join(machine()).encode())
    for part in parts:
        digest.update(b"\0" + (sha256(part) if isinstance(part, Path) else part).encode())
    return digest.hexdigest()[:16]


def machine() -> list[str]:
    """What decides how sums are rounded: torch, the number of threads, the processor, the GPUs that torch sees."""
    # Each kind of matrix unit (AMX, AVX512-BF16) rounds sums at other points, and libraries choose their kernels by
    # the maker and the caches as well.
    instructions = sorted(name for name, value in torch.cpu.get_capabilities().items() if value is True)
    found = [
        f"torch {torch.__version__}",
        f"{torch.get_num_threads()} threads",
        f"processor {_processor()}: {torch.backends.cpu.get_cpu_capability()} {' '.join(instructions)}",
    ]
    if torch.cuda.is_available():
        cards = range(torch.cuda.device_count())
        found += [f"{torch.cuda.get_device_name(card)}, CUDA {torch.version.cuda}" for card in cards]
    return found


@functools.cache
def _processor() -> str:
    """The processor's name, as Linux has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
