"""Which execution of the pipeline a process belongs to, and which of its stages ran.

An identity names a process so that another process can tell, now or later, whether it still runs. It is made of host,
process id, start time and process namespace: two containers can have one host name and different process ids.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from stages.common import paths
from stages.common.files import atomic_file
from stages.running import bookkeeping

#: Marks that stages leave, in one folder for each execution. A new execution removes the folders of those that ended.
MARKS = paths.CACHE / "tracking"
_RUN = "run"
#: Seconds after which the folder of another machine's or container's execution counts as left behind.
_OTHERS_SECONDS = 30 * 86_400.0
#: An option of Python's that takes a value, which may be the next word, after options that take none: ``-um dvc``.
_WITH_VALUE = re.compile(r"-[A-Za-z]*?(?P<letter>[mcWX])(?P<value>.*)")
#: The flow's DVC: `python -P waiting_dvc.py DESCRIPTOR dvc ARGUMENTS ...`.
_BECOMES_DVC = "waiting_dvc.py"
#: What the first stage keeps. Marks of stages do not begin with a dot.
FIRST = ".first"


@dataclass(frozen=True)
class Execution:
    """One execution of the pipeline.

    Args:
        identity: identity of the process that lasts as long as the execution.
        door: how it was started, as far as processes tell (`doors`).
    """

    identity: str
    door: Literal["flow", "dvc repro", "stage by hand"]

    @property
    def of_dvc(self) -> bool:
        """Whether it is one of DVC, of an experiment too."""
        return self.door == "dvc repro"


#: The execution of this process, once it is settled.
_settled: list[Execution] = []


def settle() -> None:
    """Keep the execution for the rest of this process: dvc may be killed, and the stage then still tells how it ended.

    Called at the start of a stage.
    """
    _settled[:] = [_found()]


def current() -> Execution:
    """The execution of the nearest dvc process above this one; without one this process is its own."""
    return _settled[0] if _settled else _found()


def _found() -> Execution:
    if above := up_to_dvc():
        with contextlib.suppress(psutil.Error):
            return Execution(identity(above[-1].pid), "dvc repro")
    return Execution(identity(), "stage by hand")


def up_to_dvc() -> list[psutil.Process]:
    """The processes above this one up to the nearest dvc, which is the last; none where there is no dvc."""
    above: list[psutil.Process] = []
    for ancestor in psutil.Process().parents():
        above.append(ancestor)
        with contextlib.suppress(psutil.Error):
            if arguments_of_dvc(ancestor.cmdline()) is not None:
                return above
    return []


def arguments_of_dvc(command: Sequence[str]) -> list[str] | None:
    """The arguments of a command line of dvc; None of a command line of another program.

    Python may run dvc by its file or by its name: ``python /venv/bin/dvc repro``, ``python -m dvc repro``. A program
    that is given a file of dvc's, such as ``python watch.py dvc.lock``, is another one.

    Args:
        command: the words of the command line.
    """
    words = list(command)
    if words and Path(words[0]).name.startswith("python"):
        words = _run_by_python(words[1:])
    if words and Path(words[0]).name == _BECOMES_DVC:
        words = words[2:]
    if words and (Path(words[0]).name == "dvc" or Path(words[0]).parts[-2:] == ("dvc", "__main__.py")):
        return words[1:]
    return None


def _run_by_python(words: Sequence[str]) -> list[str]:
    """The file or the module that Python is told to run, and its arguments; nothing where it is told neither.

    Args:
        words: the arguments of Python.
    """
    left = iter(words)
    for word in left:
        if option := _WITH_VALUE.fullmatch(word):
            value = option["value"] or next(left, "")
            if option["letter"] in "cm":
                return [value, *left] if option["letter"] == "m" else []
        elif not word.startswith("-"):
            return [word, *left]
    return []


def identity(pid: int | None = None) -> str:
    """The identity of a process, this one by default.

    Raises:
        psutil.NoSuchProcess: it has ended.
    """
    pid = pid or os.getpid()
    return f"{socket.gethostname()}:{pid}:{_start(pid)}:{_namespace()}"


def began() -> float | None:
    """When this process began, in seconds since 1970; None where the system does not tell it to a hundredth."""
    try:
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(_start(os.getpid())) / os.sysconf("SC_CLK_TCK")
    except (AttributeError, ValueError, OSError):  # no Linux
        return None
    return time.time() - age if age >= 0 else None


def is_gone(name: str) -> bool:
    """Whether the process of an identity has certainly ended; of another machine's or container's nobody can tell."""
    _, pid, start, _ = name.rsplit(":", 3)
    if not is_here(name):
        return False
    try:
        return _start(int(pid)) != start or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def is_here(name: str) -> bool:
    """Whether the process of an identity is, or was, one of this machine and this process namespace."""
    host, _, _, namespace = name.rsplit(":", 3)
    return (host, namespace) == (socket.gethostname(), _namespace())


def mark(execution: Execution, stage: str, text: str = "") -> None:
    """Keep that a stage ran in this execution. Without the mark the stage counts as restored by DVC.

    Args:
        execution: the execution.
        stage: name of the stage.
        text: what the mark holds.
    """
    folder = MARKS / execution.identity
    with bookkeeping.optional(folder / stage):
        if not folder.exists():
            for other in MARKS.glob("*:*:*:*"):
                if is_gone(other.name) or (not is_here(other.name) and _age(other) > _OTHERS_SECONDS):
                    shutil.rmtree(other, ignore_errors=True)
        with atomic_file(folder / stage) as stream:
            stream.write(text)


def first(execution: Execution, text: Callable[[], str]) -> str:
    """What the first stage of this execution has kept for those after it.

    Args:
        execution: the execution.
        text: function that gives what to keep, where this is the first stage.
    """
    kept = kept_by_first(execution)
    if kept is None:
        kept = text()
        mark(execution, FIRST, kept)
    return kept


def kept_by_first(execution: Execution) -> str | None:
    """What the first stage of this execution has kept; None where it has kept nothing."""
    path = MARKS / execution.identity / FIRST
    return path.read_text(encoding="utf-8") if path.exists() else None


def marked(execution: Execution) -> set[str]:
    """The stages that ran in this execution so far."""
    folder = MARKS / execution.identity
    return (
        {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {_RUN} if folder.exists() else set()
    )


def mark_run(execution: Execution) -> None:
    """Keep that this execution has an MLflow run, so that a stage need not ask MLflow."""
    mark(execution, _RUN)


def has_run(execution: Execution) -> bool:
    """Whether this execution has an MLflow run."""
    return (MARKS / execution.identity / _RUN).exists()


def _age(path: Path) -> float:
    """Seconds since something was put into a folder; 0 if it is gone."""
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime
    return 0.0


def _start(pid: int) -> str:
    """When a process started: on Linux in clock ticks since boot, which setting the clock does not move (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return str(psutil.Process(pid).create_time())


def _namespace() -> str:
    try:
        return Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        return "0"
