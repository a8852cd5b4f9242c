"""All rows with what the checks look at, in numbers: little memory whatever the lengths of their texts."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from stages.common.results.split import Example
from stages.running import counting
from stages.split.census import holds_headings, looks_like_a_placeholder
from stages.split.checks import languages
from stages.split.checks.context import Context, LongRows
from stages.split.checks.near import Duplicates
from stages.split.checks.offensive import offensive_words
from stages.split.checks.personal import KINDS
from stages.split.checks.scripts import script_of
from stages.split.checks.unfinished import unfinished
from stages.split.digests import digest, equal_in_order
from stages.split.stored import numbers_of


class Rows:
    """All rows, each known by its place, which counts from 0, split by split; its number is that in the file.

    Args:
        division: rows of each split, by its name.
        order: all rows, in the order of the file.
        duplicates: equal and near-equal prompts among them.
        context: the context of the training.
    """

    def __init__(
        self,
        division: Mapping[str, Sequence[Example]],
        order: Sequence[Example],
        duplicates: Duplicates,
        context: Context,
    ) -> None:
        self.duplicates = duplicates
        #: By place: the id, the number of characters, and digests of the whole row and of its answer.
        self.ids: list[str] = []
        self.lengths, self.wholes, self.answers = array("q"), array("Q"), array("Q")
        self.scripts, self.languages, self.categories = _Labels(), _Labels(), _Labels()
        #: The places of the rows that a look at their own texts finds, by the name of the check.
        self.found: dict[str, list[int]] = {name: [] for name in (*_OF_A_ROW, _OFFENSIVE, *KINDS)}
        self._order, self._names = order, list(division)
        if not all(languages.is_short(text_of(row)) for row in order):
            languages.model()  # loaded here, it does not count as time that rows take
        self._numbers, self._splits = array("q"), bytearray()
        may_be_long = array("q")
        for split, (name, rows) in enumerate(division.items()):
            self._numbers.extend(numbers_of(rows, order))
            self._splits.extend([split] * len(rows))
            for row in counting.told(rows, total=len(rows), what=f"check {name}"):
                if context.may_be_short_for(row):
                    may_be_long.append(len(self))
                self._look_at(row)
        candidates = counting.told(map(self.row, may_be_long), total=len(may_be_long), what="count tokens")
        self.long = LongRows(context, candidates, may_be_long)

    def _look_at(self, row: Example) -> None:
        text = text_of(row)
        self.lengths.append(len(text))
        self.wholes.append(digest(row.instruction, row.input, row.output))
        self.answers.append(digest(row.output))
        self.scripts.append(script_of(text))
        language = languages.language_of(text)
        self.languages.append(language)
        self.categories.append(row.category)
        place = len(self.ids)
        self.ids.append(row.id)
        for name, is_found in _OF_A_ROW.items():
            if is_found(row):
                self.found[name].append(place)
        if language in _MAY_BE_ENGLISH and any(offensive_words(text)):
            self.found[_OFFENSIVE].append(place)
        for name, find in KINDS.items():
            if next(find(text), None) is not None:
                self.found[name].append(place)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.ids)

    def row(self, place: int) -> Example:
        """The row at a place."""
        return self._order[self._numbers[place]]

    def split(self, place: int) -> str:
        """The split of the row at a place."""
        return self._names[self._splits[place]]

    def of(self, numbers: Sequence[int]) -> list[int]:
        """What is known of each row by its number in the file, by its place."""
        return [numbers[number] for number in self._numbers]

    def groups(self, numbers: Sequence[int]) -> Iterator[list[int]]:
        """The groups of two rows or more, as places in order; those whose first row comes first are first.

        Args:
            numbers: the group of each row, from 0, by its number in the file.
        """
        yield from equal_in_order(group + 1 for group in self.of(numbers))  # which leaves out 0


class _Labels(Iterable[str]):
    """Texts of which there are few different ones."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._of = array("i")

    def append(self, label: str) -> None:
        self._of.append(self._codes.setdefault(label, len(self._codes)))

    def __iter__(self) -> Iterator[str]:
        names = list(self._codes)
        return (names[code] for code in self._of)

    def counts(self) -> Counter[str]:
        """How often each is there."""
        names = list(self._codes)
        return Counter({names[code]: count for code, count in Counter(self._of).items()})


#: The checks that look at one row, by the keys of their thresholds.
_OF_A_ROW: dict[str, Callable[[Example], bool]] = {
    "empty_answers": lambda row: _without_a_word(row.output),
    "placeholders": looks_like_a_placeholder,
    "unfinished_answers": lambda row: any(unfinished(row)),
    "template_markers": holds_headings,
}
#: The check for slurs, whose words are English: other languages have some of them in everyday use.
_OFFENSIVE, _MAY_BE_ENGLISH = "offensive_words", {"en", languages.SHORT, languages.UNSURE}


def text_of(row: Example) -> str:
    """All texts of a row."""
    return "\n".join((row.instruction, row.input, row.output))


def _without_a_word(answer: str) -> bool:
    """Whether an answer has no letter, no digit and no sign but points, dashes and such."""
    return not answer.strip(" \t\r\n.,;:_-–—…\"'`´()[]{}|\u200b\ufeff")
