"""Other names and units beside the key words: an answer that says "Bergen, once Oslo" does not say Oslo.

A name that neither the prompt nor the reference has contradicts a key word that is a name, if it stands directly
behind it or divided from it by "and"; if it stands before it and a comma or a bracket; if the answer corrects itself
with it; or if a clause says "it is" of it. A clause that only goes on about the key word contradicts nothing: "Oslo,
which lies on a fjord". So does one name behind a comma, which may be the country: "Paris, France".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from stages.judge.judges.quantities import quantities
from stages.judge.judges.rows import Row, is_form_of
from stages.judge.judges.wording import FUNCTION_WORDS, is_number

_OPEN = """
certainly sure surely yes well ok okay hello hi great ah oh hmm answer indeed of today here there
"""
#: With a capital letter at the beginning of a sentence these are no names, nor are adverbs: "Certainly, Oslo."
_OPENERS = frozenset(_OPEN.split()) | FUNCTION_WORDS
_PARTS = """
city town village river lake sea ocean mountain mount island desert bay dc esq jr sr sir miss mrs mr dr
"""
#: Parts of a name, which make no other of it: "Oslo City".
_OF_A_NAME = frozenset(_PARTS.split())
#: Years before the common era.
_ERAS = frozenset({"bc", "bce"})
#: Units that a bare number may have without being another quantity: an age is one of years.
_OF_TIME = frozenset({"year", "month", "week", "day", "hour", "minute", "second"})
#: An answer of so many words, all of them without capital letters, may be names and nothing else: "oslo and bergen".
_FEW = 4

_WORD = r"([^\W\d_][\w'’-]*)"
_FORMERLY = r"(?:(?:once|formerly|previously|originally|earlier|and|or)\s+)?"
_BEFORE = re.compile(rf"{_WORD}\s*(?:[,(/&]|\band\b|\s-)\s*{_FORMERLY}$", re.IGNORECASE)
_BEHIND = re.compile(rf"^(?:,? *(?:\band\b|&) +| +){_WORD}(?=(\s+\S+)?)", re.IGNORECASE)
_CORRECTED = re.compile(
    rf"\b(?:sorry|correction|wait|i mean|i meant|rather|make that)\b[\s,:-]+(?:it is\s+|i mean\s+)?{_WORD}",
    re.IGNORECASE,
)
_IS = re.compile(rf"\b(\w+)\s+(?:is|was|are)\s+(?:(?:now|really|actually|in fact)\s+)?{_WORD}\s*(?=[.,;:!?)(]|$)", re.I)
_LIES = r"\s+(?:is|lies|was)\s+(?:(?:a|an|the)\s+(?:[a-z]+\s+){{1,2}})?(?:in|of)\s+(?:the\s+)?{word}"
_SUBJECTS = frozenset({"it", "that", "this", "answer", "which"})


def other_names(answer: str, words: Sequence[str], core: Sequence[str], row: Row) -> list[str]:
    """Names that an answer gives in the place of the key words, or beside them as one more; in their order.

    Args:
        answer: the answer.
        words: its words in those of the reference. Without all names among the key words it is wrong anyway, and
            nothing is found: half of a name is no other one.
        core: the key words that decide. If none is a name, that is with a capital letter in the reference, nothing is
            found, nor where the reference names several with "or".
        row: the row. Words of its prompt and reference are no other names.
    """
    keys = [key for key in core if _is_name_in(row.reference, key)]
    if not keys or not {*keys} <= {*words} or "or" in row.words or answer.isupper():
        return []
    key = "|".join(re.escape(one) for one in sorted(keys, key=len, reverse=True))
    runs = list(re.finditer(rf"\b(?:{key})(?:\s+(?:{key}))*\b", answer, re.IGNORECASE))
    low = answer.islower() and len(answer.split()) <= _FEW
    found: list[tuple[int, str]] = []
    for run in runs:
        sentence = re.split(r"[.!?]\s", answer[: run.start()])[-1]
        before, behind = _BEFORE.search(sentence), _BEHIND.search(answer[run.end() :])
        if before and _is_other(before[1], row, low=low, first=not sentence[: before.start()].strip()):
            found.append((run.start(), before[1]))
        if behind and _is_other(behind[1], row, low=low) and not _goes_on(behind):
            found.append((run.end(), behind[1]))
        found += _elsewhere(answer, run, row)
    if runs:
        found += [(one.start(), one[1]) for one in _CORRECTED.finditer(answer) if _is_other(one[1], row)]
        found += list(_said_to_be(answer, row))
    return list(dict.fromkeys(word.casefold() for _, word in sorted(found)))


def other_units(words: Sequence[str], core: Sequence[str], row: Row) -> list[str]:
    """Units and eras behind key numbers that have none in the reference, and that the prompt does not ask for.

    Args:
        words: an answer's words, loosely.
        core: the key words that decide.
        row: the row.
    """
    known = row.prompt.words | {*row.words} | _OF_TIME
    units = [f"{one.number} {one.unit}" for one in quantities(words) if one.number in core and one.unit not in known]
    behind = pairwise(words)
    eras = [f"{key} {era}" for key, era in behind if key in core and is_number(key) and era in _ERAS - {*row.words}]
    return [*units, *eras]


def other_forms(words: Sequence[str], core: Sequence[str], row: Row) -> list[str]:
    """Words directly beside a key word that are other forms of what is asked about: "mouses" beside "mice"."""
    given = {word for word in (*row.prompt.named, *row.prompt.given) if word not in FUNCTION_WORDS}
    known = row.prompt.words | {*row.words}
    pairs = [*pairwise(words), *zip(words[1:], words, strict=False)]
    return [
        word
        for key, word in pairs
        if key in core and word not in known and any(is_form_of(word, one) for one in given) and not is_number(word)
    ]


def _is_name_in(reference: str, word: str) -> bool:
    found = re.search(rf"\b{re.escape(word)}\b", reference, re.IGNORECASE)
    return found is not None and found[0][0].isupper() and not found[0].isdigit()


def _is_other(word: str, row: Row, *, low: bool = False, first: bool = False) -> bool:
    """Whether a word is a name of something else.

    Args:
        word: the word, as it is written.
        row: the row.
        low: whether a name may be written without a capital letter.
        first: whether the word begins a sentence, with a capital letter whatever it is.
    """
    plain = re.sub(r"['’]s$", "", word.casefold())
    if plain in row.prompt.words | {*row.words} | FUNCTION_WORDS | _OF_A_NAME:
        return False
    if (first or low) and (plain in _OPENERS or plain.endswith("ly")):
        return False
    return low or word[0].isupper()


def _goes_on(behind: re.Match[str]) -> bool:
    """Whether "and Bergen" begins a clause, such as "and Bergen is smaller"."""
    following = (behind[2] or "").strip()
    return "and" in behind[0].casefold().split() and following[:1].islower() and following not in ("and", "or")


def _elsewhere(answer: str, run: re.Match[str], row: Row) -> Iterator[tuple[int, str]]:
    """Where a sentence says that the key words are in another place: "Oslo is a city in Sweden"."""
    names = {word for word in (*row.prompt.named, *row.prompt.given) if word not in FUNCTION_WORDS}
    found = re.match(_LIES.format(word=_WORD), answer[run.end() :])
    if found and names and _is_other(found[1], row):
        sentence = re.split(r"[.!?;](?:\s|$)", answer[run.start() :])[0].casefold()
        if not any(name in sentence for name in names):
            yield run.end(), found[1]


def _said_to_be(answer: str, row: Row) -> Iterator[tuple[int, str]]:
    """What a clause says that "it is", or that the thing asked for is: "yet it is Bergen"."""
    subjects = _SUBJECTS | row.prompt.words - FUNCTION_WORDS
    for found in _IS.finditer(answer):
        if found[1].casefold() in subjects and _is_other(found[2], row):
            yield found.start(), found[2]
