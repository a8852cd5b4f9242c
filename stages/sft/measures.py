"""What can be told of answers without a judge, by comparing them with the references.

None of these says whether an answer is good; together they show whether a model answers at all, stops by itself, keeps
to the form of the references and how near it comes to their words. Sums alone are kept, so that any number of answers
takes the same memory.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from sacrebleu.metrics.chrf import CHRF

from stages.common.records import Response

#: Parts of the prompt styles that belong in no answer: headings of alpaca, turns of phi3.
TEMPLATE_MARKERS = ("###", "<|user|>", "<|assistant|>")

#: Decimal places of a mean: more would be digits of rounding.
PLACES = 4

_CHRF = CHRF()
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
    return float(_CHRF.sentence_score(answer, [reference]).score)


def leaks_template(answer: str) -> bool:
    """Whether an answer holds a part of a prompt style, as one does that goes on to make up the next instruction."""
    return any(marker in answer for marker in TEMPLATE_MARKERS)


@dataclass
class Measures:
    """The measures of one model's answers, built up answer by answer."""

    counts: Counter[str] = field(default_factory=Counter)
    sums: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, response: Response, reference: str, reference_tokens: int) -> None:
        """Take one answer in.

        Args:
            response: the answer.
            reference: the text that it is compared with.
            reference_tokens: the reference's tokens, its end-of-text included, as ``response.tokens`` includes its own.
        """
        self.counts["rows"] += 1
        self.counts["tokens"] += response.tokens
        self.counts[response.stop_reason] += 1
        self.counts["empty"] += not response.text.strip()
        self.counts["no_room"] += response.stop_reason == "context" and not response.tokens
        self.sums["exact_match"] += is_exact(response.text, reference)
        self.sums["token_f1"] += token_f1(response.text, reference)
        self.sums["chrf"] += chrf(response.text, reference)
        self.sums["template_leaks"] += leaks_template(response.text)
        self.sums["length_ratio"] += response.tokens / reference_tokens

    def result(self) -> dict[str, Any]:
        """The figures for metrics.json.

        - rows, tokens: answers, and tokens made for them, end-of-text included
        - end_of_text, max_new_tokens, context: answers by the reason why they stopped
        - empty, no_room: answers without text; rows whose prompt left no room for an answer
        - exact_match: share of answers that are the reference
        - token_f1, chrf: means over the rows, to 1 and to 100
        - end_of_text_rate, cap_hit_rate: shares that stopped by themselves, and at max_new_tokens
        - template_leaks: share that holds a part of a prompt style
        - length_ratio: mean over the rows of the answer's tokens to the reference's
        """
        rows = self.counts["rows"]
        names = ("rows", "tokens", "end_of_text", "max_new_tokens", "context", "empty", "no_room")
        means = {name: total / rows for name, total in self.sums.items()}
        means |= {
            "end_of_text_rate": self.counts["end_of_text"] / rows,
            "cap_hit_rate": self.counts["max_new_tokens"] / rows,
        }
        return {name: self.counts[name] for name in names} | {name: round(x, PLACES) for name, x in means.items()}
