"""What a run is made on: Python, packages, processor, threads and GPUs, told without torch in a quarter of a second.

These decide how sums are rounded, and so whether a training made again has the same bytes. No output of a stage holds
them: they are kept with the run in MLflow.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.common import cores
from stages.common.errors import ConfigError
from stages.running import devices

#: The file of a run in MLflow that holds `here`.
FILE = "environment.json"
#: Units of a processor by which libraries choose how they compute; each rounds sums at other points.
_UNITS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512", "amx", "asimd", "sve", "bf16", "i8mm")
#: The vector length of torch's kernels, the widest first, and the units that it takes (ATen, `DispatchStub.cpp`).
_CAPABILITIES = {
    "AVX512": {"avx512f", "avx512vl", "avx512bw", "avx512dq", "fma"},
    "AVX2": {"avx2", "fma"},
}
#: Packages whose versions are told first: they compute.
_COMPUTE = ("torch", "numpy", "scipy", "tiktoken", "safetensors")
#: Further packages that a line names at most.
_MOST = 4


def here() -> dict[str, Any]:
    """What this process is made on, as values for JSON."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **processor(),
        "gpus": _gpus(),
        "packages": dict(packages()),
    }


def processor() -> dict[str, Any]:
    """The part of `here` that is about the processor, and how torch uses it."""
    return {"processor": _processor(), "units": _units(), "capability": _capability(), "threads": _threads()}


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each part that differs, such as ``python 3.12.1 → 3.13.0``.

    Args:
        then: result of `here`, as a run has kept it; of an earlier version parts may be missing.
        now: result of `here`.
    """
    lines = [
        f"{what} {then[name]} → {now[name]}"
        for name, what in (
            ("python", "Python"),
            ("system", "system"),
            ("processor", "processor"),
            ("capability", "kernels of torch"),
            ("threads", "threads"),
        )
        if name in then and then[name] != now[name]
    ]
    lines += _changed_units(then.get("units"), now["units"])
    return lines + _changed_packages(then.get("packages"), now["packages"])


def _changed_units(then: Any, now: list[str]) -> list[str]:
    if not isinstance(then, list) or set(then) == set(now):
        return []
    gone, new = sorted(set(then) - set(now)), sorted(set(now) - set(then))
    return ["units of the processor " + " ".join([*(f"-{unit}" for unit in gone), *(f"+{unit}" for unit in new)])]


def _changed_packages(then: Any, now: Mapping[str, str]) -> list[str]:
    """A line for each package that computes, and one for the others."""
    if not isinstance(then, Mapping):
        return []
    changed = {
        name: f"{name} {then.get(name, 'none')} → {now.get(name, 'none')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    }
    lines = [changed.pop(name) for name in _COMPUTE if name in changed]
    if changed:
        more = f", and {len(changed) - _MOST} more" if len(changed) > _MOST else ""
        lines.append(f"other packages: {', '.join(list(changed.values())[:_MOST])}{more}")
    return lines


def _processor() -> str:
    """The processor's name, as Linux has it."""
    named = (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name"))
    return next(named, platform.processor()) or platform.machine()


def _flags() -> set[str]:
    """All that Linux says the processor can do."""
    found = (line.partition(":")[2].split() for line in _cpuinfo() if line.startswith(("flags", "Features")))
    return set(next(found, []))


def _units() -> list[str]:
    return sorted(flag for flag in _flags() if flag.startswith(_UNITS))


def _capability() -> str:
    """Which kernels torch takes on this processor; ATEN_CPU_CAPABILITY says another one."""
    if asked := os.environ.get("ATEN_CPU_CAPABILITY"):
        return asked.upper()
    flags = _flags()
    return next((name for name, units in _CAPABILITIES.items() if units <= flags), "DEFAULT")


def _threads() -> int:
    """The threads that torch takes: those of OMP_NUM_THREADS, or as many as there are cores for this process."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    return cores.available()


def _gpus() -> int | None:
    """The number of GPUs that a stage may use; None where that cannot be told."""
    try:
        return len(devices.visible_devices())
    except ConfigError:
        return None


@functools.cache
def packages() -> Mapping[str, str]:
    """The versions of the installed packages by name; the first time it takes a quarter of a second."""
    named = ((str(one.metadata["Name"]), one.version) for one in importlib.metadata.distributions())
    return dict(sorted((name.lower().replace("_", "-"), version) for name, version in named))


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
