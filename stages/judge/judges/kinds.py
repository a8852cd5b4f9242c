"""What the train rows tell of a test row: which words are rare, what its kind shares, and how it may be answered.

Rows are of one kind when their instructions share the words that are not the row's own: "What is the capital of Peru?"
and "What is the capital of Oslo?". Of a kind with enough rows the outputs show which words are a mere form of speech
(`Kind.form`), which are answers to other rows (`Kind.answers`), and whether a row has one answer or many
(`Kind.is_open`).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from statistics import median

from stages.common.results.split import Example
from stages.judge.judges.wording import FUNCTION_WORDS, NEGATIONS, UNITS, is_number, loose

#: Instructions are of one kind from this likeness on: the weight of the words that both have, of all that either has.
LEAST_LIKENESS = 0.6
#: So many train rows make a kind; from fewer nothing is concluded.
LEAST_ROWS = 5
#: A word in this share of a kind's outputs is a form of speech.
COMMON = 0.8
#: Words of the shortest and of the longest opening that outputs are seen to share.
OPENING, LONGEST_OPENING = 2, 6
#: An output that as many train rows have is a label, such as a refusal: nothing else is right, however long it is.
LABEL = 2
#: A kind can be answered in many ways if its outputs take up the words that are given, and say so many words of their
#: own that no other output says: the median over the kind. Where all outputs speak in one form, with several words that
#: tell something, it takes more.
OPEN_WORDS, OPEN_WORDS_IN_FORM, FORM_WORDS = 2, 4, 2

_NAMED = re.compile(
    r"(?<!\w)'([^']+)'(?!\w)|\"([^\"]+)\"|(?<=[a-z]): (.+)$"
    r"|\b(\d{4}-\d\d-\d\d|\d\d?/\d\d?/\d{4}|\d\d? [A-Z][a-z]+ \d{4}|[A-Z][a-z]+ \d\d?, \d{4}|\d[\d.,]*)\b"
    r"|(?<=[a-z,] )([A-Z][a-z]\w*)"
)


@dataclass(frozen=True)
class Prompt:
    """The words of a row's instruction and input, loosely.

    Attributes:
        asked: words of the instruction that are not the row's own.
        named: words that the instruction names: in quotes, behind a colon, numbers and names.
        given: words of the input; of the instruction where there is no input.
        pieces: the same, each text that is given by itself.
        listed: whether what is given is a list with commas.
    """

    asked: frozenset[str]
    named: tuple[str, ...]
    given: tuple[str, ...]
    pieces: tuple[tuple[str, ...], ...]
    listed: bool

    @cached_property
    def words(self) -> frozenset[str]:
        """All words, those of units by their own name too."""
        every = self.asked | {*self.named, *self.given}
        return every | {UNITS[word] for word in every if word in UNITS}


@dataclass(frozen=True)
class Kind:
    """What the outputs of the train rows of one kind have in common.

    Attributes:
        rows: number of these rows.
        form: words of most outputs.
        answers: telling words of each row's output that stand neither in its input nor in the form.
        choices: words that instructions of this kind offer and only some of their outputs take: odd, even.
        is_open: whether such rows can be answered in many ways, as far as the outputs show it.
        longest: words of the longest output.
        categories: the categories of these rows.
    """

    rows: int = 0
    form: frozenset[str] = frozenset()
    answers: frozenset[frozenset[str]] = frozenset()
    choices: frozenset[str] = frozenset()
    is_open: bool = False
    longest: int = 0
    categories: frozenset[str] = frozenset()


@dataclass
class Opening:
    """The first words of several outputs.

    Attributes:
        following: how often each word comes next.
        categories: the categories of the rows.
    """

    following: Counter[str] = field(default_factory=Counter)
    categories: set[str] = field(default_factory=set)

    @property
    def is_shared(self) -> bool:
        """Whether enough outputs begin so, and go on in several ways."""
        return self.following.total() >= LEAST_ROWS and len(self.following) > 1

    def leads_to(self, word: str) -> bool:
        """Whether a word may come next: one that does in an output, and any where the outputs show no bounds.

        They do where most of them go on with a number, or each of them with a word that others go on with too.
        """
        if word in self.following:
            return True
        numbers = sum(count for one, count in self.following.items() if is_number(one))
        if numbers >= COMMON * self.following.total():
            return is_number(word)
        return min(self.following.values()) < LABEL


def read_prompt(instruction: str, given: str) -> Prompt:
    """Tell the words that an instruction names from those that it asks with."""
    pieces = [next(filter(None, found.groups())) for found in _NAMED.finditer(instruction)]
    asked = frozenset(loose(without_named(instruction)))
    named = tuple(tuple(loose(piece)) for piece in pieces)
    own = (tuple(loose(given)),) if given.strip() else named
    listed = (given if given.strip() else ". ".join(pieces)).count(",") >= 2
    return Prompt(asked, tuple(chain.from_iterable(named)), tuple(chain.from_iterable(own)), own, listed)


def without_named(instruction: str) -> str:
    """An instruction without the words that it names."""
    return _NAMED.sub(" ", instruction)


class Corpus:
    """The train rows.

    Args:
        rows: the train rows; none of them tells nothing, and every word is then as rare as any other.
    """

    def __init__(self, rows: Iterable[Example]) -> None:
        texts = [(read_prompt(row.instruction, row.input), tuple(loose(row.output)), row.category) for row in rows]
        self._rows = [(prompt, output) for prompt, output, _ in texts]
        self._categories = [category for _, _, category in texts]
        self._in_outputs = Counter(word for _, output in self._rows for word in set(output))
        self._in_instructions = Counter(word for prompt, _ in self._rows for word in prompt.asked)
        self._outputs = Counter(output for _, output in self._rows)
        self._by_asked: dict[frozenset[str], list[int]] = {}
        for number, (prompt, _) in enumerate(self._rows):
            self._by_asked.setdefault(prompt.asked, []).append(number)
        self._openings: dict[tuple[str, ...], Opening] = {}
        for _, output, category in texts:
            for length in range(OPENING, min(len(output), LONGEST_OPENING + 1)):
                opening = self._openings.setdefault(output[:length], Opening())
                opening.following[output[length]] += 1
                opening.categories.add(category)
        self._kinds: dict[frozenset[str], Kind] = {}

    @cached_property
    def digest(self) -> str:
        """12 hexadecimal digits of all that the judge takes from the rows; their order does not count."""
        rows = sorted(
            [sorted(prompt.asked), prompt.named, prompt.given, output, category]
            for (prompt, output), category in zip(self._rows, self._categories, strict=True)
        )
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]

    def rarity(self, word: str) -> float:
        """Inverse document frequency over the outputs, from 0 for a word of all outputs to 1 for one of none."""
        count = len(self._rows)
        return math.log((count + 1) / (self._in_outputs[word] + 1)) / math.log(count + 1) if count else 1.0

    def is_label(self, output: Sequence[str]) -> bool:
        """Whether several train rows have this output."""
        return self._outputs[tuple(output)] >= LABEL

    def opening(self, output: Sequence[str]) -> frozenset[str]:
        """The words with which an output begins as several others do that go on in other ways: "the answer is"."""
        return frozenset(self.shared_opening(output)[0])

    def shared_opening(self, words: Sequence[str]) -> tuple[tuple[str, ...], Opening]:
        """The longest opening of some words that outputs share, and what is known of it; without words if none is."""
        for length in range(min(len(words), LONGEST_OPENING), OPENING - 1, -1):
            found = self._openings.get(tuple(words[:length]))
            if found and found.is_shared:
                return tuple(words[:length]), found
        return (), Opening()

    def kind(self, prompt: Prompt) -> Kind:
        """The kind of a row."""
        if prompt.asked not in self._kinds:
            self._kinds[prompt.asked] = self._kind(prompt.asked)
        return self._kinds[prompt.asked]

    def _kind(self, asked: frozenset[str]) -> Kind:
        places = [
            number
            for other, numbers in self._by_asked.items()
            if self._likeness(asked, other) >= LEAST_LIKENESS
            for number in numbers
        ]
        members = [self._rows[number] for number in places]
        if len(members) < LEAST_ROWS:
            return Kind(len(members))
        shared = Counter(word for _, output in members for word in set(output))
        form = frozenset(word for word, count in shared.items() if count >= COMMON * len(members))
        own = [_telling(output, form, {*prompt.given, *prompt.named}) for prompt, output in members]
        fresh = [words - prompt.words for words, (prompt, _) in zip(own, members, strict=True)]
        bar = OPEN_WORDS_IN_FORM if len(form - FUNCTION_WORDS) >= FORM_WORDS else OPEN_WORDS
        kept = sum(set(prompt.named or prompt.given) - FUNCTION_WORDS <= set(output) for prompt, output in members)
        repeated = Counter(word for words in fresh for word in words)
        scarce = [{word for word in words if repeated[word] <= max(1, 0.1 * len(members))} for words in fresh]
        return Kind(
            rows=len(members),
            form=form,
            answers=frozenset(one for one, row in zip(own, members, strict=True) if one and not _repeats_given(*row)),
            choices=frozenset(word for word in asked & set(shared) if tells(word) and self._is_choice(word, members)),
            is_open=kept >= COMMON * len(members) and median(map(len, scarce)) >= bar,
            longest=max(len(output) for _, output in members),
            categories=frozenset(self._categories[number] for number in places),
        )

    @staticmethod
    def _is_choice(word: str, members: Sequence[tuple[Prompt, tuple[str, ...]]]) -> bool:
        """Whether some, but not most, of the outputs take a word that their instructions offer."""
        outputs = [output for prompt, output in members if word in prompt.asked]
        return len(outputs) >= LEAST_ROWS and 0 < sum(word in output for output in outputs) < COMMON * len(outputs)

    def _likeness(self, asked: frozenset[str], other: frozenset[str]) -> float:
        """Weighted Jaccard index of two instructions, their words weighted by their rarity among the instructions."""
        if asked == other:
            return 1.0
        both, either = asked & other, asked | other
        weights = {word: math.log((len(self._rows) + 1) / (self._in_instructions[word] + 1)) for word in either}
        # The order of a set differs from process to process, and fsum does not depend on it.
        return math.fsum(weights[word] for word in both) / max(math.fsum(weights.values()), 1e-9)


def _telling(output: Sequence[str], form: frozenset[str], given: set[str]) -> frozenset[str]:
    """The words of an output that are neither form, nor given, nor function words; numbers tell too."""
    return frozenset(word for word in output if word not in form and word not in given and tells(word))


def _repeats_given(prompt: Prompt, output: Sequence[str]) -> bool:
    """Whether an output has a given word twice, so that it is in the answer too: the capital of Mexico is Mexico City.

    What the output has besides is then no answer by itself.
    """
    return any(output.count(word) > 1 for word in {*prompt.given, *prompt.named} if tells(word))


def tells(word: str) -> bool:
    """Whether a word tells something by itself."""
    return is_number(word) or word in NEGATIONS or word not in FUNCTION_WORDS
