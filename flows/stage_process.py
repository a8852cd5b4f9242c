"""Runs one DVC stage in a supervised process group: no process of it outlives the call, however the call ends."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from flows import dvc_cli, dvc_lock, dvc_process, waits
from stages.common import paths
from stages.common.errors import (
    RETRYABLE_EXIT_CODES,
    InputOutputError,
    PipelineError,
    ServiceUnavailable,
    TemporaryFailure,
)
from stages.common.plurals import counted
from stages.common.printable import printable

Outcome = Literal["ran", "up to date", "from cache"]

#: Seconds between two looks while it waits, so that a cancellation is noticed.
_POLL_SECONDS = 0.5
#: Seconds that the guard may take for its further signals, and more.
_GUARD_SECONDS = 15.0
#: Lines of output kept for an error's message.
_TAIL_LINES = 30
#: Seconds that what may be the message of a failure is held back, until it is clear whether the stage fails.
_HELD_SECONDS = 10.0

_STAGE_EXIT = re.compile(r"exited with (-?\d+)")
# The messages of DVC 3.67. A test runs DVC, so that a new version cannot change them unnoticed.
_UP_TO_DATE = re.compile(r"didn't change, skipping")
_FROM_CACHE = re.compile(r"is cached - skipping run")
#: Advice that DVC repeats after every stage, which would be wrong in an isolated run, and how it cleans up after a DVC
#: that was killed.
_ADVICE = re.compile(
    r"To track the changes with git|\s+git add |To enable auto staging|\s+dvc config |Use `dvc push` "
    r"|WARNING: Process '.*' with \(Pid \d+\), in RWLock-file "
)
#: The number of a system error in a message of DVC itself, whose disk may be full. Output of a stage may hold such
#: numbers too, but not at the start of a line that begins with ERROR.
_SYSTEM_ERROR = re.compile(r"^ERROR: .*?\[Errno (-?\d+)\]", re.MULTILINE)
#: The numbers of network errors: a host is not found, not reached, or does not answer.
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
#: What DVC says at the end of a stage whose lock file somebody has removed.
_REMOVED = re.compile(r"Unlock called on an unlocked lock")
_BUSY = re.compile(r"is busy, it is being blocked by|Unable to acquire (the )?lock")


@dataclass(frozen=True)
class StageResult:
    """What one successful run of a stage did.

    Args:
        stage: name of the stage.
        outcome: what was done.
        seconds: seconds that it took, without those of failed tries.
        retries: number of tries before, which have failed.
    """

    stage: str
    outcome: Outcome
    seconds: float
    retries: int = 0

    @property
    def is_import(self) -> bool:
        """Whether it is no stage but a file such as data.dvc, which DVC runs before the stages: it imports data."""
        return self.stage.endswith(".dvc")


def in_words(done: Sequence[StageResult]) -> str:
    """How many stages ran, of how many. Imports such as data.dvc are not among them, and are named where they ran.

    >>> in_words([StageResult("data.dvc", "ran", 1), StageResult("a", "ran", 1), StageResult("b", "up to date", 1)])
    '1 of 2 stages ran; the others were up to date or came from the cache; the data were imported: data.dvc'
    """
    stages = [one for one in done if not one.is_import]
    ran = sum(one.outcome == "ran" for one in stages)
    others = "" if ran == len(stages) else "; the others were up to date or came from the cache"
    imports = ", ".join(one.stage for one in done if one.is_import and one.outcome == "ran")
    imported = f"; the data were imported: {imports}" if imports else ""
    return f"{ran} of {counted(len(stages), 'stage')} ran{others}{imported}"


class StageFailed(Exception):
    """A stage did not succeed.

    Attributes:
        stage: name of the stage.
        exit_code: the stage's own exit code, or the one of `stages.common.errors` that fits DVC's message.
        message: message of the stage or of DVC.
        may_be_retried: whether running it again can help.
        killed: whether it was ended from outside: the stage by SIGKILL, as the system does where memory is short, or
            DVC or the guard by any signal.
        retries: number of tries before this one.
    """

    def __init__(self, stage: str, exit_code: int, message: str, *, killed: bool = False) -> None:
        super().__init__(stage, exit_code, message)
        self.stage = stage
        self.exit_code = exit_code
        self.message = message
        self.may_be_retried = exit_code in RETRYABLE_EXIT_CODES
        self.killed = killed
        self.retries = 0

    def __str__(self) -> str:
        return self.message


class Stopped(BaseException):
    """The run was stopped while a stage was at work. Not an Exception: no handler of errors is to catch it.

    Attributes:
        stage: name of the stage.
        why: what is said of it: "stopped" and, where that is known, how far it came and where the next run goes on.
    """

    def __init__(self, stage: str, why: str = "stopped") -> None:
        super().__init__(stage)
        self.stage = stage
        self.why = why


def run_stage(
    stage: str,
    root: Path,
    *,
    log: Callable[[str], None],
    force: bool = False,
    variables: Mapping[str, str] | None = None,
    stopping: Callable[[], object] = lambda: None,
    following: str = "",
) -> StageResult:
    """Bring one stage up to date with `dvc repro --single-item`.

    Where somebody else's DVC is at work on the same files, it waits for that, and tries again.

    Args:
        stage: name of a stage, or a .dvc file.
        root: folder of dvc.yaml.
        log: function that is called with every line of output as it comes, without the message of a failure: that is
            the error's.
        force: whether to run the stage even if nothing has changed.
        variables: environment variables for the stage, besides this process's own.
        stopping: function that is called where the run is stopped: the stage has been told to end, and may be saving
            its work.
        following: the stage that comes next, with the same ``force``, if there is one: its DVC starts meanwhile, and
            waits. Who runs no such stage ends it by `flows.dvc_process.discard`.

    Returns:
        What was done.

    Raises:
        StageFailed: the stage or DVC failed.
        TemporaryFailure: another DVC is still at work after PIPELINE_WAIT_SECONDS.
    """
    deadline = time.monotonic() + waits.longest()
    tries = 0
    while True:
        dvc_lock.wait(root, log=log)
        try:
            return _run_stage(stage, root, log, variables or {}, stopping, force=force, following=following)
        except StageFailed as error:
            left = deadline - time.monotonic()
            if not _BUSY.search(error.message) or left <= 0:
                raise
            if tries == 1:  # after the first, the other one may just have ended
                most = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() + left))
                log(f"{stage}: DVC's files are in use, and nobody is seen who uses them: trying again until {most}")
        time.sleep(min(waits.before_try(tries), left))
        tries += 1


def _run_stage(
    stage: str,
    root: Path,
    log: Callable[[str], None],
    variables: Mapping[str, str],
    stopping: Callable[[], object],
    *,
    force: bool,
    following: str,
) -> StageResult:
    dvc_cli.repair_rwlock(root)
    command = dvc_process.of_stage(stage, force=force)
    started = time.monotonic()
    lines: list[str] = []
    began = False
    held = _Held(stage, log)
    with _process_group(command, root, dvc_cli.environment() | dict(variables), stopping) as guard:
        if following:
            with contextlib.suppress(OSError):  # it begins half a second later then
                dvc_process.prepare(dvc_process.of_stage(following, force=force))
        for line in _lines(guard):
            held.take(line)
            if line:
                began = began or line.startswith(f"Running stage '{stage}'")
                lines.append(line)
                del lines[:-_TAIL_LINES]
        code = guard.wait()
    if code != 0:
        advice = _where_dvc_fails(stage, in_copy=paths.ROOT_VARIABLE in variables) if began else ""
        failure = _failure(stage, code, lines, advice)
        held.release(but=failure.message)
        raise failure
    held.release()
    return StageResult(stage, _outcome("\n".join(lines)), time.monotonic() - started)


class _Held:
    """Hands on lines of output, and holds back what may be the message of a failure, which is told once, at the end.

    Args:
        stage: name of the stage.
        log: function that takes the lines.
    """

    def __init__(self, stage: str, log: Callable[[str], None]) -> None:
        self._starts = (f"{stage}: ", "ERROR: ")
        self._log = log
        self._lines: list[str] = []
        self._since = 0.0

    def take(self, line: str) -> None:
        """Take a line, or an empty text where none has come for a while."""
        if _STAGE_EXIT.search(line):
            return  # DVC's, after a stage's own message
        starts = line.startswith(self._starts)
        goes_on = bool(self._lines) and line.startswith("  ")
        late = time.monotonic() - self._since > _HELD_SECONDS
        if starts or (line and not goes_on) or late:
            self.release()
        if starts or goes_on:
            self._since = time.monotonic() if starts else self._since
            self._lines.append(line)
        elif line:
            self._log(line)

    def release(self, *, but: str = "") -> None:
        """Hand on what is held, without the lines of a message."""
        told = but.splitlines()
        for line in self._lines:
            if line not in told:
                self._log(line)
        self._lines.clear()


@contextlib.contextmanager
def _process_group(
    command: tuple[str, ...], root: Path, variables: dict[str, str], stopping: Callable[[], object]
) -> Iterator[subprocess.Popen[str]]:
    """Start a command under its guard; however the block ends, wait until the whole group has ended.

    ``stopping`` is called where something else than an error ends the block, such as a signal.
    """
    grace = waits.grace()
    guard = dvc_process.begin(command, root, variables)
    assert guard.stdin
    assert guard.stdout
    try:
        yield guard
    except Exception:
        raise
    except BaseException:
        guard.stdin.close()
        stopping()
        raise
    finally:
        try:
            guard.stdin.close()
            if guard.wait(grace + _GUARD_SECONDS) < 0:
                _wait_for_group(guard.pid, grace)  # a stage of ours ends by itself once its guard is gone
        finally:
            # The guard was killed or did not finish, or a second Ctrl-C has come.
            if guard.returncode is None or guard.returncode < 0:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(guard.pid, signal.SIGKILL)
            guard.wait()
            guard.stdout.close()


def _wait_for_group(group: int, seconds: float) -> None:
    """Wait until no process of a group is alive, for so many seconds at most."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(_POLL_SECONDS)


def _lines(guard: subprocess.Popen[str]) -> Iterator[str]:
    """Yield lines of output as they come, until no more can come; an empty one where none has come for a while."""
    arrived: queue.Queue[str | None] = queue.Queue()

    def read(stream: IO[str]) -> None:
        with contextlib.suppress(ValueError):  # closed by the other thread
            for line in stream:
                arrived.put(printable(line.rstrip()))
        arrived.put(None)

    assert guard.stdout
    threading.Thread(target=read, args=(guard.stdout,), daemon=True).start()
    while True:
        try:
            line = arrived.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            if guard.poll() is None:
                yield ""
                continue
            return  # the guard has ended, and a process that it could not end holds the pipe
        if line is None:
            return
        if line and not _ADVICE.match(line):
            yield line


def _outcome(output: str) -> Outcome:
    if _FROM_CACHE.search(output):
        return "from cache"
    return "up to date" if _UP_TO_DATE.search(output) else "ran"


def _failure(stage: str, code: int, lines: list[str], advice: str = "") -> StageFailed:
    """What has failed; ``advice`` is added to an error of DVC's own files."""
    output = "\n".join(lines)
    if exits := _STAGE_EXIT.findall(output):
        own = int(exits[-1])
        if number := _signal_in(own):
            return _ended(stage, "", number, again=number == signal.SIGKILL)
        return StageFailed(stage, own, _message(stage, lines))
    if number := _signal_in(code):
        # A negative code is the guard's own end; otherwise the guard has returned DVC's.
        return _ended(stage, "the guard of its processes was " if code < 0 else "DVC was ", number, again=True)
    if _REMOVED.search(output):
        told = f"{stage}: DVC's own files, .dvc/tmp, were removed while it was at work"
        return StageFailed(stage, InputOutputError.exit_code, f"{told}\n  to fix it: run the same command again")
    if _BUSY.search(output):
        return StageFailed(stage, TemporaryFailure.exit_code, _message(stage, lines))
    if numbers := _SYSTEM_ERROR.findall(output):
        if int(numbers[-1]) in _OF_NETWORK:
            return StageFailed(stage, ServiceUnavailable.exit_code, _message(stage, lines))
        return StageFailed(stage, InputOutputError.exit_code, _message(stage, lines) + advice)
    return StageFailed(stage, PipelineError.exit_code, _message(stage, lines) or f"{stage}: dvc ended with {code}")


def _ended(stage: str, who: str, number: signal.Signals, *, again: bool) -> StageFailed:
    hint = ": out of memory?" if number == signal.SIGKILL else ""
    return StageFailed(stage, 128 + number, f"{stage}: {who}ended by {number.name}{hint}", killed=again)


def _where_dvc_fails(stage: str, *, in_copy: bool) -> str:
    """What fixes it where the command of a stage has succeeded, and DVC could not write its results.

    Args:
        stage: name of the stage.
        in_copy: whether it ran in a copy of the repository, which is removed with the results.
    """
    then = "run the same command again" if in_copy else f"run: dvc commit -f {stage}"
    return (
        f"\n  {stage} itself succeeded, and DVC could not take its results"
        f"\n  to fix it: free some space on the disk of DVC's cache (dvc cache dir), then {then}"
    )


def _signal_in(code: int) -> signal.Signals | None:
    """The signal that ended a command, from its exit code: for SIGKILL -9, or 137 where a shell ran the command."""
    number = -code if code < 0 else code - 128
    return signal.Signals(number) if number in set(signal.Signals) else None


def _message(stage: str, lines: list[str]) -> str:
    """The stage's last message under its own name, or else the end of the output."""
    said = [line for line in lines if not _STAGE_EXIT.search(line)]
    starts = [number for number, line in enumerate(said) if line.startswith(f"{stage}: ")]
    return "\n".join(said[starts[-1] :] if starts else said[-10:])
