"""What can be told of answers without a judge, by comparing them with the references.

None of these says whether an answer is good; together they show whether a model answers at all, stops by itself, keeps
to the form of the references and how near it comes to their words. Sums alone are kept, so that any number of answers
takes the same memory.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from stages.common.results.generate import Response
from stages.common.texts import chrf, is_exact, token_f1
from stages.tokenize.leaks import leaks_template

#: Decimal places of a mean: more would be digits of rounding.
PLACES = 4


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
