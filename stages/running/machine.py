"""What this machine has for a process: memory, disk, and units for bf16. Without torch, in milliseconds."""

from __future__ import annotations

import platform
import resource
import shutil
import sys
import time
from pathlib import Path

import psutil

#: What Linux calls the units that torch multiplies bf16 matrices in.
_BF16 = frozenset({"avx512_bf16", "amx_bf16"})


def free_memory() -> int:
    """Bytes of main memory that this process can still take, within the limits set to it."""
    rooms = [psutil.virtual_memory().available, *_control_group_room()]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        rooms.append(limit - psutil.Process().memory_info().vms)
    return max(min(rooms), 0)


def existing(path: Path) -> Path:
    """A path, or the nearest above it that is there: it tells the disk of a path that is yet to be made."""
    return next(found for found in (path, *path.absolute().parents) if found.exists())


def free_disk(path: Path) -> int:
    """Bytes free on the disk of a path, which need not exist yet."""
    return shutil.disk_usage(existing(path)).free


def has_bf16() -> bool | None:
    """Whether the processor multiplies bf16 matrices in hardware; None where the system does not say."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    flags = next((line.split(":", 1)[1].split() for line in told.splitlines() if line.startswith("flags")), [])
    return bool(_BF16 & set(flags))


def since_start() -> float:
    """Seconds since this process began."""
    return time.time() - psutil.Process().create_time()


def peak_resident() -> int:
    """The most resident memory that this process has had at a time, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Unlike getrusage this does not begin with the size of the process that started this one.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _control_group_room() -> list[int]:
    """What a container's limit leaves (cgroup v2, then v1), if it has one."""
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            most, now = Path(limit).read_text().strip(), Path(used).read_text().strip()
        except OSError:
            continue
        return [int(most) - int(now)] if most.isdigit() else []
    return []
