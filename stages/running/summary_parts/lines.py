"""How the summary is laid out: a name in the margin, and lines beside it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

from stages.common.printable import printable
from stages.running.console import WIDTH

#: Characters of a line in the margin.
INDENT = 12
#: A label of a line, with the blanks that follow it.
_LABEL = re.compile(r"\S[^:]{0,15}?\s{2,}")


def entry(name: str, lines: Sequence[str]) -> Iterator[str]:
    """A name in the margin, and lines beside it, broken where they are too long.

    What follows a break is indented: under the text beside a label, or a little. A word that is longer than a line,
    such as a path, stays whole, so that it can be copied.
    """
    margin = name
    for line in map(printable, lines):
        indent = " " * len(label[0]) if (label := _LABEL.match(line)) else "  " if ": " in line else ""
        for piece in _wrapped(line, indent) or [""]:
            yield f"{margin:<{INDENT}}{piece}".rstrip().replace("\N{NO-BREAK SPACE}", " ")
            margin = ""


def _wrapped(line: str, indent: str) -> list[str]:
    return textwrap.wrap(line, WIDTH - INDENT, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


def percent(share: float, digits: int = 0) -> str:
    """A share as a number of percent, with a decimal more where rounding would make some none, or most all.

    Args:
        share: the share, from 0 to 1.
        digits: decimal places where rounding hides nothing.

    >>> percent(199 / 201), percent(200 / 201), percent(1.0), percent(0.0001)
    ('99', '99.5', '100', '<0.1')
    """
    for places in (digits, 1):
        text = f"{100 * share:z.{places}f}"
        if share in (0, 1) or float(text) not in (0, 100):
            return text
    return "<0.1" if share < 0.5 else ">99.9"


def narrowed(summary: str, columns: int) -> str:
    """A summary for a page that shows fewer characters beside one another; its lines are broken as by `entry`.

    Args:
        summary: lines that `entry` has made.
        columns: the largest number of characters of a line; a word that is longer stays whole.
    """
    lines = []
    for line in summary.splitlines():
        beside = line[INDENT:]
        label = _LABEL.match(beside)
        begins = INDENT + (len(label[0]) if label else len(beside) - len(beside.lstrip()))
        indent = " " * (INDENT + 2 if begins == INDENT else begins)
        pieces = textwrap.wrap(
            line[begins:],
            columns,
            initial_indent=line[:begins],
            subsequent_indent=indent,
            break_on_hyphens=False,
            break_long_words=False,
        )
        lines += pieces if len(line) > columns else [line]
    return "\n".join(lines)


def joined(head: str, items: Sequence[str]) -> str:
    """A line with a list, which is broken between two items alone."""
    return f"{head} {', '.join(item.replace(' ', chr(0xA0)) for item in items)}"


def shortened(text: str, taken: int = 0) -> str:
    """A text on one line, cut to the width that is left beside ``taken`` characters."""
    line = printable(" ".join(text.split())) or "(nothing)"
    room = WIDTH - INDENT - taken - 2
    return line if len(line) <= room else f"{line[: room - 1]}…"
