"""Lists of candidates: an answer that names the right thing beside others has not chosen."""

from __future__ import annotations

import re
from collections.abc import Sequence

from stages.judge.judges.kinds import tells
from stages.judge.judges.rows import Row, without_articles
from stages.judge.judges.wording import ARTICLES, FUNCTION_WORDS, is_number, loose

#: With "or", a slash or "perhaps" one other thing is enough; of things with commas between it takes so many, since
#: "Rome, Italy" is one answer.
OTHERS = 2
#: Words of another thing, at most: so many, or so many more than the key words.
_SHORT, _LONGER = 2, 1

_SENTENCES = re.compile(r"[.!?](?:\s|$)")
_ITEMS = re.compile(r"\s*(?:[,;/|\n]|\bor\b|\band/or\b)\s*", re.IGNORECASE)
_CHOOSING = re.compile(r"\bor\b|\s?/\s?|\b(?:perhaps|maybe|possibly)\b", re.IGNORECASE)
_HEDGES = frozenset({"perhaps", "maybe", "possibly", "either", "and", "or", "also", "even"})
#: Words of an item that do not make it a statement.
_PLAIN = ARTICLES | _HEDGES


def candidates(answer: str, words: Sequence[str], core: Sequence[str], row: Row) -> list[str]:
    """What an answer names beside the key words, in a list of which it chooses none.

    Args:
        answer: the answer.
        words: its words, without quantities that are said again in another unit; things of other words do not count.
        core: the key words that decide.
        row: the row; where its reference or its question is a list itself, or the key words, nothing is found.

    Returns:
        The other things, as texts of their words. None where the key words stand outside of such a list too.
    """
    if _is_list(row.reference, core) or "or" in row.words:
        return []
    found: list[str] = []
    for sentence in filter(None, _SENTENCES.split(answer)):
        if not {*core} <= {*loose(sentence)}:
            continue
        others = _others(sentence.rpartition(":")[2], words, core, row)
        if len(others) < (1 if _CHOOSING.search(sentence) else OTHERS):
            return []
        found += others
    return list(dict.fromkeys(found))


def _is_list(text: str, core: Sequence[str]) -> bool:
    """Whether several items of a text have key words."""
    return sum(bool({*core} & {*loose(item)}) for item in _ITEMS.split(text)) > 1


def _others(text: str, words: Sequence[str], core: Sequence[str], row: Row) -> list[str]:
    """The items of a list that stand beside one with the key words; none where no item has them."""
    known = row.prompt.words | {*row.words}
    items = [(item, without_articles(loose(item))) for item in _ITEMS.split(text)]
    if not any({*core} <= {*said} and all(word in known | _PLAIN for word in said if tells(word)) for _, said in items):
        return []
    longest = max(_SHORT, len(core) + _LONGER)
    capital = any(_is_capital(word, row.reference) for word in core)
    found = []
    for place, (item, said) in enumerate(items):
        own = [word for word in said if word not in _PLAIN]
        joins = {word for word in own if word in FUNCTION_WORDS and not (capital and _is_capital(word, item))}
        bare = own and len(own) <= longest and not joins and not {*own} & known and {*own} <= {*words}
        numbers = [any(is_number(word) for word in some) for some in (core, own)]
        alike = place == 0 or text.islower() or (own and capital == _is_capital(own[0], item))
        if bare and numbers[0] == numbers[1] and (alike or numbers[0]):
            found.append(" ".join(own))
    return found


def _is_capital(word: str, text: str) -> bool:
    """Whether a word stands in a text with a capital letter."""
    found = re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)
    return found is not None and found[0][0].isupper()
