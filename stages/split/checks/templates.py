"""Templates: the words that many prompts share. What a row asks is the rest.

"True or false: 28 is greater than 7" and "True or false: 28 is greater than 30" share six words of eight, and ask for
different things. So rows are compared after their template has been taken away.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from stages.common.metrics.gate import Template

#: Words in a row that make a part of a template, and the number of prompts that must have them.
_LENGTH = 3
_SHARED_BY = 5
#: What stands for the rest of a prompt in the text of its template.
_GAP = "…"
#: Bits of a word's number in that of a window, and the windows that are sorted at a time.
_BITS = 21
_AT_A_TIME = 4_000_000


class Prompts:
    """The words of each prompt, 4 bytes a word: a word is kept once, and is a number elsewhere.

    Args:
        prompts: the words of each prompt, case folded.
    """

    def __init__(self, prompts: Iterable[Sequence[str]] = ()) -> None:
        self._vocabulary: list[str] = []
        self._numbers: dict[str, int] = {}
        self._flat = array("I")
        self._ends = array("q", [0])
        for words in prompts:
            self.append(words)

    def append(self, words: Sequence[str]) -> None:
        """Add a prompt."""
        for word in words:
            number = self._numbers.setdefault(word, len(self._vocabulary))
            if number == len(self._vocabulary):
                self._vocabulary.append(word)
            self._flat.append(number)
        self._ends.append(len(self._flat))

    def __getitem__(self, number: int) -> tuple[str, ...]:
        """The words of a prompt."""
        start, end = self.span(number)
        return tuple(self._vocabulary[word] for word in self._flat[start:end])

    def span(self, number: int) -> tuple[int, int]:
        """Where the words of a prompt begin and end among all words."""
        return self._ends[number], self._ends[number + 1]

    @property
    def flat(self) -> npt.NDArray[np.uint32]:
        """[words] the numbers of all words, prompt by prompt."""
        return np.frombuffer(self._flat, dtype=np.uint32)

    @property
    def ends(self) -> npt.NDArray[np.int64]:
        """[prompts + 1] where each prompt begins among all words, and the last one ends."""
        return np.frombuffer(self._ends, dtype=np.int64)


class Templates:
    """The templates of prompts.

    Args:
        prompts: the words of each prompt, case folded.
    """

    def __init__(self, prompts: Prompts) -> None:
        self._prompts = prompts
        self._covered = np.full(len(prompts.flat), False)
        if len(prompts.flat):
            for places in _shared(prompts):
                for word in range(_LENGTH):
                    self._covered[places + word] = True

    def rest(self, number: int) -> list[str]:
        """The words of a prompt that are in no window of three words which five prompts or more have."""
        covered = self._of(number)
        return [word for word, of_template in zip(self._prompts[number], covered, strict=True) if not of_template]

    def skeleton(self, number: int) -> str:
        """The template of a prompt, with a gap for each run of other words; empty where it has none."""
        covered = self._of(number)
        if not any(covered):
            return ""
        parts: list[str] = []
        for word, of_template in zip(self._prompts[number], covered, strict=True):
            if of_template:
                parts.append(word)
            elif parts[-1:] != [_GAP]:
                parts.append(_GAP)
        return " ".join(parts)

    def _of(self, number: int) -> list[bool]:
        start, end = self._prompts.span(number)
        found: list[bool] = self._covered[start:end].tolist()
        return found


def _shared(prompts: Prompts) -> Iterable[npt.NDArray[np.int64]]:
    """Yield the places among all words where windows begin that five prompts or more have.

    A window's three words must each be there five times. Of more such words than `_BITS` bits can number, which no
    dataset below some hundred million words has, the most frequent ones are looked at.
    """
    flat, ends = prompts.flat, prompts.ends
    counts = np.bincount(flat)
    frequent = np.flatnonzero(counts >= _SHARED_BY)
    frequent = frequent[np.argsort(-counts[frequent], kind="stable")][: 1 << _BITS]
    dense = np.full(len(counts), -1)
    dense[frequent] = np.arange(len(frequent))
    whole = np.full(len(flat), True)
    beyond = np.concatenate([ends - back for back in range(1, _LENGTH)])  # windows that leave their prompt
    whole[beyond[beyond >= 0]] = False
    places = np.flatnonzero(whole)
    for word in range(_LENGTH):
        places = places[dense[flat[places + word]] >= 0]
    keys = np.zeros(len(places), dtype=np.int64)
    for word in range(_LENGTH):
        keys = keys << _BITS | dense[flat[places + word]]
    parts = len(places) // _AT_A_TIME + 1
    for part in range(parts):
        some = np.flatnonzero(keys % parts == part)
        if len(some):
            yield places[some[_frequent(keys[some], np.searchsorted(ends, places[some], side="right"))]]


def _frequent(keys: npt.NDArray[np.int64], prompts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The places of the keys that five prompts or more have.

    Args:
        keys: numbers of windows, one or more.
        prompts: the prompt of each, in rising order.
    """
    order = np.argsort(keys, kind="stable")
    sorted_keys, sorted_prompts = keys[order], prompts[order]
    new_key = np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]])
    new_prompt = new_key.copy()
    new_prompt[1:] |= sorted_prompts[1:] != sorted_prompts[:-1]
    starts = np.flatnonzero(new_key)
    having = np.add.reduceat(new_prompt.astype(np.int64), starts)
    return order[np.repeat(having >= _SHARED_BY, np.diff(np.append(starts, len(order))))]


def most_frequent(skeletons: Sequence[int], text_of: Callable[[int], str], shown: int) -> list[Template]:
    """The templates that most rows have.

    Args:
        skeletons: the number of the first row with the same template, for each row; -1 for none.
        text_of: function from the number of a row to the text of its template.
        shown: the largest number of templates.
    """
    first, counts = np.unique(skeletons, return_counts=True)
    frequent = (first >= 0) & (counts >= _SHARED_BY)
    chosen = frequent & (counts >= min(heapq.nlargest(shown, counts[frequent]), default=0))
    found = [
        Template(text=text_of(int(row)), rows=int(rows))
        for row, rows in zip(first[chosen], counts[chosen], strict=True)
    ]
    return sorted(found, key=lambda one: (-one.rows, one.text))[:shown]
