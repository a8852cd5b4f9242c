"""Who holds a GPU and who waits for one, for people: texts beside the locks of `stages.running.gpu`.

A holder's text is in the lock file of its card. Who waits has a file of its own in the folder queue, and holds its lock
meanwhile: the kernel frees that however the process ends, so that the queue never has one who is gone. The names of
these files give the order.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stages.common.locks import leads_to, locked_if_possible, try_lock
from stages.running.tracking import execution

#: The name of the run that a stage belongs to, for people; the flow sets it.
RUN_VARIABLE = "PIPELINE_RUN_NAME"
_QUEUE = "queue"
#: The most characters of a text that are read: the files may be another user's.
_MOST = 4096


@dataclass(frozen=True)
class User:
    """A process that holds GPUs or waits for them.

    Args:
        process: its process id.
        program: what it runs, such as `stages.finetune`.
        run: name of the run that it belongs to.
        door: how that was started: `flow`, `dvc repro` or another of `tracking.doors`.
        user: name of the machine's user.
        since: time at which it began to hold or to wait, in seconds since 1970.
    """

    process: int
    program: str
    run: str
    door: str
    user: str
    since: float

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.process}: {self.program}, run {self.run} ({self.door}), {self.user}, since {since}"


@dataclass(frozen=True)
class Waiting:
    """A process in the queue.

    Args:
        who: the process.
        count: number of GPUs that it waits for.
        devices: UUIDs of the GPUs that it may use.
    """

    who: User
    count: int
    devices: tuple[str, ...]


def this_process() -> User:
    """This process, as it is told to others."""
    current = execution.current()
    flow = os.environ.get(RUN_VARIABLE)
    run = flow or os.environ.get("DVC_EXP_NAME") or f"without a name (process {current.identity.rsplit(':', 3)[1]})"
    return User(os.getpid(), _program(), run, "flow" if flow else current.door, _user(), time.time())


def text_of(who: User) -> str:
    """The text of a lock file: one line of JSON."""
    return f"{json.dumps(asdict(who))}\n"


def read(path: Path) -> User | None:
    """The process that a lock file names; None where it names none."""
    found = _json(path)
    with contextlib.suppress(TypeError, ValueError, KeyError):
        return _user_of(found)
    return None


class Place:
    """A place in the queue, from its making until `leave`.

    Args:
        folder: folder of the lock files.
        who: this process.
        count: number of GPUs that it waits for.
        devices: UUIDs of the GPUs that it may use.
    """

    def __init__(self, folder: Path, who: User, count: int, devices: Sequence[str]) -> None:
        self._folder = folder / _QUEUE
        self._path = self._folder / f"{time.time_ns():020d}-{os.getpid()}"
        self._devices = set(devices)
        self._descriptor: int | None = None
        # Without a place, as on a full disk, this process waits all the same for those that came before it. Those that
        # come later do not see it.
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileExistsError):
                self._folder.mkdir()
                self._folder.chmod(0o1777)
            self._descriptor = self._locked_file()
            text = json.dumps({"who": asdict(who), "count": count, "devices": list(devices)})
            os.pwrite(self._descriptor, text.encode(), 0)

    def _locked_file(self) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            try:
                if try_lock(descriptor) and leads_to(self._path, descriptor):
                    return descriptor
            except BaseException:  # the file system has no locks, for example
                os.close(descriptor)
                raise
            os.close(descriptor)  # before it was locked, another process took it for one that has ended

    def before(self) -> list[Waiting]:
        """Those that began to wait earlier for GPUs that this process may use, in their order."""
        return [
            one for name, one in _waiting(self._folder) if name < self._path.name and self._devices & {*one.devices}
        ]

    def leave(self) -> None:
        """Give the place up."""
        if self._descriptor is not None:
            if leads_to(self._path, self._descriptor):
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def forget(self) -> None:
        """Let go of the place without giving it up: it is another process's, from which this one was forked."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def queue(folder: Path) -> list[Waiting]:
    """Who waits, in order.

    Args:
        folder: folder of the lock files.
    """
    return [one for _, one in _waiting(folder / _QUEUE)]


def _waiting(folder: Path) -> Iterator[tuple[str, Waiting]]:
    """The living entries of a queue, by the names of their files; those of ended processes are removed."""
    for path in sorted(folder.glob("*-*")):
        with locked_if_possible(path) as ended:
            if ended:
                with contextlib.suppress(OSError):  # another user's
                    path.unlink()
            if ended is not False:
                continue
        found = _json(path)
        with contextlib.suppress(TypeError, ValueError, KeyError):
            yield path.name, Waiting(_user_of(found["who"]), int(found["count"]), tuple(map(str, found["devices"])))


def _json(path: Path) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.loads(stream.read(_MOST))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _user_of(found: dict[str, Any]) -> User:
    return User(
        int(found["process"]),
        str(found["program"]),
        str(found["run"]),
        str(found["door"]),
        str(found["user"]),
        float(found["since"]),
    )


def _program() -> str:
    """What runs in this process, as a person would name it: `stages.finetune` for ``python -m stages.finetune``."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return (spec.name.removesuffix(".__main__") if spec else "") or Path(sys.argv[0]).name or "python"


def _user() -> str:
    with contextlib.suppress(OSError, KeyError):
        return getpass.getuser()
    return str(os.getuid())
