"""What an answer denies: a word that it says is not so, near the word or far from it.

"Not Oslo", "Oslo is wrong.", "It is not true that the capital is Oslo", "Many say Oslo, but that is a mistake." An
answer is read in units: what stands between two marks, and between words such as "but" and "because". A unit denies its
words by a negation before them, or by a word such as "wrong" anywhere; one that only says "that is wrong" denies the
unit before it. "No doubt", "not wrong", "not only" and "no one but" deny nothing; "hardly" does. So do a question mark
behind a word, "Oslo?", and what was so only once: "Oslo was once the capital, before Bergen took over". "Yes" and "no"
are denied by the clause behind them: "No, 21 is prime".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from stages.judge.judges.kinds import tells
from stages.judge.judges.rows import TRUTHS, Row, is_form_of
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
#: What it speaks with of what somebody thinks, and the words that then deny: "I doubt it", "I do not think so".
_THINKING, _DOUBTING = frozenset({"i", "we"}), frozenset({"doubt", "deny"})
#: Between these a statement is one of another time: "was once the capital, before".
_ONCE, _UNTIL = "once", frozenset({"before", "until", "till"})
#: Verbs of a statement behind "yes" and "no", and the telling words that make one without such a verb.
_VERBS, _STATING = _AUXILIARIES | {"had", "am"}, 2
#: Telling words of such a unit besides those that reject: "a common mistake".
_BESIDE = 1


def denied(answer: str, core: Sequence[str], row: Row) -> list[str]:
    """Key words of which the answer says the contrary, unless the reference does too.

    Args:
        answer: the answer.
        core: key words, as `stages.judge.judges.wording.loose` has them.
        row: the row. Words of its prompt and reference, such as "false", deny nothing.
    """
    ours = denied_words(answer, row) | _questioned(answer, core, row)
    theirs = denied_words(row.reference, row)
    found = [key for key in core if key in ours and key not in theirs]
    if row.truth in core and row.truth not in found and _turns_round(answer, row):
        found.append(str(row.truth))
    return [f"not {key}" for key in found]


def denied_words(text: str, row: Row) -> frozenset[str]:
    """The words that a text denies at least once; negations themselves are none of them."""
    rejecting = REJECTING - row.prompt.words - {*row.words}
    words = clauses(text)
    units = _units(_without_affirmations(words, rejecting))
    found = _so_only_once(words, row)
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
    if unit[0] in _THINKING:
        return bool(_DOUBTING & rejecting & {*unit} or (NEGATIONS & {*unit} and "so" in unit))
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


def _questioned(answer: str, core: Sequence[str], row: Row) -> frozenset[str]:
    """Key words that an answer only asks about: a question mark behind each, and no "yes" behind that."""
    if "?" in row.reference:
        return frozenset()
    parts = re.split(r"(\?)(?=[\s\"'”’)*]|$)", answer)
    asked, said = set[str](), set[str]()
    for place in range(0, len(parts), 2):
        words = [word for word in clauses(parts[place]) if word != BREAK]
        is_asked = place + 1 < len(parts) and not re.match(
            r"\W*(?:yes|certainly|indeed|correct)\b", parts[place + 2], re.I
        )
        if is_asked and words and words[-1] in core:
            # Only what the last sentence says is asked: "It is Oslo. Or Bergen?"
            question = {*clauses(re.split(r"[.!]\s", parts[place])[-1])}
            asked |= question
            said |= {*words} - question
        else:
            said |= {*words}
    return frozenset(asked - said)


def _so_only_once(words: Sequence[str], row: Row) -> set[str]:
    """Words of which a text says that they were once what is asked about, up to something else."""
    known = row.prompt.words | {*row.words}
    if known & {_ONCE, "was", "were"}:
        return set()
    found: set[str] = set()
    for at in (place for place in range(1, len(words)) if words[place] == _ONCE and words[place - 1] in _COPULAS):
        until = next((place for place in range(at, len(words)) if words[place] in _UNTIL), at)
        between = words[at + 1 : until]
        if between[-1:] == [BREAK]:
            between = between[:-1]
        if BREAK not in between and any(tells(word) and word in row.prompt.words for word in between):
            start = max((place + 1 for place in range(at) if words[place] == BREAK), default=0)
            found |= {*words[start : at - 1]}
    return found


def _turns_round(answer: str, row: Row) -> bool:
    """Whether an answer of "yes" or "no" says the contrary behind it: "No, 21 is prime", "Yes and no".

    The clause counts if it says nothing but what is asked, in its order, and the reference has no such clause itself:
    "No, 9 is greater than 7" and "No, it is composite" say something else.
    """
    if row.truth not in ("yes", "no") or "or" in row.words or NEGATIONS & row.prompt.asked:
        return False
    ours, theirs = _behind_the_truth(answer, row), _behind_the_truth(row.reference, row)
    if ours[:2] == ["and", TRUTHS[row.truth]]:
        return True
    return _affirms(ours, row) is (row.truth == "no") and _affirms(theirs, row) is not (row.truth == "no")


def _behind_the_truth(text: str, row: Row) -> list[str]:
    """The words behind the "yes" or "no" that a text begins with, up to the next mark but one; none elsewhere."""
    words = clauses(text)
    if words[:1] != [row.truth]:
        return []
    units = _units(_without_affirmations(words[1:], REJECTING))
    return units[0] if units else []


def _affirms(clause: Sequence[str], row: Row) -> bool | None:
    """Whether a clause affirms what a row asks; False: it denies that; None: it says something else, or nothing."""
    asked = clauses(f"{row.instruction} {row.given}")
    telling = [word for word in clause if tells(word) and word not in NEGATIONS]
    if not _VERBS & {*clause} and len(telling) < _STATING:
        return None
    place = 0
    for word in telling:
        place = next((at + 1 for at in range(place, len(asked)) if is_form_of(word, asked[at])), 0)
        if not place:
            return None
    return not NEGATIONS & {*clause}
