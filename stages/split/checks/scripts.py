"""The script that a text is written in. Its language is not told: that takes a model."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter

#: For a text without a letter.
NO_LETTERS = "none"
_LETTER = re.compile(r"[A-Za-z]")


def script_of(text: str) -> str:
    """The script of most letters, by the first word of their names in Unicode, such as LATIN, CYRILLIC or CJK.

    Of two that are equally frequent, the one that comes first in the alphabet.
    """
    if text.isascii():
        return "LATIN" if _LETTER.search(text) else NO_LETTERS
    counts: Counter[str] = Counter()
    latin = 0
    for character, count in Counter(text).items():
        if character.isascii():
            latin += count if character.isalpha() else 0
        elif character.isalpha():
            counts[_script(character)] += count
    if latin:
        counts["LATIN"] += latin
    return min(counts, key=lambda name: (-counts[name], name)) if counts else NO_LETTERS


@functools.cache
def _script(character: str) -> str:
    return unicodedata.name(character, "UNKNOWN").split()[0]
