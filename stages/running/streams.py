"""Standard output and standard error that take any character, and tracebacks that command no terminal."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Literal

from stages.common.errors import InputOutputError, PipelineError, TemporaryFailure
from stages.common.printable import printable
from stages.common.secrecy import hidden


def prepare() -> None:
    r"""Let both streams write ``\u2192`` for a character that their encoding lacks. A program begins with this.

    Otherwise Python raises an error in the middle of a message: in the locale en_US.ISO-8859-1 at the first arrow, and
    in any locale at half of a surrogate pair, which JSON may hold. A stream that was closed before the program began
    leads nowhere. What Python itself shows of an error that nobody foresaw is made printable: it may hold data. Such an
    error ends the program with 70, where Python would end it with 1.
    """
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until the program ends
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.excepthook = _show_and_end
    threading.excepthook = lambda found: show(found.exc_type, found.exc_value, found.exc_traceback)


def _show_and_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    show(kind, error, trace)
    if issubclass(kind, Exception):  # Python ends by itself after Ctrl-C, by the signal
        flush(1)
        sys.exit(PipelineError.exit_code)


def show(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Write an error's traceback to standard error, as Python does, but printable and without passwords of URLs."""
    if issubclass(kind, SystemExit):  # a thread that ends so says nothing
        return
    with contextlib.suppress(OSError):  # the reader is gone
        print(printable(hidden("".join(traceback.format_exception(kind, error, trace)))), end="", file=sys.stderr)


def as_ours(error: PipelineError | OSError) -> PipelineError:
    """The error that ends a program: one of ours, also for one of the operating system's.

    A reader that went away, such as `head`, breaks no file: the same command may succeed.

    Args:
        error: either.
    """
    if isinstance(error, PipelineError):
        return error
    if isinstance(error, BrokenPipeError):
        return TemporaryFailure("the reader of this program's output went away", "run the same command again")
    # A full disk, a folder that may not be written: the user can fix it, and the message names the path.
    return InputOutputError.of(error)


def complain(message: str) -> None:
    """Write a message to standard error, after what standard output holds; where nobody takes either, it is lost."""
    flush(1)
    with contextlib.suppress(OSError):
        print(printable(hidden(message)), file=sys.stderr)
    flush(2)


@contextlib.contextmanager
def results() -> Iterator[None]:
    """Print the results of work that is done, within the block: a reader that went away has seen enough of them."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        flush(1)


def flush(descriptor: Literal[1, 2]) -> None:
    """Write out what standard output (1) or standard error (2) holds; where nobody takes it, lead it nowhere.

    Its reader is gone, or its terminal is closed. Python would try once more when it ends, and end with 120.
    """
    try:
        (sys.stdout if descriptor == 1 else sys.stderr).flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
