"""Measures of an answer that need no judge: how like the reference it is.

The stages generate and judge take the same ones, so that a figure of either means the same.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import Any

_WORD = re.compile(r"\w+")


def is_exact(answer: str, reference: str) -> bool:
    """Whether two texts are equal but for white space around them."""
    return answer.strip() == reference.strip()


def token_f1(answer: str, reference: str) -> float:
    """F1 of the words that two texts share, each as often as both have it, from 0 to 1 (Rajpurkar et al. 2016, SQuAD).

    Words are runs of letters, digits and underscores, without regard to case; articles count, unlike in SQuAD. "the
    cat sat" and "The cat." share 2 of 3 and 2 of 2 words: 2 * 2 / (3 + 2) = 0.8. Without a common word it is 0.
    """
    ours, theirs = (Counter(_WORD.findall(text.casefold())) for text in (answer, reference))
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total()) if shared else 0.0


def chrf(answer: str, reference: str) -> float:
    """Likeness of one answer by chrF, from 0 to 100: F2 of character 1- to 6-grams without white space (Popović 2015).

    That of sacrebleu with its defaults, signature ``nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no``.
    """
    return float(_chrf().sentence_score(answer, [reference]).score)


@functools.cache
def _chrf() -> Any:
    # Not above: it imports clients of databases, which takes a third of a second.
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
