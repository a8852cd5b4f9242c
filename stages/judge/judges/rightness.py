"""Whether an answer is right, by its reference, its prompt and the train rows.

An answer is right if the key words of its reference are there and nothing contradicts them. What these are depends on
the row, and is read off it:

- open: many answers are right (a synonym, a simile, a definition). No answer to it is judged, whatever it says.
- use: a sentence with a given word is wanted. The word decides, and that it is a sentence.
- form: the reference says what the prompt says, in another form (capital letters, a date in figures). The form decides.
- sentence: the reference is the prompt's sentence with changes (into the passive, into the past). The words and their
  order decide.
- order: the reference is made of words of the prompt in another order (sorted, or the greater of two numbers first).
- words: everything else. The words that neither the prompt nor the kind's form of speech has decide, and those of a
  list or sentence from which the reference takes a part.
"""

from __future__ import annotations

from stages.judge.judges.findings import Finding, right, wrong
from stages.judge.judges.key_words import by_key_words
from stages.judge.judges.open_rows import by_use, is_open, is_use
from stages.judge.judges.rows import Row, is_copy
from stages.judge.judges.sentences import by_form, by_order, by_sentence, is_form, is_order, is_sentence
from stages.judge.judges.wording import loose, repeats

#: What is found of every answer to an open row: it depends on the row alone.
OPEN = Finding(None, None, "many answers are right: not for this judge")


def assess(answer: str, row: Row) -> Finding:
    """Find out whether an answer is right; of an open row nothing is found, not even of the reference itself.

    Args:
        answer: the answer, which may be empty.
        row: the row.
    """
    if is_open(row):
        return OPEN
    if answer.strip() == row.reference.strip():
        return right("exact match")
    if not answer.strip():
        return wrong("empty answer")
    words = loose(answer)
    if not words:
        return wrong("no words")
    if repeats(words) and not repeats(row.words):
        return wrong("it repeats itself")
    return _by_its_kind(answer, words, row)


def _by_its_kind(answer: str, words: list[str], row: Row) -> Finding:
    if is_use(row):
        return by_use(answer, words, row)
    if is_form(row):
        return by_form(answer, row)
    if is_copy(words, row):
        return wrong("a copy of the prompt")
    if is_sentence(row):
        return by_sentence(answer, words, row)
    if is_order(row):
        return by_order(words, row)
    return by_key_words(answer, words, row)
