"""One DVC stage as one supervised process group: nothing of it outlives the call, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from flows import dvc_cli, waits
from stages.common.errors import InputOutputError, PipelineError, ServiceUnavailable, TemporaryFailure

Outcome = Literal["ran", "up to date", "from cache"]

_GUARD = Path(__file__).with_name("guard.py")
#: How often a wait looks up, in seconds, so that a cancellation is seen.
_POLL_SECONDS = 0.5
#: Longer than the guard takes for its further signals.
_GUARD_SECONDS = 15.0
#: Lines of output kept for an error's message.
_TAIL_LINES = 30

_STAGE_EXIT = re.compile(r"exited with (-?\d+)")
# The texts are DVC 3.67's. A test runs it, so that a new DVC cannot change them unseen.
_UP_TO_DATE = re.compile(r"didn't change, skipping")
_FROM_CACHE = re.compile(r"is cached - skipping run")
#: Advice that DVC repeats after every stage; in an isolated run it is wrong, too.
_ADVICE = re.compile(r"To track the changes with git|\s+git add |To enable auto staging|\s+dvc config |Use `dvc push` ")
#: The number of an error of the system, as Python shows it, where DVC says why it fails itself: the disk that it copies
#: to may be full. What a stage has printed may hold such numbers, too.
_SYSTEM_ERROR = re.compile(r"^ERROR: .*?\[Errno (-?\d+)\]", re.MULTILINE)
#: Those of the network: a host is not found or not reached, or does not answer.
_OF_NETWORK = frozenset(
    {
        socket.EAI_AGAIN,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ECONNREFUSED,
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.ETIMEDOUT,
    }
)
_BUSY = re.compile(r"is busy, it is being blocked by|Unable to acquire (the )?lock")


@dataclass(frozen=True)
class StageResult:
    """What one successful run of a stage did, and how long it took in seconds."""

    stage: str
    outcome: Outcome
    seconds: float


class StageFailed(Exception):
    """A stage did not succeed.

    Attributes:
        stage: its name.
        exit_code: the stage's own code, or the one of `stages.common.errors` that fits what DVC says.
        message: what the stage or DVC says about it.
    """

    def __init__(self, stage: str, exit_code: int, message: str) -> None:
        super().__init__(stage, exit_code, message)
        self.stage = stage
        self.exit_code = exit_code
        self.message = message

    def __str__(self) -> str:
        return self.message


def run_stage(
    stage: str,
    root: Path,
    *,
    log: Callable[[str], None],
    force: bool = False,
    variables: Mapping[str, str] | None = None,
) -> StageResult:
    """Bring one stage up to date with `dvc repro --single-item` and return what was done.

    Args:
        stage: the name of a stage, or a .dvc file.
        root: the folder of dvc.yaml.
        log: called with every line of output, at once.
        force: run the stage even if nothing has changed.
        variables: environment variables for the stage, besides this process's own.

    Raises:
        StageFailed: the stage or DVC failed.
    """
    dvc_cli.repair_rwlock(root)
    command = [*dvc_cli.COMMAND, "--wait-for-lock", "repro", "--single-item", *(["--force"] if force else []), stage]
    started = time.monotonic()
    lines: list[str] = []
    with _process_group(command, root, dvc_cli.environment() | dict(variables or {})) as guard:
        for line in _lines(guard):
            log(line)
            lines.append(line)
            del lines[:-_TAIL_LINES]
        code = guard.wait()
    if code != 0:
        raise _failure(stage, code, lines)
    return StageResult(stage, _outcome("\n".join(lines)), time.monotonic() - started)


@contextlib.contextmanager
def _process_group(command: list[str], root: Path, variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Start ``command`` under its guard; when the block ends, in whatever way, wait until the group is gone."""
    grace = waits.grace()
    guard = subprocess.Popen(
        [sys.executable, "-P", str(_GUARD), str(grace), *command],
        cwd=root,
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    assert guard.stdin
    assert guard.stdout
    try:
        yield guard
    finally:
        try:
            guard.stdin.close()
            guard.wait(grace + _GUARD_SECONDS)
        finally:
            # The guard was killed or did not manage, or a second Ctrl-C has come.
            if guard.returncode is None or guard.returncode < 0:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(guard.pid, signal.SIGKILL)
            guard.wait()
            guard.stdout.close()


def _lines(guard: subprocess.Popen[str]) -> Iterator[str]:
    """Yield lines of output as they come, until there can be no more."""
    arrived: queue.Queue[str | None] = queue.Queue()

    def read(stream: IO[str]) -> None:
        with contextlib.suppress(ValueError):  # closed by the other thread
            for line in stream:
                arrived.put(line.rstrip())
        arrived.put(None)

    assert guard.stdout
    threading.Thread(target=read, args=(guard.stdout,), daemon=True).start()
    while True:
        try:
            line = arrived.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            if guard.poll() is None:
                continue
            return  # The guard is gone, and a process that it could not end holds the pipe.
        if line is None:
            return
        if line and not _ADVICE.match(line):
            yield line


def _outcome(output: str) -> Outcome:
    if _FROM_CACHE.search(output):
        return "from cache"
    return "up to date" if _UP_TO_DATE.search(output) else "ran"


def _failure(stage: str, code: int, lines: list[str]) -> StageFailed:
    output = "\n".join(lines)
    if exits := _STAGE_EXIT.findall(output):
        own = int(exits[-1])
        if number := _signal_in(own):
            hint = ": out of memory?" if number == signal.SIGKILL else ""
            return StageFailed(stage, 128 + number, f"{stage}: ended by {number.name}{hint}")
        return StageFailed(stage, own, _message(stage, lines))
    if _BUSY.search(output):
        return StageFailed(stage, TemporaryFailure.exit_code, _message(stage, lines))
    if numbers := _SYSTEM_ERROR.findall(output):
        kind = ServiceUnavailable if int(numbers[-1]) in _OF_NETWORK else InputOutputError
        return StageFailed(stage, kind.exit_code, _message(stage, lines))
    return StageFailed(stage, PipelineError.exit_code, _message(stage, lines) or f"{stage}: dvc ended with {code}")


def _signal_in(code: int) -> signal.Signals | None:
    """The signal that ended a command, from its exit code: -9 where its shell gave way to it, else the shell's 137."""
    number = -code if code < 0 else code - 128
    return signal.Signals(number) if number in set(signal.Signals) else None


def _message(stage: str, lines: list[str]) -> str:
    """What the stage said last under its own name, or else the end of the output."""
    said = [line for line in lines if not _STAGE_EXIT.search(line)]
    starts = [number for number, line in enumerate(said) if line.startswith(f"{stage}: ")]
    return "\n".join(said[starts[-1] :] if starts else said[-10:])
