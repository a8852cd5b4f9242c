"""What a stage prints for people: messages, progress bars, forecasts, durations and sizes."""

from __future__ import annotations

import contextlib
import sys
import textwrap
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from stages.common.printable import printable
from stages.common.secrecy import hidden
from stages.running import environment, progress_file, streams
from stages.running.progress_file import Work

if TYPE_CHECKING:
    _Tqdm = tqdm[Any]
else:
    _Tqdm = tqdm  # whose class takes no type at run time

#: The longest line of a table or list, in characters.
WIDTH = 120
#: A forecast waits for this many units for each one worked on at a time, and for this many seconds.
UNITS_BEFORE = 5
SECONDS_BEFORE = 2.0
#: Bytes of a GiB.
GIB = 1 << 30


def say(message: str) -> None:
    """Print one line at once, without breaking a progress bar on the screen.

    Control characters are shown as escapes: a message may hold data. Passwords of URLs are left out. In a process group
    only rank 0 prints. Where standard output is a file on a full disk, this message and all later ones are dropped:
    they are worth less than the work.

    Raises:
        BrokenPipeError: the reader of standard output is gone.
    """
    if _silent():
        return
    try:
        tqdm.write(printable(hidden(message)))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        streams.flush(1)
        with contextlib.suppress(OSError):
            print(printable(f"standard output: {error.strerror}: messages are dropped"), file=sys.stderr)
        streams.flush(2)


def progress(*, total: int, unit: str, what: str, done: int = 0) -> tqdm[Any]:
    """A progress bar with an ETA on standard error. It shows nothing where that is not a terminal.

    Args:
        total: number of units.
        unit: name of one unit, such as "step" or "row".
        what: name of the work.
        done: units that were done earlier; the ETA leaves them out.
    """
    return _Bar(total=total, done=done, unit=unit, what=what)


class _Bar(_Tqdm):
    """A bar that also tells the flow how far it is (`stages.running.progress_file`).

    Where no terminal shows it, tqdm counts nothing; this one counts all the same.
    """

    def __init__(self, *, total: int, done: int, unit: str, what: str) -> None:
        self._what = what
        self._work = Work(done, total, unit)
        hidden = _silent() or None
        super().__init__(
            total=total, initial=done, unit=unit, desc=what, disable=hidden, dynamic_ncols=True, leave=False
        )
        self._tell()

    def update(self, n: float | None = 1) -> bool | None:
        """Count further units."""
        self._work = self._work._replace(done=self._work.done + int(n or 0))
        self._tell()
        shown: bool | None = super().update(n)
        self.n = self._work.done  # tqdm leaves it as it is where it shows nothing
        return shown

    def reset(self, total: float | None = None) -> None:
        """Begin once more, with another total."""
        self._work = self._work._replace(done=0, total=int(total or 0))
        self._tell()
        super().reset(total)

    def close(self) -> None:
        """Remove the bar. How far the work came is told to the last unit, also where it is broken off."""
        if not _silent():
            progress_file.tell_now()
        super().close()

    def _tell(self) -> None:
        if not _silent():
            progress_file.tell_work(self._what, self._work)


class Forecast:
    """Moves a progress bar and, where no terminal shows it, says once about how long the rest will take.

    Args:
        bar: bar of `progress`.
        unit: plural name of the units, such as "verdicts".
        what: name of the work.
        at_a_time: units worked on at a time.
        now: clock, in seconds.
    """

    def __init__(
        self, bar: tqdm[Any], *, unit: str, what: str, at_a_time: int = 1, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._bar, self._unit, self._what, self._now = bar, unit, what, now
        self._least = UNITS_BEFORE * at_a_time
        self._told = not bar.disable
        self._total = self._known = self._made = 0
        self._began = now()

    def start(self, total: int) -> None:
        """Begin work on this many units; the same bar may serve for one work after the other."""
        self._bar.reset(total)
        self._told = not self._bar.disable
        self._known = self._made = 0
        self._total, self._began = total, self._now()

    def known(self, count: int) -> None:
        """Count units that took no time, since they had been made earlier."""
        self._bar.update(count)
        self._known += count

    def made(self, count: int) -> None:
        """Count units that have just been made, and say the forecast once there is enough to go by."""
        self._bar.update(count)
        self._made += count
        seconds = self._now() - self._began
        if self._told or self._made < self._least or seconds < SECONDS_BEFORE:
            return
        done = self._known + self._made
        if rest := time_left(seconds / self._made * (self._total - done), "the rest will take about {}"):
            self._told = True
            say(f"{self._what}: {done:,} of {self._total:,} {self._unit}; {rest}")


def time_left(seconds: float, words: str) -> str:
    """What is said of the time that is left: nothing where less than half a second is.

    Args:
        seconds: the time that is left.
        words: what is said, with ``{}`` for the time.

    >>> time_left(90, "{} left"), time_left(0.4, "{} left")
    ('1 min 30 s left', '')
    """
    return words.format(duration(seconds)) if round(seconds) else ""


def duration(seconds: float) -> str:
    """Seconds as text: 42 s, 3 min 5 s, 2 h 7 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def fitted(line: str, indent: int) -> str:
    """A line, broken where it is longer than `WIDTH`; what follows a break is indented. No word and no path is broken.

    >>> fitted("ab " * 50, 2).splitlines()[1][:4]
    '  ab'
    """
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False, break_long_words=False)


def size(count: int) -> str:
    """A number of bytes as text: 1.5 GiB, 12 MiB below a tenth of a GiB, 3 KiB below one MiB."""
    if count >= GIB / 10:
        return f"{count / GIB:.1f} GiB"
    return f"{count / (1 << 20):.0f} MiB" if count >= 1 << 20 else f"{count / (1 << 10):.0f} KiB"


def _silent() -> bool:
    worker = environment.worker()
    return worker is not None and worker.rank > 0
