"""DVC's cache: where it is, and the disk that DVC's copy of a result takes there.

DVC tells neither to a stage that it runs, so that both are read from its configuration files, as DVC reads them. A
stage's result is copied into the cache and then replaced by a link, so that both are on disk for a moment. It is not
copied where the file system clones files, or where the first link type of `cache.type` is a hard link (DVC 3.67,
`Output.commit`).
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.running import machine
from stages.running.console import size

DVC = Path(".dvc")
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
    """
    return next((base / Path(found).expanduser() for base, found in _settings("dir", root)), root / DVC / "cache")


def written() -> list[Path]:
    """The folder of the cache, if DVC runs this process and takes its results; else none."""
    return [folder()] if "DVC_STAGE" in os.environ and DVC.is_dir() else []


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
    types = next((found for _, found in _settings("type")), _DEFAULT_TYPES).replace(" ", "").split(",")
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


def config_files(root: Path) -> list[Path]:
    """DVC's configuration files, which need not be there; what one says counts before what the next ones say."""
    homes = {
        "DVC_GLOBAL_CONFIG_DIR": Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "dvc"),
        "DVC_SYSTEM_CONFIG_DIR": Path("/etc/xdg/dvc"),
    }
    others = [Path(os.environ.get(variable) or default, "config") for variable, default in homes.items()]
    return [root / DVC / "config.local", root / DVC / "config", *others]


def _settings(name: str, root: Path = Path()) -> Iterator[tuple[Path, str]]:
    """The values of ``cache.NAME``, the one that counts first, each with the folder that it is relative to."""
    for file in config_files(root):
        settings = configparser.ConfigParser(interpolation=None)
        settings.read(file, encoding="utf-8")
        if found := settings.get("cache", name, fallback=None):
            yield file.parent, found.strip("\"'")  # DVC quotes a value that holds a comma or a space
