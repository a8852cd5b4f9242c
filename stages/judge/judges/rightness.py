"""Whether an answer is right, by its reference, its prompt and the train rows.

An answer is right if the key words of its reference are there and nothing contradicts them. What these are depends on
the row, and is read off it:

- open: many answers are right (a sentence with a word, a simile, a definition). Only what is certain is judged: an
  answer that is the reference is right, one that is none (a copy, a repetition, far too long) is wrong.
- form: the reference says what the prompt says, in another form (capital letters, a date in figures). The form decides.
- sentence: the reference is the prompt's sentence with changes (into the passive, into the past). The words and their
  order decide.
- order: the reference is made of words of the prompt in another order (sorted, or the greater of two numbers first).
- words: everything else. The words that neither the prompt nor the kind's form of speech has decide, and those of a
  list or sentence from which the reference takes a part.
"""

from __future__ import annotations

from stages.judge.judges.findings import Finding, wrong
from stages.judge.judges.key_words import by_key_words
from stages.judge.judges.open_rows import by_what_is_certain, is_open
from stages.judge.judges.rows import Row, is_copy
from stages.judge.judges.sentences import by_form, by_order, by_sentence, is_form, is_order, is_sentence
from stages.judge.judges.wording import loose


def assess(answer: str, row: Row) -> Finding:
    """Find out whether an answer, which is not empty, is right."""
    words = loose(answer)
    if not words:
        return wrong("no words")
    if is_open(row):
        return by_what_is_certain(answer, words, row)
    if is_form(row):
        return by_form(answer, row)
    if is_copy(words, row):
        return wrong("a copy of the prompt")
    if is_sentence(row):
        return by_sentence(answer, words, row)
    if is_order(row):
        return by_order(words, row)
    return by_key_words(answer, words, row)
