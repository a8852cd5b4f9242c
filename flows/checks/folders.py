"""Whether disks have room and folders can be written, and what memory and GPUs there are."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stages.common import paths
from stages.common.errors import InputOutputError, NoSpace
from stages.running import devices, dvc_cache, gpu, machine, writable
from stages.running.checks.row import Row, ok, problem, warning
from stages.running.console import GIB, size

#: What the quick profile takes, roughly; a larger model says itself what it takes.
_LITTLE = GIB


def folders(root: Path) -> Iterator[Row]:
    """The folders that a run writes in, by the disk that they are on."""
    named = {
        "the project": root,
        "results": root / paths.ARTIFACTS,
        ".cache": root / paths.CACHE,
        "DVC's cache": dvc_cache.folder(),
        "DVC's own files": root / ".dvc" / "tmp",
    }
    with contextlib.suppress(FileNotFoundError):
        named["temporary files"] = Path(tempfile.gettempdir())
    fine: dict[int, list[str]] = {}
    for name, folder in named.items():
        if error := writable.problem(folder):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            fix = f"chmod u+w {folder}, or mount its disk writable"
            if full:
                fix = f"free some space there: df -h {folder}"
            elif error.errno == errno.ENOTDIR:
                fix = f"remove {machine.existing(folder)}, which is a file"
            kind = NoSpace if full else InputOutputError
            yield problem("disk", kind(f"{folder} ({name}): cannot be written: {error.strerror}", fix))
        else:
            there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
            fine.setdefault(there.stat().st_dev, []).append(f"{name}|{there}")
    for entries in fine.values():
        names = ", ".join(entry.partition("|")[0] for entry in entries)
        free = machine.free_disk(Path(entries[0].partition("|")[2]))
        if free < _LITTLE:
            fix = "free some space; `dvc gc -w` removes the results of other runs from DVC's cache"
            yield warning("disk", f"{size(free)} free for {names}", fix)
        else:
            yield ok("disk", f"{size(free)} free for {names}")
    if "temporary files" not in named:
        none = InputOutputError("no folder takes temporary files", "export TMPDIR=FOLDER with one that can be written")
        yield problem("disk", none)


def memory() -> Iterator[Row]:
    """Main memory that is free."""
    free = machine.free_memory()
    if free < _LITTLE:
        yield warning("memory", f"{size(free)} free", "end what else takes memory on this machine")
    else:
        yield ok("memory", f"{size(free)} free")


def gpus() -> Iterator[Row]:
    """The GPUs that a run may use, and who holds them."""
    found = devices.visible_devices()
    if not found:
        yield ok("GPUs", "none: it runs on the processor")
        return
    folder = gpu.lock_folder()
    for uuid in found:
        holder = gpu.holder(folder, uuid)
        yield ok("GPUs", f"{uuid}: {'free' if holder is None else holder}")
