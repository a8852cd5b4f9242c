"""Rows that have many right answers: which they are, and which of them can be judged all the same.

All of it depends on the row alone: on its prompt, its reference and the train rows. So every model is judged on the
same rows, and says "right: n of N" of one N.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from stages.judge.judges.findings import Finding, right, wrong
from stages.judge.judges.key_words import COMMON_KEY
from stages.judge.judges.kinds import OPEN_WORDS, tells, without_named
from stages.judge.judges.rows import Row, is_form_of, without_articles
from stages.judge.judges.sentences import is_sentence
from stages.judge.judges.wording import FUNCTION_WORDS, is_number

#: Points of an answer that fulfils an open task, where that can be seen.
FULFILLED = 80.0
#: The share of an answer that uses the word, but in no sentence.
NO_SENTENCE = 0.5
#: Words of which a sentence is made, at least, and those that an instruction may want to have used, at most.
SENTENCE, WANTED = 3, 2
#: In a kind of which nothing is known, so many telling words of its own make a reference one of many answers.
OPEN_ALONE = 5
#: An answer to an open task may be so many times as long as the longest of its kind or its reference.
FAR_TOO_LONG = 3.0

#: What instructions with many right answers ask for, in so many words.
_OPEN = re.compile(
    r"\b(synonyms?|an antonym|another word|means the same|rhymes?|simile|metaphor|personification|idiom|clich\S*"
    r"|jokes?|anecdote|story|poem|haiku|paragraph|slogan|describe"
    r"|an example|examples|own words|paraphrase|rephrase|reword|summari[sz]e|defin(e|ition)"
    r"|more (formal|polite|casual|concise|positive|engaging)|formally|informal sentence"
    r"|(in)?formal (english|language|way|tone|manner)"
    r"|in a (\w+ )?sentence|a (\w+ )?sentence (with|using|that|containing|about)"
    r"|(list|name|give|provide|suggest|write|identify|mention) (two|three|four|five|six|some|several|a few|\d+))\b",
    re.IGNORECASE,
)
_IN_A_SENTENCE = re.compile(r"\bsentence\b", re.IGNORECASE)
_USE_A_WORD = re.compile(r"\bwords?\b|\buse\b|\busing\b", re.IGNORECASE)


def is_open(row: Row) -> bool:
    """Whether a row has many right answers of which nothing can be said: its instruction says so, or its kind does."""
    return _has_many_answers(row) and not wanted(row)


def is_use(row: Row) -> bool:
    """Whether a row wants a sentence with given words, which can be seen whatever else the sentence says."""
    return _has_many_answers(row) and bool(wanted(row))


def _has_many_answers(row: Row) -> bool:
    if row.corpus.is_label(row.words) or row.truth or (row.prompt.listed and row.picked):
        return False
    if _OPEN.search(without_named(row.instruction)):
        return True
    if is_sentence(row) or row.prompt.listed:
        return False
    if row.kind.form or row.kind.answers:
        return row.kind.is_open and len(_own_words(row)) >= OPEN_WORDS
    return len({word for word in row.fresh if not is_number(word)}) >= OPEN_ALONE


def _own_words(row: Row) -> set[str]:
    """The telling words of the reference's own that are not much more common than the rarest."""
    weights = {word: row.corpus.rarity(word) for word in row.fresh}
    return {word for word, weight in weights.items() if weight >= COMMON_KEY * max(weights.values())}


def by_use(answer: str, words: Sequence[str], row: Row) -> Finding:
    """Judge a sentence that is to use given words: by these words, and by whether it is one.

    Args:
        answer: the answer.
        words: its words, loosely.
        row: a row of which `wanted` is not empty.
    """
    if without_articles(words) == without_articles(row.words):
        return right("the reference in other writing")
    if {word for word in words if tells(word)} <= row.prompt.words:
        return wrong("nothing but words of the prompt")
    if missing := [word for word in wanted(row) if not any(is_form_of(one, word) for one in words)]:
        return wrong(f"without the word {', '.join(missing)}")
    if len(words) > FAR_TOO_LONG * max(row.kind.longest, len(row.words)):
        return wrong("far too long")
    if len(words) < SENTENCE or not _is_written_as_sentence(answer):
        return wrong("the word, but no sentence", NO_SENTENCE)
    return right(f"a sentence with {', '.join(wanted(row))}", FULFILLED)


def wanted(row: Row) -> list[str]:
    """The words that an instruction wants used in a sentence; none where it wants something else."""
    if not (_IN_A_SENTENCE.search(row.instruction) and _USE_A_WORD.search(row.instruction)):
        return []
    given = row.prompt.named or row.prompt.given
    return sorted(set(given) - FUNCTION_WORDS) if len(given) <= WANTED else []


def _is_written_as_sentence(answer: str) -> bool:
    """Whether an answer begins with a capital letter and ends with a mark."""
    plain = answer.strip().strip("\"'")
    return plain[:1].isupper() and plain[-1:] in {".", "!", "?"}
