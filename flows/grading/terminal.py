"""Grading in the terminal: one answer at a time, one key a grade, and every key is kept at once."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import termios
import textwrap
import tty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from flows.grading import kept
from flows.grading.answers import Item, in_words
from stages.common.errors import ConfigError
from stages.common.plurals import counted
from stages.common.printable import printable

#: Points of each key: 0 is 0 points, and 9 is 100.
POINTS = {str(digit): round(digit * 100 / 9, 1) for digit in range(10)}
BACK, SKIP, QUIT = "b", "s", "q"
#: Ctrl-C arrives as a signal, and Ctrl-D as this key.
_END = "\x04"
_ESCAPE = "\x1b"
#: Seconds after which what comes is another key. A terminal sends an escape sequence at once, and a paste in parts.
_QUIET = 0.03
_MOST = 4096
_KEYS = "0-9 grades (0: 0 points, 9: 100 points), b goes back, s skips, q quits"


def grade(items: Sequence[Item], file: Path, key: Callable[[], str]) -> None:
    """Show the answers that have no grade yet, one after the other, and keep a grade for each.

    Args:
        items: the answers, in the order to show them.
        file: where the grades are kept (`kept`); written after every grade.
        key: function that waits for a key and returns it.

    Raises:
        DataError: the file is broken.
    """
    grades = kept.read(file)
    at = next((number for number, item in enumerate(items) if item.key not in grades), len(items))
    _show(f"{in_words(items)}.\n{_KEYS}. Every grade is kept at once.")
    while True:
        if at == len(items):
            _show(f"\nThat was the last answer. {BACK} goes back, any other key ends: ", end="")
            if key() != BACK or not items:
                break
            at -= 1
            continue
        item = items[at]
        _show_answer(item, at, len(items), grades)
        pressed = key()
        while pressed not in {*POINTS, BACK, SKIP, QUIT, _END}:
            _show(_KEYS)
            pressed = key()
        if pressed in (QUIT, _END):
            break
        if pressed == BACK:
            at = max(0, at - 1)
            continue
        grades[item.key] = POINTS.get(pressed)
        kept.write(file, grades)
        at += 1
    done = sum(grades.get(item.key) is not None for item in items)
    _show(f"\n{done} of {counted(len(items), 'answer')} graded")


def _show_answer(item: Item, at: int, count: int, grades: dict[str, float | None]) -> None:
    """One answer, with what it answers and the grade that it has; texts are shown without control characters."""
    width = min(100, shutil.get_terminal_size().columns)
    _show(f"\n{'-' * width}\nanswer {at + 1} of {count}")
    parts = {"instruction": item.instruction, "input": item.input, "reference": item.reference, "ANSWER": item.answer}
    for name, text in parts.items():
        if text or name == "ANSWER":
            _show(f"{name}:")
            for line in printable(text or "(empty)").splitlines():
                _show(textwrap.indent(textwrap.fill(line, width - 2), "  "))
    if item.key in grades:
        score = grades[item.key]
        _show("(skipped)" if score is None else f"(graded {score:g})")
    _show("grade: ", end="")


def _show(text: str, end: str = "\n") -> None:
    print(printable(text), end=end, flush=True)


@contextlib.contextmanager
def keys() -> Iterator[Callable[[], str]]:
    """Take keys from the terminal as they are pressed, without a line feed after them, until the end of the block.

    Yields:
        A function that waits for a key and returns it; end of file is Ctrl-D. Ctrl-C stays a signal. Of keys that come
        at once, as from a paste, the first one counts; a key with an escape sequence does not.

    Raises:
        ConfigError: standard input is no terminal.
    """
    if not sys.stdin.isatty():
        raise ConfigError("--here: standard input is no terminal", "run it in a terminal, or leave --here out")
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    # For the whole time: a Ctrl-D that is pressed while lines are taken is no key.
    tty.setcbreak(descriptor, termios.TCSADRAIN)
    try:
        yield lambda: _pressed(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _pressed(descriptor: int) -> str:
    """The next key; the keys that send an escape sequence (Delete, arrows, F5) are none, and are passed over."""
    found = _ESCAPE
    while found == _ESCAPE:
        found = _read(descriptor).decode(errors="replace")[:1] or _END
    _show(found if found.isprintable() else "")
    return found


def _read(descriptor: int) -> bytes:
    """All that comes at once: one key, the whole escape sequence of one, or what was pasted; empty at the end of file.

    The bytes after the first one of `ESC [ 3 ~` or of a pasted text are no grades of the answers that would come next.
    """
    found = part = os.read(descriptor, _MOST)
    while part and select.select([descriptor], [], [], _QUIET)[0]:
        part = os.read(descriptor, _MOST)
    return found
