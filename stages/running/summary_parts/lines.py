"""How the summary is laid out: a name in the margin, and lines beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from stages.common.printable import printable

#: Characters in a line, and those of them in the margin.
WIDTH = 96
INDENT = 12


def entry(name: str, lines: Sequence[str]) -> Iterator[str]:
    """A name in the margin, and lines beside it, broken where they are too long."""
    margin = name
    for line in map(printable, lines):
        for piece in textwrap.wrap(line, WIDTH - INDENT, subsequent_indent="  " if ": " in line else "") or [""]:
            yield f"{margin:<{INDENT}}{piece}".rstrip().replace("\N{NO-BREAK SPACE}", " ")
            margin = ""


def shortened(text: str, taken: int = 0) -> str:
    """A text on one line, cut to the width that is left beside ``taken`` characters."""
    line = printable(" ".join(text.split())) or "(nothing)"
    room = WIDTH - INDENT - taken - 2
    return line if len(line) <= room else f"{line[: room - 1]}…"
