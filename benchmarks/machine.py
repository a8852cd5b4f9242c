"""The machine under a measurement: what hardware it is, and how fast it multiplies matrices."""

from __future__ import annotations

import argparse
import os
import platform
import re
import time
from pathlib import Path

import psutil
import torch
from torch import Tensor

from benchmarks import child
from benchmarks.results import Machine
from stages.common.errors import ConfigError
from stages.common.records import write_metrics

#: Widths of the square matrices; those of GPT-2's matrix products are between the first and the last.
SIZES = (1024, 2048, 4096)
#: A product is repeated for this many seconds, and at least this many times; the fastest counts.
SECONDS = 0.5
TIMES = 3

#: The CPU's instructions that decide about the speed of matrix products.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def describe(device: str, sizes: tuple[int, ...]) -> Machine:
    """The hardware and the software that a measurement depends on.

    Args:
        device: "cpu" or "cuda".
        sizes: widths of the matrix products that are measured.

    Raises:
        ConfigError: the device is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: torch sees no GPU", "take --device cpu, or a build of torch for GPUs")

    gpu = torch.cuda.get_device_properties(0) if device == "cuda" else None
    return Machine(
        cpu=cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        instructions=cpu_instructions(),
        memory_gib=_gib(psutil.virtual_memory().total),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=str(torch.__version__),
        gpu=gpu.name if gpu else None,
        gpu_memory_gib=_gib(gpu.total_memory) if gpu else None,
        gpu_capability=f"{gpu.major}.{gpu.minor}" if gpu else None,
        cuda=torch.version.cuda if gpu else None,
        tflops_per_s=products(device, sizes),
    )


def _gib(size: int) -> float:
    return round(size / 2**30, 1)


def cpu_name() -> str:
    """The CPU's name as Linux tells it, or else as Python does."""
    found = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or "unknown"


def cpu_instructions() -> list[str]:
    """Those of `INSTRUCTIONS` that Linux says the CPU has."""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    has = found.group(1).split() if found else []
    return [name for name in INSTRUCTIONS if name in has]


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.is_file() else ""


def products(device: str, sizes: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """TFLOP/s of square matrix products, by dtype and size: {"bf16": {"1024": 0.7}}."""
    found: dict[str, dict[str, float]] = {}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        found[name] = {}
        for size in sizes:
            a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
            out = torch.empty(size, size, device=device, dtype=dtype)

            def once(a: Tensor = a, b: Tensor = b, out: Tensor = out) -> float:
                started = time.perf_counter()
                torch.mm(a, b, out=out)
                if device == "cuda":
                    torch.cuda.synchronize()
                return time.perf_counter() - started

            once()
            until = time.perf_counter() + SECONDS
            seconds = [once() for _ in range(TIMES)]
            while time.perf_counter() < until:
                seconds.append(once())
            found[name][str(size)] = 2 * size**3 / min(seconds) / 1e12
    return found


def main() -> None:
    """Write what this machine is; `benchmarks.finetune` and `benchmarks.generate` start this."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args()
    write_metrics(arguments.out, describe(arguments.device, tuple(arguments.sizes)))


if __name__ == "__main__":
    child.run(main)
