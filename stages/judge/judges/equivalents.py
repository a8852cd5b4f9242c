"""An answer in the reference's words, where it says the same in others.

A year as a full date, a rounded number, a quantity that is said again in another unit, a person's last name, yes and
no said as a statement, and the plural of a label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rapidfuzz.distance import Levenshtein

from stages.judge.judges.denials import is_denial
from stages.judge.judges.kinds import tells
from stages.judge.judges.quantities import without_conversions
from stages.judge.judges.rows import TRUTHS, Row, without_articles
from stages.judge.judges.wording import BREAK, FUNCTION_WORDS, NEGATIONS, clauses, is_number, loose

#: A date and a year, as `stages.judge.judges.wording.loose` has them.
_DATE, _YEAR = "date:", re.compile(r"[12]\d{3}")
#: Where a text goes on to explain itself.
EXPLANATION = re.compile(
    r",?\s+(?:because|since|as it is|which is why)\b|,\s+(?:not|but not|instead of)\b|;", re.IGNORECASE
)
#: A statement says yes or no to another if it has this share of its telling words.
SAME_STATEMENT = 0.5

_YES_NO = ("yes", "no")
_PRONOUNS = frozenset({"it", "he", "she", "they", "we", "you", "i", "that", "this", "there"})
#: "It is not.", "They can."
_ELLIPSIS = re.compile(
    rf"(?:{'|'.join(sorted(_PRONOUNS))}) "
    r"(?:is|are|was|were|do|does|did|has|have|can|could|will|would|should|may)(?: not)?"
)
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")

_ABOUT_A_PERSON = re.compile(
    r"\b(?:who|whom|whose|authors?|writers?|novelists?|poets?|playwrights?|composers?|painters?|artists?|sculptors?"
    r"|inventors?|scientists?|physicists?|chemists?|philosophers?|explorers?|presidents?|directors?|founders?)\b",
    re.IGNORECASE,
)
_OF_NAMES = """
da de del della di dos du van von der den la le el al bin ibn
"""
_BEFORE_NAMES = """
mr mrs ms miss dr sir lord lady dame saint president professor king queen
"""
_PARTICLES, _TITLES = frozenset(_OF_NAMES.split()), frozenset(_BEFORE_NAMES.split())
_NAME = re.compile(rf"[A-Z][\w.'-]*(?:\s+(?:(?:{'|'.join(sorted(_PARTICLES))})\s+)*(?:[A-Z]\.|[A-Z][\w'-]*))+")
#: Not a last name: the second, the younger.
_SUFFIXES = frozenset({"ii", "iii", "iv", "vi", "vii", "viii", "jr", "sr"})
_SHORTEST_NAME = 3
_BEFORE = re.compile(r"([^\W\d_][\w.'-]*)(?:\s*(?:,|&|\band\b|\bor\b)\s*|\s+)$")
_BEHIND = re.compile(r"^(?:'s)?(?:\s*(?:,|&|\band\b|\bor\b)\s*|\s+)([^\W\d_][\w'-]*)")


def in_its_words(answer: str, words: Sequence[str], row: Row, core: Iterable[str]) -> list[str]:
    """An answer's words, with those of the reference where it says the same in others.

    Args:
        answer: the answer.
        words: its words, loosely.
        row: the row.
        core: the key words that decide.
    """
    found = without_conversions(_rounded(words, row), row.words)
    found = _years(found, row)
    found = [*found, *_rests_of_names(answer, row, set(core))]
    if row.truth in _YES_NO:
        said = polarity(answer, row)
        found = [word for word in found if word not in _YES_NO] + ([said] if said else [])
    return labels_as_in(found, row)


def _years(words: Sequence[str], row: Row) -> list[str]:
    """An answer's words, in which a full date is its year where the reference has a year and no date."""
    if any(word.startswith(_DATE) for word in row.words) or not any(_YEAR.fullmatch(word) for word in row.words):
        return list(words)
    return [word[len(_DATE) :].partition("-")[0] if word.startswith(_DATE) else word for word in words]


def _rounded(words: Sequence[str], row: Row) -> list[str]:
    """An answer's words, in which a number with more decimals is the reference's that it rounds to: 8.047 is 8.05."""
    theirs = [word for word in row.words if is_number(word) and "." in word]
    digits = {number: len(number.partition(".")[2]) for number in theirs}
    return [
        next(
            (n for n in theirs if is_number(word) and f"{float(word):.{digits[n]}f}" == n and len(word) > len(n)), word
        )
        for word in words
    ]


def labels_as_in(words: Sequence[str], row: Row) -> list[str]:
    """An answer's words, in which the plural or singular of a word is the reference's, if that is in groups (lines)."""
    if "\n" not in row.reference.strip():
        return list(words)
    other = {form: word for word in row.words if tells(word) and not is_number(word) for form in _numbers_of(word)}
    return [word if word in row.words else other.get(word, word) for word in words]


def _numbers_of(word: str) -> set[str]:
    """What may be the plural, and the singular, of a word."""
    found = {f"{word}s", f"{word}es", re.sub("y$", "ies", word)}
    return (
        found | {word[:-1], re.sub("ies$", "y", word), re.sub("es$", "", word)} if word.endswith("s") else found
    ) - {word}


# --- yes and no ---


def polarity(answer: str, row: Row) -> str | None:
    """Whether an answer says yes or no: by this word, or as a statement, by its negation; None where it does neither.

    A statement is that of the reference ("No, 9 is not prime."), by the words that the question does not have where
    there are any ("No, a whale is a mammal."); or that of the question.
    """
    ours = clauses(answer)
    if ours and ours[0] in _YES_NO and (len(ours) == 1 or ours[1] == BREAK or ours[1] in _PRONOUNS):
        return ours[0]
    said = [word for word in ours if word != BREAK]
    if "yes" in said or said[-1:] == ["no"]:
        return "yes" if "yes" in said else "no"
    stated = _statement(answer)
    denied = is_denial(stated, row)
    if _ELLIPSIS.fullmatch(" ".join(stated)):
        return "no" if denied else "yes"
    theirs = _statement(re.sub(r"^\W*(?:yes|no)\b\W*", "", row.reference.strip(), flags=re.IGNORECASE))
    news = {word for word in theirs if tells(word) and word not in row.prompt.words | NEGATIONS}
    if row.truth and (_is_of(stated, theirs, row) and news <= {*stated} if news else _is_about(stated, theirs, row)):
        return row.truth if denied == is_denial(theirs, row) else TRUTHS[row.truth]
    if _is_about(stated, loose(f"{row.instruction} {row.given}"), row):
        return "no" if denied else "yes"
    return None


def _statement(text: str) -> list[str]:
    """The words of a text's first sentence, without an explanation."""
    ends = [found.start() for found in (EXPLANATION.search(text), _SENTENCE_END.search(text)) if found]
    return loose(text[: min(ends)] if ends else text)


def _is_about(stated: Sequence[str], other: Sequence[str], row: Row) -> bool:
    """Whether two statements have most of their telling words in common, and none of these is replaced by another."""
    wanted = {word for word in other if tells(word) and word not in NEGATIONS and not is_number(word)}
    return 0 < len(wanted) * SAME_STATEMENT <= len(wanted & {*stated}) and _is_of(stated, other, row)


def _is_of(stated: Sequence[str], other: Sequence[str], row: Row) -> bool:
    """Whether a statement has no word of its own in the place of a telling word of another."""
    ours, theirs, known = without_articles(stated), without_articles(other), {*row.prompt.words, *row.words}
    replaced = [
        ours[edit.dest_pos]
        for edit in Levenshtein.editops(theirs, ours)
        if edit.tag == "replace" and tells(theirs[edit.src_pos]) and theirs[edit.src_pos] not in ours
    ]
    return not any(tells(word) and word not in known for word in replaced)


# --- names ---


def _rests_of_names(answer: str, row: Row, core: set[str]) -> list[str]:
    """The first parts of a person's name of which the answer has the last one, and no other name beside it."""
    if not _ABOUT_A_PERSON.search(row.instruction):
        return []
    rests = []
    for found in _NAME.finditer(row.reference):
        parts = [part for part in loose(found[0]) if part not in FUNCTION_WORDS]
        if not parts or not {*parts} - _PARTICLES <= core:
            continue
        last = parts[-1]
        if len(last) >= _SHORTEST_NAME and last not in _SUFFIXES and _stands_alone(last, parts, answer, row):
            rests += [part for part in parts[:-1] if part not in loose(answer)]
    return rests


def _stands_alone(last: str, parts: Sequence[str], answer: str, row: Row) -> bool:
    """Whether a last name is in an answer, with nothing of another name directly before or behind it."""
    places = list(re.finditer(rf"\b{re.escape(last)}\b", answer, re.IGNORECASE))
    return bool(places) and not any(
        _is_another_name(answer, found.group(1), parts, row)
        for place in places
        for found in (_foregoing(answer[: place.start()], parts), _BEHIND.search(answer[place.end() :]))
        if found
    )


def _foregoing(text: str, parts: Sequence[str]) -> re.Match[str] | None:
    """The word before a name, without the parts and initials of that name."""
    found = _BEFORE.search(text)
    while found and (_plain(found[1]) in {*parts} | _PARTICLES or _is_initials(found[1], parts)):
        found = _BEFORE.search(text[: found.start()])
    return found


def _is_another_name(answer: str, word: str, parts: Sequence[str], row: Row) -> bool:
    """Whether a word is a name: it is written with a capital letter, or may be, where nothing else is."""
    plain = _plain(word)
    if plain in FUNCTION_WORDS | _TITLES | row.prompt.words | {*parts}:
        return False
    return word[0].isupper() or answer.islower()


def _is_initials(word: str, parts: Sequence[str]) -> bool:
    """Whether a word is made of first letters of a name: "W.", "JK"."""
    letters = word.replace(".", "")
    return letters.isupper() and "".join(part[0] for part in parts[:-1]).startswith(letters.casefold())


def _plain(word: str) -> str:
    return word.strip(".'").casefold()
