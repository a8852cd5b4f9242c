"""Slurs and insults in a text, by a list of English words whose hashes alone are kept: the file itself offends nobody.

offensive_words.json says where the words are from. A word is found as it is written there, whatever its capitals; the
list is no filter of hatred, and a text that quotes such a word is found too.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

_LIST = Path(__file__).with_name("offensive_words.json")
_WORD = re.compile(r"[^\W\d_]+")
_DIGITS = 16


def offensive_words(text: str) -> Iterator[str]:
    """The slurs and insults in a text, in their order."""
    for word in _WORD.findall(text):
        if _is_offensive(word):
            yield word


def hashed(word: str) -> str:
    """The hash by which the list has a word.

    >>> hashed("Word") == hashed("word") == "98c1eb4ee93476743763878fcb96a25f"[:16]
    True
    """
    return hashlib.sha256(word.lower().encode()).hexdigest()[:_DIGITS]


@functools.lru_cache(1 << 16)  # looking a word up takes a tenth of the time of hashing it
def _is_offensive(word: str) -> bool:
    return hashed(word) in _hashes()


@functools.cache
def _hashes() -> frozenset[str]:
    return frozenset(json.loads(_LIST.read_bytes())["hashes"])
