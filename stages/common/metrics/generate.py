"""What the stage generate counts and measures: its metrics.json."""

from __future__ import annotations

from typing import Self

from stages.common.records import Metrics, ModelName


class AnswerMetrics(Metrics):
    """One model's answers, compared with the references without a judge.

    Args:
        rows: answers.
        tokens: generated tokens, with those of end-of-text.
        end_of_text: answers that stopped at an end-of-text.
        max_new_tokens: answers cut at generate.max_new_tokens.
        context: answers cut where the model's context was full.
        empty: answers without text.
        no_room: rows whose prompt left no room for an answer.
        exact_match: share of answers equal to the reference.
        token_f1: mean token F1 with the reference, from 0 to 1.
        chrf: mean chrF with the reference, from 0 to 100.
        template_leaks: share of answers that hold a part of a prompt style which their reference does not hold.
        length_ratio: mean over the rows of the answer's tokens to the reference's.
        end_of_text_rate: share of answers that stopped at an end-of-text.
        cap_hit_rate: share of answers cut at generate.max_new_tokens.
        bf16_compared: rows that were answered in fp32 too; absent where fp32 was used.
        bf16_changed: share of these rows whose answer in fp32 differs.
    """

    rows: int
    tokens: int
    end_of_text: int
    max_new_tokens: int
    context: int
    empty: int
    no_room: int
    exact_match: float
    token_f1: float
    chrf: float
    template_leaks: float
    length_ratio: float
    end_of_text_rate: float
    cap_hit_rate: float
    bf16_compared: int | None = None
    bf16_changed: float | None = None

    def with_bf16_effect(self, *, compared: int, changed: float) -> Self:
        """The same metrics, and how bf16 changed the answers."""
        return self.model_copy(update={"bf16_compared": compared, "bf16_changed": changed})


class GenerateMetrics(Metrics):
    """Both models' answers; the base model's are absent where it did not answer."""

    base: AnswerMetrics | None = None
    tuned: AnswerMetrics | None = None

    def by_model(self) -> dict[ModelName, AnswerMetrics]:
        """The models that answered, the base model first."""
        found: dict[ModelName, AnswerMetrics | None] = {"base": self.base, "tuned": self.tuned}
        return {name: metrics for name, metrics in found.items() if metrics is not None}
