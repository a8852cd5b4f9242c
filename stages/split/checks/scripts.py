"""The script that a text is written in. Its language is not told: that takes a model."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter

#: For a text without a letter.
NO_LETTERS = "none"
#: Scripts that Unicode's names give several first words.
_ONE_SCRIPT = {
    **dict.fromkeys(("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HALFWIDTH"), "KANA"),
    "FULLWIDTH": "LATIN",
}
_LETTER = re.compile(r"[A-Za-z]")


def script_of(text: str) -> str:
    """The script of most letters, by the first word of their names in Unicode, such as LATIN, CYRILLIC or CJK; KANA is
    that of Japanese.

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
    if counts["KANA"]:  # which Japanese is written in together with Chinese characters
        counts["KANA"] += counts.pop("CJK", 0)
    counts = +counts
    return min(counts, key=lambda name: (-counts[name], name)) if counts else NO_LETTERS


@functools.cache
def _script(character: str) -> str:
    first = unicodedata.name(character, "UNKNOWN").split()[0]
    return _ONE_SCRIPT.get(first, first)
