"""What an answer denies: a word that it says is not so, near the word or far from it.

"Not Oslo", "Oslo is wrong.", "It is not true that the capital is Oslo", "Many say Oslo, but that is a mistake." An
answer is read in units: what stands between two marks, and between words such as "but" and "because". A unit denies its
words by a negation before them, or by a word such as "wrong" anywhere; one that only says "that is wrong" denies the
unit before it. "No doubt", "not wrong", "not only" and "no one but" deny nothing; "hardly" does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stages.judge.judges.rows import Row
from stages.judge.judges.wording import ARTICLES, BREAK, FUNCTION_WORDS, NEGATIONS, clauses

_REJECT = """
wrong incorrect incorrectly wrongly false falsely untrue mistake mistaken mistakenly error erroneous myth misconception
fallacy lie untruth inaccurate doubt doubtful deny denies rumour
"""
#: Words that say of a statement that it is not so.
REJECTING = frozenset(_REJECT.split())
#: What an answer may deny a statement with behind a negation: "that is not so".
_AFFIRMING = frozenset({"true", "right", "correct", "so", "case", "accurate"})
#: Two words that deny what follows.
_INSTEAD = {("anything", "but"), ("everything", "but"), ("far", "from"), ("rather", "than"), ("instead", "of")}
#: One word that does.
_EXCEPT = "except"
#: Adverbs that do.
_HARDLY = frozenset({"hardly", "scarcely", "barely"})
#: Behind "not" these add, and deny nothing: "not only is Oslo the capital".
_ADDING = frozenset({"only", "just", "merely"})
#: With a rejecting word behind these, nothing is denied: "without doubt", "no mistake".
_NEITHER = NEGATIONS | {"without", "beyond"}
#: "No one but", "nothing except"; so many words may stand between.
_NONE, _ONLY, _BETWEEN = frozenset({"no", "nobody", "none", "nothing"}), frozenset({"but", _EXCEPT}), 2
_CONJOIN = """
but because since so while whereas although though therefore hence thus
"""
#: Where a unit ends, besides at a mark. Not "as", which is more often that of "known as".
_CONJUNCTIONS = frozenset(_CONJOIN.split())
_COPULAS = frozenset({"is", "are", "was", "were"})
#: Words behind "and", up to which a copula shows that a statement begins.
_SUBJECT = 4
#: Words between a word and its negation: "Oslo is not".
_AUXILIARIES = _COPULAS | {
    "do", "does", "did", "has", "have", "can", "could", "will", "would", "should", "may", "must",
}  # fmt: skip
#: What a unit speaks with of the one before.
_POINTING = frozenset({"that", "this", "it", "which", "they", "but", "and"})
#: Telling words of such a unit besides those that reject: "a common mistake".
_BESIDE = 1


def denied(answer: str, core: Sequence[str], row: Row) -> list[str]:
    """Key words of which the answer says the contrary, unless the reference does too.

    Args:
        answer: the answer.
        core: key words, as `stages.judge.judges.wording.loose` has them.
        row: the row. Words of its prompt and reference, such as "false", deny nothing.
    """
    ours, theirs = denied_words(answer, row), denied_words(row.reference, row)
    return [f"not {key}" for key in core if key in ours and key not in theirs]


def denied_words(text: str, row: Row) -> frozenset[str]:
    """The words that a text denies at least once; negations themselves are none of them."""
    rejecting = REJECTING - row.prompt.words - {*row.words}
    units = _units(_without_affirmations(clauses(text), rejecting))
    found: set[str] = set()
    for index, unit in enumerate(units):
        if index and _rejects_the_last(unit, rejecting):
            found |= {*units[index - 1]}
        if rejecting & {*unit}:
            found |= {*unit} - rejecting
        found |= _behind_negations(unit) | _before_negations(unit)
    return frozenset(found - NEGATIONS - {BREAK})


def is_rejected(words: Iterable[str], row: Row) -> bool:
    """Whether words around a form or a sentence that is asked for deny it; those of the prompt and reference do not."""
    return bool({*words} & ((NEGATIONS | REJECTING) - row.prompt.words - {*row.words}))


def is_denial(statement: Sequence[str], row: Row) -> bool:
    """Whether a statement denies something: by a negation, or by "it is wrong that", which a negation turns round."""
    words = [word for word in statement if word not in ARTICLES]
    if "that" in words[1:]:
        frame, rest = words[: words.index("that")], words[words.index("that") + 1 :]
        if (NEGATIONS | (REJECTING - row.prompt.words)) & {*frame}:
            return not NEGATIONS & {*rest}
    return bool(NEGATIONS & {*words})


def _without_affirmations(words: Sequence[str], rejecting: frozenset[str]) -> list[str]:
    """The words without "no doubt" and "no one but", and with "except" for "anything but", "hardly" and the like."""
    found: list[str] = []
    at = 0
    while at < len(words):
        length = _affirmation(words, at, rejecting)
        if length:
            at += length
        elif tuple(words[at : at + 2]) in _INSTEAD:
            found.append(_EXCEPT)
            at += 2
        else:
            found.append(_EXCEPT if words[at] in _HARDLY else words[at])
            at += 1
    return found


def _affirmation(words: Sequence[str], at: int, rejecting: frozenset[str]) -> int:
    """The number of words of an affirmation with a negation in it that begins here; 0 where none does."""
    if words[at] == "not" and words[at + 1 : at + 2] and words[at + 1] in _ADDING:
        return 2
    if words[at] in _NEITHER:
        behind = next((place for place in range(at + 1, len(words)) if words[place] not in ARTICLES | {"any"}), at)
        if words[behind] in rejecting:
            return behind + 1 - at
    if words[at] in _NONE:
        for place in range(at + 1, min(len(words), at + 2 + _BETWEEN)):
            if words[place] == BREAK:
                break
            if words[place] in _ONLY:
                return place + 1 - at
            if tuple(words[place : place + 2]) == ("other", "than"):
                return place + 2 - at
    return 0


def _units(words: Sequence[str]) -> list[list[str]]:
    """The words in units, each of which denies by itself; none is empty."""
    units: list[list[str]] = [[]]
    for place, word in enumerate(words):
        statement = word == "and" and _COPULAS & {*words[place + 1 : place + 1 + _SUBJECT]} and _COPULAS & {*units[-1]}
        if word == BREAK or word in _CONJUNCTIONS or statement:
            units.append([])
        if word != BREAK:
            units[-1].append(word)
    return [unit for unit in units if unit]


def _rejects_the_last(unit: Sequence[str], rejecting: frozenset[str]) -> bool:
    """Whether a unit says nothing but that the one before is not so: "no", "but that is wrong", "which is not true"."""
    if unit in (["no"], ["not"]) or (len(unit) == 1 and unit[0] in rejecting):
        return True
    if unit[0] not in _POINTING:
        return False
    says = rejecting & {*unit} or (NEGATIONS & {*unit} and _AFFIRMING & {*unit})
    beside = {*unit} - rejecting - _AFFIRMING - FUNCTION_WORDS
    return bool(says) and len(beside) <= _BESIDE


def _behind_negations(unit: Sequence[str]) -> set[str]:
    """The words behind the first negation or "except" of a unit."""
    first = next((at for at, word in enumerate(unit) if word in NEGATIONS or word == _EXCEPT), len(unit))
    return {*unit[first + 1 :]}


def _before_negations(unit: Sequence[str]) -> set[str]:
    """The words that an auxiliary and a negation follow: "Oslo is not"."""
    return {
        unit[at]
        for at in range(len(unit) - 2)
        if unit[at + 1] in _AUXILIARIES and unit[at + 2] in NEGATIONS
    }  # fmt: skip
