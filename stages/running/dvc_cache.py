"""DVC's cache: where it is, and the disk that DVC's copy of a result takes there.

DVC tells neither to a stage that it runs, so that both are read from its configuration (`stages.common.dvc_config`). A
stage's result is copied into the cache and then replaced by a link, so that both are on disk for a moment. It is not
copied where the file system clones files, or where the first link type of `cache.type` is a hard link (DVC 3.67,
`Output.commit`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from stages.common import dvc_config
from stages.running import machine
from stages.running.console import size

#: The name under which DVC writes a file (`tmp_fname` of dvc_objects), and the seconds after its last write from which
#: on it counts as left behind, unless a process has it open. Another machine may write to a cache that is shared.
_TEMPORARY = re.compile(r"\.[A-Za-z0-9_-]{22}\.tmp")
LEFT_SECONDS = 600.0
#: Link types of a repository that sets none.
_DEFAULT_TYPES = "reflink,copy"
#: The request of ioctl_ficlone(2).
_FICLONE = 0x40049409


def folder(root: Path = Path()) -> Path:
    """DVC's cache: as set, or .dvc/cache.

    Args:
        root: folder of the repository.

    Raises:
        ConfigError: DVC's configuration cannot be read.
    """
    return Path(dvc_config.read(root).value("cache", "dir") or root / dvc_config.FOLDER / "cache")


def written() -> list[Path]:
    """The folder of the cache, if DVC runs this process and takes its results; else none."""
    return [folder()] if "DVC_STAGE" in os.environ and dvc_config.FOLDER.is_dir() else []


def sweep() -> None:
    """Remove the unfinished files of a DVC that was killed, or that had no space, from the cache of this run.

    A model of gigabytes may be among them. DVC writes a file under a temporary name, and renames it at the end.
    """
    for cache in written():
        candidates = [path for path in cache.glob("files/md5/*/.*.tmp") if _TEMPORARY.fullmatch(path.name)]
        old = [path for path in candidates if _age(path) > LEFT_SECONDS]
        open_now = _open_files() if old else set()
        for path in old:
            if path.resolve() not in open_now:
                with contextlib.suppress(OSError):
                    path.unlink()


def _age(path: Path) -> float:
    """Seconds since a file was last written to; 0 for one that is gone or another user's."""
    try:
        status = path.stat()
    except OSError:
        return 0.0
    return time.time() - status.st_mtime if status.st_uid == os.getuid() else 0.0


def _open_files() -> set[Path]:
    """The files that processes of this machine have open, as far as this user may know them."""
    found = set()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            found.add(descriptor.readlink())
    return found


@dataclass(frozen=True)
class Copy:
    """The copy that DVC will make of a result.

    Args:
        folder: folder of the cache.
        shared: whether it is on the disk of the result.
        free: bytes free on its disk.
    """

    folder: Path
    shared: bool
    free: int


def copy_of(result: Path) -> Copy | None:
    """The copy that DVC will make of a result at this path, which need not exist yet; None where it makes none."""
    if not written():
        return None
    beside, cache = machine.existing(result.parent), machine.existing(folder())
    shared = beside.stat().st_dev == cache.stat().st_dev
    if shared and _linked(beside, cache):
        return None
    return Copy(folder(), shared, machine.free_disk(cache))


def shortage(result: Path, taken: int, *, freed: int = 0) -> str | None:
    """What to say of a result that is written and that DVC will not be able to copy; None if it will.

    Args:
        result: path of the result.
        taken: bytes that it takes.
        freed: bytes that this program still removes on the disk of the result.
    """
    copy = copy_of(result)
    if copy is None or copy.free + (freed if copy.shared else 0) >= taken:
        return None
    return f"{copy.folder}: DVC's copy of {result} takes {size(taken)}, and {size(copy.free)} are free"


def _linked(beside: Path, cache: Path) -> bool:
    """Whether DVC clones or links a file of one folder into the other."""
    types = (dvc_config.read().value("cache", "type") or _DEFAULT_TYPES).replace(" ", "").split(",")
    try:
        with tempfile.NamedTemporaryFile(dir=beside, prefix=".probe-") as source:
            source.write(b"1")
            source.flush()
            with tempfile.TemporaryDirectory(dir=cache, prefix=".probe-") as target:
                return _clones(source.fileno(), Path(target, "clone")) or (
                    types[0] == "hardlink" and _hard_links(Path(source.name), Path(target, "link"))
                )
    except OSError:
        return False


def _clones(source: int, target: Path) -> bool:
    with open(target, "wb") as stream, contextlib.suppress(OSError):
        fcntl.ioctl(stream.fileno(), _FICLONE, source)
        return True
    return False


def _hard_links(source: Path, target: Path) -> bool:
    with contextlib.suppress(OSError):
        target.hardlink_to(source)
        return True
    return False
