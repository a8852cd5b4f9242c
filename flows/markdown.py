"""Text from outside in the Markdown of Prefect's pages: shown as it is, never obeyed."""

from __future__ import annotations

import html
import re

from stages.common.printable import printable

_FENCE = re.compile(r"`{3,}")
_MARKS = re.compile(r"([\\`*_{}\[\]()#+\-.!|~])")


def fenced(text: str) -> str:
    """A text as a block of code, within a fence that is longer than every run of backticks in the text."""
    fence = "`" * max(3, 1 + max((len(run) for run in _FENCE.findall(text)), default=0))
    return f"{fence}\n{printable(text)}\n{fence}"


def cell(text: str) -> str:
    r"""A text for a cell of a table, on one line.

    >>> cell("a|b <script>")
    'a\\|b &lt;script&gt;'
    """
    return _MARKS.sub(r"\\\1", html.escape(" ".join(printable(text).split()), quote=False))
