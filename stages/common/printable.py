"""Text from outside, such as data and answers, as it may be shown: without characters that command a terminal."""

from __future__ import annotations

import re

#: C0 without tab and line feed, DEL, and C1 (ECMA-48): a terminal may obey them, so they are never written to it.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    r"""A text whose control characters are written as escapes, as Python writes them; tab and line feed stay.

    >>> printable("\x1b[2Jred")
    '\\x1b[2Jred'
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
