"""Equal and near-equal prompts.

Two prompts are near duplicates if what differs between them does not matter:

1. they are the same but for case, punctuation, white space, articles, contractions and words such as "please"; or
2. their rows have the same answer, a rare one, and one word differs by a single character, as a typing error does; or
3. their rows have the same answer, a rare one, and four fifths of the words beyond their templates are the same, in the
   same order, and no number, name, acronym, negation or sign differs.

A prompt about capitals, punctuation, spelling or politeness is compared as it is, and one about contractions with its
contractions. The search compares no row with every other one: rows meet by equal keys, so that its time grows with the
number of words (docs/decisions.md).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from stages.common.results.split import Example
from stages.running import counting
from stages.split.checks.templates import Prompts, Templates
from stages.split.checks.words import answer_words, fold, is_about_form, matters, names, words_asked
from stages.split.digests import digest, equal, first_of
from stages.split.groups import Groups

#: An answer that more rows share is a label, such as "positive": it does not show that two prompts ask the same.
_RARE = 5
#: The least share of equal words, and the fewest words beyond the template that are compared.
_ALIKE = 0.8
_FEWEST = 4
#: The shortest word in which a typing error is looked for: shorter ones are often one character apart.
_TYPED = 4
#: The longest prompt, in words, in which a typing error is looked for.
_LONGEST = 100


@dataclass(frozen=True)
class Duplicates:
    """Which rows ask the same.

    Args:
        equal: number of the first row with the same instruction and input, letter by letter, of each row.
        near: number of the first row of its group of equal and near-equal prompts, of each row.
        skeletons: number of the first row with the same template, of each row; -1 for none.
        templates: the templates themselves.
    """

    equal: array[int]
    near: array[int]
    skeletons: array[int]
    templates: Templates


class _Asked:
    """What is known of each prompt, in some 100 bytes: its words, and digests of what makes rows meet.

    Args:
        rows: all rows, in the order of the file.
    """

    def __init__(self, rows: Sequence[Example]) -> None:
        self.prompts = Prompts()
        whole, folded, answers, forms = array("Q"), array("Q"), array("Q"), bytearray()
        for row in counting.told(rows, total=len(rows), what="compare rows"):
            words_of = fold(words_asked(row))
            self.prompts.append(words_of)
            whole.append(digest(row.instruction, row.input))
            folded.append(digest(" ".join(words_of)) if words_of else 0)
            answer = answer_words(row.output)
            answers.append(digest(" ".join(answer)) if answer else 0)
            forms.append(is_about_form(row))
        self.about_form = bytes(forms)
        self.whole, self.folded, self.answers = (
            np.frombuffer(one, dtype=np.uint64) for one in (whole, folded, answers)
        )


def find(rows: Sequence[Example]) -> Duplicates:
    """Find equal and near-equal prompts.

    Args:
        rows: all rows, in the order of the file.
    """
    asked = _Asked(rows)
    templates = Templates(asked.prompts)
    groups = Groups(len(rows))
    for same in equal(asked.whole):
        _join(groups, same)
    for same in equal(np.where(np.frombuffer(asked.about_form, dtype=np.uint8), 0, asked.folded).astype(np.uint64)):
        _join(groups, same)
    for one, other in _with_one_answer(asked):
        if groups.of(one) == groups.of(other) or asked.about_form[one] or asked.about_form[other]:
            continue
        if _mistyped(asked.prompts[one], asked.prompts[other]) or _alike(one, other, templates, rows):
            groups.join(one, other)
    return Duplicates(
        equal=array("q", first_of(asked.whole).tobytes()),
        near=array("q", map(groups.of, range(len(rows)))),
        skeletons=_skeletons(templates, len(rows)),
        templates=templates,
    )


def _skeletons(templates: Templates, rows: int) -> array[int]:
    """For each row, the number of the first row with the same template; -1 where it has none."""
    texts = map(templates.skeleton, range(rows))
    digests = np.asarray(array("Q", (digest(text) if text else 0 for text in texts)))
    return array("q", np.where(digests == 0, -1, first_of(digests)).astype(np.int64).tobytes())


def _join(groups: Groups, numbers: Sequence[int]) -> None:
    for one, other in pairwise(numbers):
        groups.join(one, other)


def _with_one_answer(asked: _Asked) -> Iterator[tuple[int, int]]:
    """Pairs of rows with the same answer, which few prompts share."""
    for numbers in equal(asked.answers):
        first = list({asked.folded[number]: number for number in reversed(numbers)}.values())
        if len(first) <= _RARE:
            yield from combinations(sorted(first), 2)


def _mistyped(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Whether two prompts differ in one word, and in that by one character."""
    if len(a) != len(b) or len(a) > _LONGEST:
        return False
    different = [(one, other) for one, other in zip(a, b, strict=True) if one != other]
    if len(different) != 1:
        return False
    one, other = different[0]
    return min(len(one), len(other)) >= _TYPED and not matters(one) and not matters(other) and one_apart(one, other)


def one_apart(a: str, b: str) -> bool:
    """Whether one character more, one less, another one, or two neighbours exchanged turn a word into the other.

    >>> one_apart("oposite", "opposite"), one_apart("wrod", "word"), one_apart("word", "ward"), one_apart("word", "rod")
    (True, True, True, False)
    """
    if a == b:
        return False
    short, long = sorted((a, b), key=len)
    start = next((at for at, (one, other) in enumerate(zip(short, long, strict=False)) if one != other), len(short))
    if len(short) < len(long):
        return short[start:] == long[start + 1 :]
    exchanged = short[start : start + 2] == long[start : start + 2][::-1] and short[start + 2 :] == long[start + 2 :]
    return short[start + 1 :] == long[start + 1 :] or exchanged


def _alike(one: int, other: int, templates: Templates, rows: Sequence[Example]) -> bool:
    """Whether most words beyond the template are the same, in the same order, and what differs does not matter.

    Args:
        one: the number of a row.
        other: that of another.
        templates: the templates of all prompts.
        rows: all rows.
    """
    rests = templates.rest(one), templates.rest(other)
    sets = set(rests[0]), set(rests[1])
    both, different = sets[0] & sets[1], sets[0] ^ sets[1]
    if len(both) < _FEWEST or len(both) < _ALIKE * len(sets[0] | sets[1]):
        return False
    in_order = [[word for word in rest if word in both] for rest in rests]
    if in_order[0] != in_order[1]:
        return False
    named = names(words_asked(rows[one])) | names(words_asked(rows[other]))
    return not any(word in named or matters(word) for word in different)
