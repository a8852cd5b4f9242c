"""Lines typed at a terminal: they can be edited, and those of earlier conversations come back with the arrow keys."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from stages.common import paths
from stages.common.files import atomic_file
from stages.generate.instructions import Dropped
from stages.running.console import say
from stages.running.signals import Interrupted

try:
    import readline
except ImportError:  # a Python without it: lines can be typed all the same
    readline = None  # type: ignore[assignment]

#: The lines of earlier conversations, one a line, as JSON: a line that was pasted may hold line ends.
HISTORY = paths.CACHE / "chat" / "history"
#: The lines that are kept; the oldest go first.
MOST = 1000


class Terminal:
    """The lines that are typed at a terminal, from which Python's own `input` reads.

    Args:
        history: file that keeps the lines, readable for its owner alone; None keeps none.
    """

    def __init__(self, history: Path | None) -> None:
        self._history = history
        self._last = ""
        if readline is None:
            return
        readline.set_auto_history(False)
        for line in self._kept():
            readline.add_history(line)
            self._last = line

    def __call__(self, goes_on: bool) -> str | None:
        """The next line; None after Ctrl-D.

        Args:
            goes_on: whether the line goes on with the one before, which the prompt shows.

        Raises:
            Dropped: Ctrl-C was pressed.
            Interrupted: another signal has come.
        """
        while True:
            try:
                line = input("... " if goes_on else "> ")
                self._keep(line)
                return line
            except EOFError:
                say("")
                return None
            except UnicodeDecodeError:
                say("(not UTF-8: type it again)")
                continue
            except (Interrupted, KeyboardInterrupt) as stop:
                if isinstance(stop, Interrupted) and str(stop) != "SIGINT":
                    raise
                say("\n(Ctrl-D ends)")
                raise Dropped from None

    def _kept(self) -> list[str]:
        """The lines that the file keeps; it is cut to `MOST` of them."""
        if self._history is None:
            return []
        with contextlib.suppress(OSError):
            lines = list(_lines(self._history))
            if len(lines) > MOST:
                lines = lines[-MOST:]
                with atomic_file(self._history) as stream:
                    os.fchmod(stream.fileno(), 0o600)
                    stream.writelines(f"{json.dumps(line)}\n" for line in lines)
            return lines
        return []

    def _keep(self, line: str) -> None:
        """Add a line to the history, at once: this process may be killed, and another may add lines too."""
        if not line.strip() or line == self._last:
            return
        self._last = line
        if readline is not None:
            readline.add_history(line)
        if self._history is None:
            return
        with contextlib.suppress(OSError):  # a disk that is full or cannot be written: the conversation goes on
            self._history.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
            descriptor = os.open(self._history, flags, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
                os.write(descriptor, f"{json.dumps(line)}\n".encode())
            finally:
                os.close(descriptor)


def _lines(path: Path) -> Iterator[str]:
    """The lines of a history; what is not one, such as the half of a line, is left out."""
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            if isinstance(line := json.loads(text), str):
                yield line
