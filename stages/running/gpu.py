"""One process a card: a kernel lock on every GPU that a stage uses.

The lock is `flock` on a file for each device UUID, in one folder of the machine. The process that computes takes it
before its torch starts CUDA. So `dvc repro`, Prefect runs and programs started by hand exclude each other. The kernel
frees a card however its holder dies: nothing expires and nothing has to be cleaned up. The text in a lock file is for
people (`stages.running.gpu_users`); only the lock counts. Who waits gets a card in the order of asking. Only where one
waits for more cards than are free, others may pass.

PIPELINE_GPU_LOCKS names the folder of the lock files. The default is in /run/lock where every user may write there,
else in /tmp: it depends on the machine alone, so that all its users share one folder. Containers that share cards need
one folder mounted in each.

Without a GPU none of this does anything. A card's id appears in no parameter, command or output.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from stages.common.errors import ConfigError, PipelineError
from stages.common.locks import try_lock
from stages.common.plurals import counted, word
from stages.running import gpu_users, progress_file
from stages.running.console import say
from stages.running.devices import visible_devices
from stages.running.gpu_users import User, Waiting

_FOLDER = "instruct-pipeline-gpu"
#: Seconds between two attempts to lock busy cards; each wait is 0.5 to 1.5 times this.
_POLL = 1.0
#: A free card is told after so many looks: mostly, who waits before takes it within the longest wait.
_LOOKS = 5
_FREE = "free"
#: Open lock files by UUID: the cards that this process holds.
_held: dict[str, int] = {}
_last_lease: tuple[str, ...] = ()
#: The place of this process among those that wait.
_place: gpu_users.Place | None = None


@contextlib.contextmanager
def lease(count: int = 1) -> Iterator[tuple[str, ...]]:
    """Hold ``count`` GPUs for the length of the block, and show torch only these, as cuda:0 and up.

    Waits until that many of the visible cards are free, and nobody else waits for them; takes all or none. Must be
    entered before the first call into ``torch.cuda``, since CUDA reads its mask once in a process. Without a GPU the
    block runs at once.

    Args:
        count: number of cards.

    Yields:
        The UUIDs held; none where there is no GPU.

    Raises:
        ConfigError: more cards are asked for than are visible, the mask names none of this machine's cards, or the lock
            folder cannot be used.
        PipelineError: CUDA has already started in this process, or it already holds cards.
    """
    global _last_lease
    devices = visible_devices()
    if not devices:
        yield ()
        return
    _check_fresh()
    if count > len(devices):
        raise ConfigError(
            f"{counted(count, 'GPU')} {word(count, 'is', 'are')} needed, and {len(devices)} can be seen: "
            f"{', '.join(devices)}",
            "check CUDA_VISIBLE_DEVICES and PIPELINE_GPUS",
        )
    taken = _wait_for(devices, count, lock_folder())
    before = {name: os.environ.get(name) for name in ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES")}
    try:
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
        _last_lease = tuple(taken)
        yield _last_lease
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _release(taken)


def last_lease() -> tuple[str, ...]:
    """The UUIDs that this process leased last, for a tag in the tracker; none if it leased none."""
    return _last_lease


def lock_folder() -> Path:
    """The folder of the lock files, in which every user of the machine can lock; made where it is missing.

    Raises:
        ConfigError: it cannot be made, or is not a folder.
    """
    named = os.environ.get("PIPELINE_GPU_LOCKS")
    shared = Path("/run/lock")
    # /tmp by name: TMPDIR differs from user to user, and they would not meet.
    parent = shared if shared.is_dir() and shared.stat().st_mode & stat.S_IWOTH else Path("/tmp")  # noqa: S108
    folder = Path(named) if named else parent / _FOLDER
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            folder.chmod(0o1777)
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder")
    except OSError as error:
        reason = f"{folder}: the folder of the GPU locks cannot be used: {error.strerror}"
        raise ConfigError(
            reason, "set PIPELINE_GPU_LOCKS to a folder that all users of this machine may write"
        ) from None
    return folder


def _check_fresh() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise PipelineError("a GPU was asked for after torch had started CUDA, which no longer changes its mask")
    if _held:
        raise PipelineError(f"this process already holds {', '.join(_held)}; one lease at a time")


def _wait_for(devices: Sequence[str], count: int, folder: Path) -> list[str]:
    """Lock ``count`` cards, after those that began to wait earlier and can have theirs."""
    global _place
    _place = gpu_users.Place(folder, gpu_users.this_process(), count, devices)
    told = seen = ""
    looks = 0
    try:
        while not (taken := _try(devices, count, folder, before := _place.before())):
            users = {uuid: _used_by(folder, uuid, len(before)) for uuid in devices}
            line = _waiting_line(count, len(before), users)
            looks = looks + 1 if line == seen else 1
            seen = line
            passing = any(user.startswith(_FREE) for user in users.values()) and looks < _LOOKS
            if line != told and not (told and passing):
                told = line
                say(line)
            # The jitter lets one of two processes win that each want several cards and each hold some.
            time.sleep(_POLL * random.uniform(0.5, 1.5))  # noqa: S311
    finally:
        _place.leave()
        _place = None
    return taken


def _waiting_line(count: int, before: int, users: Mapping[str, str]) -> str:
    ahead = {0: "", 1: ", 1 run is before this one"}.get(before, f", {before} runs are before this one")
    named = "; ".join(f"{uuid}: {user}" for uuid, user in users.items())
    return f"waiting for {count} free GPU{'s' if count > 1 else ''}{ahead} ({named})"


def _try(devices: Sequence[str], count: int, folder: Path, before: Sequence[Waiting]) -> list[str]:
    """Lock the first ``count`` free cards, or none; those that can serve who waits before are left to them."""
    taken: list[str] = []
    if sum(one.count == 1 for one in before) >= len(devices):
        return taken  # each of these cards is somebody else's as soon as it is free
    try:
        # In sorted order, so that processes that want all cards meet at the first and not half-way.
        for uuid in sorted(devices) if count > 1 else devices:
            if (descriptor := _lock(folder, uuid)) is None:
                continue
            # Held before its file is written to, so that whatever happens there, the card is released.
            _held[uuid] = descriptor
            taken.append(uuid)
            if not before and len(taken) == count:
                break
        ours = _left_by(before, taken)[:count]
        _release([uuid for uuid in taken if uuid not in ours or len(ours) < count])
        if len(ours) < count:
            return []
        who = gpu_users.this_process()
        for uuid in ours:
            _describe_holder(_held[uuid], who)
    except BaseException:
        _release(taken)
        raise
    progress_file.tell_gpus(ours)
    return ours


def _left_by(before: Sequence[Waiting], free: Sequence[str]) -> list[str]:
    """The free cards that are left when those who wait before have taken theirs, as far as there are enough."""
    left = list(free)
    for one in before:
        theirs = [uuid for uuid in one.devices if uuid in left][: one.count]
        if len(theirs) == one.count:
            left = [uuid for uuid in left if uuid not in theirs]
    return left


def _path(folder: Path, uuid: str) -> Path:
    return folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', uuid)}.lock"


def _lock(folder: Path, uuid: str) -> int | None:
    """Lock a card; return the descriptor of its lock file, or None if another process holds it."""
    descriptor = _open(_path(folder, uuid))
    try:
        ours = try_lock(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    if not ours:
        os.close(descriptor)
        return None
    return descriptor


def _describe_holder(descriptor: int, who: User) -> None:
    """Write into a lock file who holds it. On a full disk it stays empty: only the lock counts."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, gpu_users.text_of(who).encode(), 0)


def _open(path: Path) -> int:
    """Open a lock file, which another user may have made.

    Not with O_CREAT when it is there: in a sticky folder the kernel refuses that for another's file
    (fs.protected_regular). Python's descriptors close on exec, so programs started from here do not hold the lock.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        except FileExistsError:
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        os.fchmod(descriptor, 0o666)
        return descriptor
    except OSError as error:
        fix = "make it readable and writable for all users of this machine, or set PIPELINE_GPU_LOCKS"
        raise ConfigError(f"{path}: the GPU lock cannot be opened: {error.strerror}", fix) from None


def holder(folder: Path, uuid: str) -> User | Literal["unknown"] | None:
    """Who holds a card; None where it is free, unknown where its lock file does not say.

    Args:
        folder: folder of the lock files.
        uuid: UUID of the card.

    Raises:
        ConfigError: the lock file cannot be opened.
    """
    path = _path(folder, uuid)
    if not path.exists():
        return None
    descriptor = _lock(folder, uuid)
    if descriptor is not None:
        os.close(descriptor)
        return None
    return gpu_users.read(path) or "unknown"


def _used_by(folder: Path, uuid: str, before: int) -> str:
    """Who has a card, in words; with ``before`` processes that wait earlier, a free one is theirs."""
    found = holder(folder, uuid)
    if found is None:
        return f"{_FREE}, and left to {word(before, 'the run', 'the runs')} before this one" if before else _FREE
    return "held" if found == "unknown" else str(found)


def _release(uuids: Sequence[str]) -> None:
    for uuid in uuids:
        descriptor = _held.pop(uuid, None)
        if descriptor is not None:
            # The words go before the lock does, or they would wipe the next holder's.
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)


def _forget_in_child() -> None:
    """Give up this process's share of the locks: after a fork they would last as long as the child does."""
    global _last_lease
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()
    if _place is not None:
        _place.forget()
    _last_lease = ()


os.register_at_fork(after_in_child=_forget_in_child)
