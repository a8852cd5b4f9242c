"""Answers whose wording or order decides: another form of what is given, a changed sentence, a sorted list."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from stages.judge.judges.denials import is_rejected
from stages.judge.judges.findings import Finding, right, some, wrong
from stages.judge.judges.kinds import tells
from stages.judge.judges.rows import Row, contains, is_form_of, without_articles
from stages.judge.judges.wording import BREAK, FUNCTION_WORDS, clauses, is_number, loose, strict

#: A sentence is the prompt's with changes if at least so many words, and this share of either, are in both, and a part
#: of the prompt's if that share of the reference's words are.
SENTENCE_WORDS, SENTENCE_SHARE, PART_SHARE = 2, 0.4, 0.6
#: Words of an answer around the reference's that are taken for an introduction.
FRAMING = 8
#: Telling words of a form of speech in which an answer may say a form that is asked for.
FORM_WORDS = 2

#: What stands between a sentence and its introduction.
_FRAMES = frozenset({BREAK, "is", "be", "becomes"})
_COPULAS = frozenset({"is", "are", "was", "were"})
#: A sentence in quotes, or behind a colon.
_GIVEN_SENTENCE = re.compile(r"(?<!\w)[\"'](.+)[\"'](?!\w)|:\s+(\S.+)$", re.DOTALL)


# --- form ---


def is_form(row: Row) -> bool:
    """Whether the reference only writes in another way what is given."""
    given = without_articles(row.prompt.given)
    if row.fresh or row.labels or not given or not contains(row.taken, given):
        return False
    return bool(_written_otherwise(row))


def by_form(answer: str, row: Row) -> Finding:
    """Judge an answer by the form in which it says what is given."""
    ours, theirs = strict(answer), strict(row.reference)
    if contains(ours, theirs) and len(ours) <= len(theirs) + FRAMING and not _is_denied_form(answer, row):
        return right("in the form that is asked for")
    keys = _written_otherwise(row)
    there = [word for word in keys if word in ours]
    same = loose(answer) == list(row.words) or len(row.form - FUNCTION_WORDS) >= FORM_WORDS
    if len(there) == len(keys) and same:
        return right(f"key words: {some(keys)}")
    share = Levenshtein.normalized_similarity(ours, theirs) * len(there) / len(keys)
    return wrong(f"not in the form that is asked for: {len(there)} of {len(keys)} words are", share)


def _is_denied_form(answer: str, row: Row) -> bool:
    """Whether an answer says of a form that it is not the one: "It is not 2021-03-04"."""
    return is_rejected(loose(answer), row)


def _written_otherwise(row: Row) -> list[str]:
    """Words of the reference, as they are written, that are written otherwise in the prompt."""
    there = {*strict(row.instruction), *strict(row.given)}
    form = {word.casefold() for word in row.form}
    written = strict(row.reference)
    begins = {written[0]} if written and written[0].casefold() in there and not row.given.strip() else set()
    return [word for word in written if word not in there and word.casefold() not in form and word not in begins]


# --- sentence ---


def is_sentence(row: Row) -> bool:
    """Whether the reference is the given sentence, or a part of it, with changes."""
    given, words = without_articles(row.prompt.given), _said(row)
    if row.prompt.listed or row.truth or any(is_number(word) for word in row.fresh) or len(given) <= SENTENCE_WORDS:
        return False
    named = [without_articles(piece) for piece in row.prompt.pieces if len(piece) > 1]
    if row.fresh and named and all(contains(words, piece) for piece in named):  # it is named, and something said of it
        return False
    kept = [word for word in given if any(is_form_of(other, word) for other in words)]
    back = [word for word in words if any(is_form_of(word, other) for other in given)]
    if min(len(kept), len(back)) < SENTENCE_WORDS:
        return False
    changed = len(kept) >= SENTENCE_SHARE * len(given) and len(back) >= SENTENCE_SHARE * len(words)
    return changed or (len(words) > SENTENCE_WORDS and len(back) >= PART_SHARE * len(words))


def by_sentence(answer: str, words: Sequence[str], row: Row) -> Finding:
    """Judge an answer by the words of the reference's sentence and their order.

    A sentence that is no nearer to the reference than the given one has only the share of what both have.
    """
    ours, theirs = without_articles(words), _said(row)
    if len(ours) <= len(theirs) + FRAMING and _stands_by_itself(theirs, answer, row):
        return right("the sentence of the reference")
    if (adverb := _moved_adverb(ours, theirs)) is not None:
        return right(f"the sentence of the reference, with {adverb} elsewhere")
    keys = set(row.fresh)
    if keys and keys <= set(ours) and len(ours) <= len(keys) + 1 and not set(ours) & set(row.prompt.given):
        return right(f"key words: {some(sorted(keys))}")
    likeness = Levenshtein.normalized_similarity(ours, theirs)
    copied = Levenshtein.normalized_similarity(without_articles(row.prompt.given), theirs)
    gained = max(0.0, (likeness - copied) / (1 - copied)) if copied < 1 else 0.0
    return wrong(f"{100 * likeness:.0f} % of the words in their places", (likeness**2 + gained) / 2)


def _stands_by_itself(sentence: Sequence[str], answer: str, row: Row) -> bool:
    """Whether an answer has a sentence without a word more in it: what is around it introduces it, or is another."""
    marked = without_articles(clauses(answer))
    places = [place for place, word in enumerate(marked) if word != BREAK]
    said = [marked[place] for place in places]
    for start in range(len(said) - len(sentence) + 1):
        if said[start : start + len(sentence)] != list(sentence):
            continue
        before, behind = _without_no(marked[: places[start]]), marked[places[start + len(sentence) - 1] + 1 :]
        if is_rejected(before, row) or is_rejected(_clause(behind), row):
            continue  # "The passive is not: ..."
        introduced = not before or before[-1] in _FRAMES or bool({*before} & (row.prompt.asked - FUNCTION_WORDS))
        if introduced and (not behind or behind[0] in _FRAMES):
            return True
    return False


def _without_no(before: Sequence[str]) -> list[str]:
    """What stands before a sentence without a "No," at its begin, which denies what is given and not the sentence."""
    return list(before[2:] if [*before[:2]] == ["no", BREAK] else before)


def _clause(behind: Sequence[str]) -> list[str]:
    """What is said of a sentence behind it, up to the next mark; a mark at its end belongs to the sentence."""
    words = list(behind[1:] if behind[:1] == [BREAK] else behind)
    return words[: words.index(BREAK)] if BREAK in words else words


def _moved_adverb(ours: Sequence[str], theirs: Sequence[str]) -> str | None:
    """The one word in -ly that stands elsewhere in a sentence, if all else is in the same order."""
    adverbs = [word for word in theirs if word.endswith("ly") and word != "only"]
    if len(adverbs) != 1 or ours.count(adverbs[0]) != 1 or list(ours) == list(theirs):
        return None
    adverb = adverbs[0]
    return adverb if [w for w in ours if w != adverb] == [w for w in theirs if w != adverb] else None


def _said(row: Row) -> list[str]:
    """The sentence that the reference gives, without an introduction: "The corrected sentence is: 'It is late.'"."""
    for found in _GIVEN_SENTENCE.finditer(row.reference):
        words = without_articles(loose(found[1] or found[2]))
        if len(words) > SENTENCE_WORDS:
            return words
    return without_articles(row.words)


# --- order ---


def is_order(row: Row) -> bool:
    """Whether the reference has nothing but words of the prompt, all of them, in an order of its own."""
    if row.fresh or row.labels or len(set(row.taken)) < 2 or "\n" in row.reference.strip():
        return False
    return {word for word in row.prompt.given if tells(word)} <= set(row.words)


def by_order(words: Sequence[str], row: Row) -> Finding:
    """Judge an answer by the order of the given words; of two, "21 is greater than 12", the first is enough."""
    known, theirs = set(row.taken), row.taken
    ours = [word for word in words if word in known]
    foreign = [word for word in words if is_number(word) and word not in row.prompt.words] or _compared(words, row)
    first = len(known) == len(theirs) == 2 and ours == theirs[:1] and len(row.words) > 2
    if (ours == theirs or first) and not foreign and not is_rejected(words, row):
        return right(f"in order: {some(ours)}")
    likeness = Levenshtein.normalized_similarity(ours, theirs) if ours else 0.0
    return wrong(f"{100 * likeness:.0f} % in order", likeness**2)


def _compared(words: Sequence[str], row: Row) -> list[str]:
    """Numbers that are compared and only stand in the question's own words: the 2 of "these two numbers"."""
    asked = {word for word in row.prompt.asked if is_number(word)} - {*row.prompt.given, *row.prompt.named}
    around = zip(["", *words], words, [*words[1:], ""], strict=False)
    return [word for before, word, behind in around if word in asked and (before == "than" or behind in _COPULAS)]
