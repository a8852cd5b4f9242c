"""Equal and near-equal prompts.

Two prompts are near duplicates if what differs between them does not matter:

1. they are the same but for case, punctuation, white space, articles and words such as "please"; or
2. their rows have the same answer, a rare one, and one word differs by a single character, as a typing error does; or
3. their rows have the same answer, a rare one, and four fifths of the words beyond their templates are the same, in the
   same order, and no number, name, negation or sign differs.

A prompt about capitals, punctuation or spelling is compared as it is. The search compares no row with every other one:
rows meet by equal keys, so that its time grows with the number of words (docs/decisions.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from stages.common.results.split import Example
from stages.split.checks.templates import Templates
from stages.split.checks.words import answer_words, fold, is_about_form, matters, names, prompt_text, words
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
        skeletons: the template of each row's prompt, empty for none.
    """

    equal: list[int]
    near: list[int]
    skeletons: list[str]


def find(rows: Sequence[Example]) -> Duplicates:
    """Find equal and near-equal prompts.

    Args:
        rows: all rows, in the order of the file.
    """
    cased = [words(prompt_text(row)) for row in rows]
    prompts = [fold(found) for found in cased]
    templates = Templates(prompts)
    exact, groups = Groups(len(rows)), Groups(len(rows))
    for same in _meeting((row.instruction, row.input) for row in rows):
        _join(exact, same)
        _join(groups, same)
    for same in _meeting(None if is_about_form(row) else prompt for row, prompt in zip(rows, prompts, strict=True)):
        _join(groups, same)
    for one, other in _with_one_answer(rows, prompts):
        if groups.of(one) == groups.of(other) or is_about_form(rows[one]) or is_about_form(rows[other]):
            continue
        pair = prompts[one], prompts[other]
        if _mistyped(*pair) or _alike(*pair, templates, names(cased[one]) | names(cased[other])):
            groups.join(one, other)
    return Duplicates(
        equal=[exact.of(number) for number in range(len(rows))],
        near=[groups.of(number) for number in range(len(rows))],
        skeletons=[templates.skeleton(prompt) for prompt in prompts],
    )


def _meeting(keys: Iterable[Hashable | None]) -> Iterator[list[int]]:
    """The numbers of the rows with each key that more than one row has; None is no key."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    for number, key in enumerate(keys):
        if key:
            found[key].append(number)
    yield from (numbers for numbers in found.values() if len(numbers) > 1)


def _join(groups: Groups, numbers: Sequence[int]) -> None:
    for other in numbers[1:]:
        groups.join(numbers[0], other)


def _with_one_answer(rows: Sequence[Example], prompts: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, int]]:
    """Pairs of rows with the same answer, which few prompts share."""
    for numbers in _meeting(answer_words(row.output) for row in rows):
        first = list({prompts[number]: number for number in reversed(numbers)}.values())
        if 1 < len(first) <= _RARE:
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
    short, long = sorted((a, b), key=len)
    if len(long) - len(short) > 1 or a == b:
        return False
    start = next((at for at, (one, other) in enumerate(zip(short, long, strict=False)) if one != other), len(short))
    if len(short) < len(long):
        return short[start:] == long[start + 1 :]
    exchanged = short[start : start + 2] == long[start : start + 2][::-1] and short[start + 2 :] == long[start + 2 :]
    return short[start + 1 :] == long[start + 1 :] or exchanged


def _alike(a: tuple[str, ...], b: tuple[str, ...], templates: Templates, named: set[str]) -> bool:
    """Whether most words beyond the template are the same, in the same order, and what differs does not matter.

    Args:
        a: the words of a prompt.
        b: those of another.
        templates: the templates of all prompts.
        named: words of both that are likely names.
    """
    rests = templates.rest(a), templates.rest(b)
    sets = set(rests[0]), set(rests[1])
    both, different = sets[0] & sets[1], sets[0] ^ sets[1]
    if len(both) < _FEWEST or len(both) < _ALIKE * len(sets[0] | sets[1]):
        return False
    in_order = [[word for word in rest if word in both] for rest in rests]
    return in_order[0] == in_order[1] and not any(word in named or matters(word) for word in different)
