"""What can be told of answers without a judge, by comparing them with the references.

No measure says whether an answer is good. Together they show whether a model answers at all, stops by itself, keeps to
the style of the references and how near it comes to their words. Only sums are kept, so that any number of answers
takes the same memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from stages.common.metrics.generate import AnswerMetrics
from stages.common.records import StopReason
from stages.common.results.generate import Response
from stages.common.texts import chrf, is_exact, token_f1
from stages.tokenize.leaks import leaks_template

#: Decimal places of a mean: more would be rounding errors.
PLACES = 4


@dataclass
class Measures:
    """The measures of one model's answers, summed answer by answer; `AnswerMetrics` says what each one is."""

    rows: int = 0
    tokens: int = 0
    end_of_text: int = 0
    max_new_tokens: int = 0
    context: int = 0
    empty: int = 0
    no_room: int = 0
    exact: int = 0
    token_f1: float = 0.0
    chrf: float = 0.0
    template_leaks: int = 0
    length_ratio: float = 0.0

    def add(self, response: Response, reference: str, reference_tokens: int) -> None:
        """Add one answer.

        Args:
            response: the answer.
            reference: text that it is compared with.
            reference_tokens: number of the reference's tokens, its end-of-text included, as in ``response.tokens``.
        """
        self.rows += 1
        self.tokens += response.tokens
        self._count(response.stop_reason)
        self.empty += not response.text.strip()
        self.no_room += response.stop_reason == "context" and not response.tokens
        self.exact += is_exact(response.text, reference)
        self.token_f1 += token_f1(response.text, reference)
        self.chrf += chrf(response.text, reference)
        self.template_leaks += leaks_template(response.text, reference)
        self.length_ratio += response.tokens / reference_tokens

    def _count(self, reason: StopReason) -> None:
        self.end_of_text += reason == "end_of_text"
        self.max_new_tokens += reason == "max_new_tokens"
        self.context += reason == "context"

    def result(self) -> AnswerMetrics:
        """The metrics of all answers, at least one."""
        return AnswerMetrics(
            rows=self.rows,
            tokens=self.tokens,
            end_of_text=self.end_of_text,
            max_new_tokens=self.max_new_tokens,
            context=self.context,
            empty=self.empty,
            no_room=self.no_room,
            exact_match=self._mean(self.exact),
            token_f1=self._mean(self.token_f1),
            chrf=self._mean(self.chrf),
            template_leaks=self._mean(self.template_leaks),
            length_ratio=self._mean(self.length_ratio),
            end_of_text_rate=self._mean(self.end_of_text),
            cap_hit_rate=self._mean(self.max_new_tokens),
        )

    def _mean(self, total: float) -> float:
        return round(total / self.rows, PLACES)
