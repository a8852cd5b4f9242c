"""Templates: the words that many prompts share. What a row asks is the rest.

"True or false: 28 is greater than 7" and "True or false: 28 is greater than 30" share six words of eight, and ask for
different things. So rows are compared after their template has been taken away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from stages.common.metrics.gate import Template

#: Words in a row that make a part of a template, and the number of prompts that must have them.
_LENGTH = 3
_SHARED_BY = 5
#: What stands for the rest of a prompt in the text of its template.
_GAP = "…"


class Templates:
    """The templates of prompts.

    Args:
        prompts: the words of each prompt, case folded.
    """

    def __init__(self, prompts: Sequence[tuple[str, ...]]) -> None:
        shared: Counter[tuple[str, ...]] = Counter()
        for words in prompts:
            shared.update(set(_windows(words)))
        self._shared = {window for window, count in shared.items() if count >= _SHARED_BY}

    def rest(self, words: tuple[str, ...]) -> list[str]:
        """The words of a prompt that are in no window of three words which five prompts or more have."""
        return [word for word, covered in zip(words, self._covered(words), strict=True) if not covered]

    def skeleton(self, words: tuple[str, ...]) -> str:
        """The template of a prompt, with a gap for each run of other words; empty where it has none."""
        parts: list[str] = []
        covered = self._covered(words)
        for word, of_template in zip(words, covered, strict=True):
            if of_template:
                parts.append(word)
            elif parts[-1:] != [_GAP]:
                parts.append(_GAP)
        return " ".join(parts) if any(covered) else ""

    def _covered(self, words: tuple[str, ...]) -> list[bool]:
        covered = [False] * len(words)
        for start, window in enumerate(_windows(words)):
            if window in self._shared:
                covered[start : start + _LENGTH] = [True] * _LENGTH
        return covered


def _windows(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [words[start : start + _LENGTH] for start in range(len(words) - _LENGTH + 1)]


def most_frequent(skeletons: Sequence[str], shown: int) -> list[Template]:
    """The templates that most rows have.

    Args:
        skeletons: the template of each row, empty for none.
        shown: the largest number of templates.
    """
    counts = Counter(text for text in skeletons if text)
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return [Template(text=text, rows=rows) for text, rows in ordered[:shown] if rows >= _SHARED_BY]
