"""What this machine has for a process: memory, disk, and units for bf16. Without torch, in milliseconds."""

from __future__ import annotations

import platform
import resource
import shutil
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
