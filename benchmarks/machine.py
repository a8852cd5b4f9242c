"""The machine under a measurement: what hardware it is, and how fast it multiplies matrices."""

from __future__ import annotations

import argparse
import os
import platform
import re
import time
from pathlib import Path
from typing import Any

from benchmarks import child
from stages.common.errors import ConfigError
from stages.common.files import write_json

#: Widths of GPT-2's matrix products lie between these.
SIZES = (1024, 2048, 4096)
#: Each product is repeated for so many seconds, and at least so often; the fastest counts.
SECONDS = 0.5
TIMES = 3

#: What a CPU has that decides about the speed of matrix products.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def describe(device: str) -> dict[str, Any]:
    """The hardware and the software that a measurement depends on.

    Raises:
        ConfigError: the device is not there.
    """
    import psutil
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: torch sees no GPU", "take --device cpu, or a build of torch for GPUs")

    facts: dict[str, Any] = {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": cpu_instructions(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "gpu": properties.name,
            "gpu_memory_gib": round(properties.total_memory / 2**30, 1),
            "gpu_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return facts


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
    import torch

    found: dict[str, dict[str, float]] = {}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        found[name] = {}
        for size in sizes:
            a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
            out = torch.empty(size, size, device=device, dtype=dtype)

            def once(a: Any = a, b: Any = b, out: Any = out) -> float:
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
    """Write what this machine is; `benchmarks.finetune` starts this."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args()
    facts = describe(arguments.device)
    write_json(arguments.out, facts | {"tflops_per_s": products(arguments.device, tuple(arguments.sizes))})


if __name__ == "__main__":
    child.run(main)
