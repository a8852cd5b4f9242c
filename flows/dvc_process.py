"""Processes of `dvc repro` under a guard, which ends all of a process's group with it or with this process.

That of the next stage is started while one is at work: it imports DVC meanwhile (`flows.waiting_dvc`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from flows import dvc_cli, waits

_GUARD = Path(__file__).with_name("guard.py")
_DVC = Path(__file__).with_name("waiting_dvc.py")


@dataclass(frozen=True)
class _Waiting:
    """A DVC that waits for its work.

    Args:
        words: its command.
        guard: its guard, in whose group it is.
        work: file descriptor that its work is written to.
    """

    words: tuple[str, ...]
    guard: subprocess.Popen[str]
    work: int

    def begin(self, root: Path, environment: dict[str, str]) -> bool:
        """Give it its work; False where it is gone."""
        left = json.dumps({"folder": str(root.resolve()), "environment": environment}).encode()
        try:
            if self.guard.poll() is not None:
                return False  # nothing would end what it begins
            while left:
                left = left[os.write(self.work, left) :]
        except BrokenPipeError:
            return False
        finally:
            os.close(self.work)
        return self.guard.poll() is None

    def end(self) -> None:
        """End it: it has nothing to save."""
        os.close(self.work)
        self.close()

    def close(self) -> None:
        """Wait for the guard's end, and end what a guard that was killed has left of its group."""
        assert self.guard.stdin
        assert self.guard.stdout
        self.guard.stdin.close()
        if self.guard.wait() < 0:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.guard.pid, signal.SIGKILL)
        self.guard.stdout.close()


#: The one of the next stage.
_next: list[_Waiting] = []


def of_stage(stage: str, *, force: bool) -> tuple[str, ...]:
    """The command of `dvc repro` for one stage."""
    return ("dvc", "--wait-for-lock", "repro", "--single-item", *(["--force"] if force else []), stage)


def prepare(words: tuple[str, ...]) -> None:
    """Start a DVC whose work will be begun later, in place of any other that waits."""
    discard()
    _next.append(_started(words))


def discard() -> None:
    """End the DVC that waits, if there is one."""
    while _next:
        _next.pop().end()


def begin(words: tuple[str, ...], root: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Begin a command, in the process that waits for it or in a new one.

    Args:
        words: the command.
        root: folder to work in.
        environment: all its environment variables.

    Returns:
        The guard of its process, whose standard output is that of the command. Where its standard input closes, it
        ends the command.
    """
    if _next and _next[0].words == words:
        waiting = _next.pop()
        if waiting.begin(root, environment):
            return waiting.guard
        waiting.close()  # it was killed
    started = _started(words)
    started.begin(root, environment)  # where it is gone at once, its guard says how it ended
    return started.guard


def _started(words: tuple[str, ...]) -> _Waiting:
    read, write = os.pipe()
    try:
        guard = _guard(words, read)
    except BaseException:
        os.close(write)
        raise
    finally:
        os.close(read)
    return _Waiting(words, guard, write)


def _guard(words: tuple[str, ...], read: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*_python(_GUARD), str(waits.grace()), *_python(_DVC), str(read), *words],
        cwd="/",  # as long as it waits, it is no DVC of any folder
        env=dvc_cli.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        pass_fds=[read],
    )


def _python(script: Path) -> list[str]:
    return [sys.executable, "-P", str(script.resolve())]
