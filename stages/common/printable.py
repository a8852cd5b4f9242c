"""Text from outside, such as data and answers, as it may be shown: without characters that command a terminal."""

from __future__ import annotations

import re

#: C0 without tab and line feed, DEL, and C1 (ECMA-48): a terminal may obey them, so they are never written to it. And
#: the embeddings, overrides and isolates of Unicode's bidirectional algorithm (UAX 9): a text with them can make others
#: around it appear in another order.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""A text whose control characters are written as escapes, as Python writes them; tab and line feed stay.

    >>> printable("\x1b[2Jred")
    '\\x1b[2Jred'
    """
    return _CONTROL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
