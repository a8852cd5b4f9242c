"""The summary of the answers: the measures that need no judge, and three examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stages.common.metrics.generate import AnswerMetrics, GenerateMetrics
from stages.common.plurals import counted
from stages.common.results.generate import Response
from stages.common.results.judge import Verdict
from stages.common.results.split import Example
from stages.running.summary_parts.lines import percent, shortened

_EXAMPLES = 3


@dataclass(frozen=True)
class _Measure:
    """A measure as the summary shows it.

    Args:
        label: name.
        value: its value, as it is shown.
        unit: what follows the value.
    """

    label: str
    value: Callable[[AnswerMetrics], str]
    unit: str = ""

    def text(self, models: Sequence[AnswerMetrics]) -> str:
        """The label, and the value of each model."""
        return f"{self.label} {' → '.join(map(self.value, models))}{self.unit}"


#: One line of the summary each.
_MEASURES = (
    (
        _Measure("exact", lambda found: percent(found.exact_match, 1), " %"),
        _Measure("token F1", lambda found: f"{found.token_f1:z.2f}", " of 1"),
        _Measure("chrF", lambda found: f"{found.chrf:z.1f}", " of 100"),
    ),
    (
        _Measure("ended by itself", lambda found: percent(found.end_of_text_rate), " %"),
        _Measure("cut at the cap", lambda found: percent(found.cap_hit_rate), " %"),
    ),
    (
        _Measure("with parts of the prompt's template", lambda found: percent(found.template_leaks), " %"),
        _Measure("length ratio", lambda found: f"{found.length_ratio:z.2f}"),
    ),
)


def answer_lines(found: GenerateMetrics) -> list[str]:
    """The answers without a judge: before fine-tuning, if the base model answered too, and after."""
    models = list(found.by_model().values())
    lines = [", ".join(measure.text(models) for measure in measures) for measures in _MEASURES]
    if found.tuned is not None and (blocked := found.tuned.no_room):
        lines.append(
            f"{counted(blocked, 'prompt leaves', 'prompts leave')} no room for an answer: too long for the model"
        )
    if found.tuned is not None and (compared := found.tuned.bf16_compared):
        shares = " → ".join(percent(one.bf16_changed) for one in models if one.bf16_changed is not None)
        lines.append(f"bf16 changes {shares} % of the first {counted(compared, 'answer')}")
    return lines


def examples(rows: Sequence[Example], responses: Sequence[Response], verdicts: Sequence[Verdict]) -> list[list[str]]:
    """The answers with the best, the middle and the worst score, each beside the reference and the base model's.

    Args:
        rows: the test rows.
        responses: the answers of both models.
        verdicts: their scores.

    Returns:
        The lines of each example.
    """
    answers: dict[tuple[str, str], str] = {(row.id, row.model): row.text for row in responses}
    scores = {row.id: row.score for row in verdicts if row.model == "tuned" and row.score is not None}
    found = []
    for row in _chosen([row for row in rows if row.id in scores], scores):
        lines = [shortened(f"{row.instruction} {row.input}"), f"reference   {shortened(row.output, 12)}"]
        if (row.id, "base") in answers:
            lines.append(f"before      {shortened(answers[row.id, 'base'], 12)}")
        tuned = shortened(answers.get((row.id, "tuned"), ""), 36)
        found.append([*lines, f"fine-tuned  {tuned}   ({scores[row.id]:z.0f} of 100 points)"])
    return found


def _chosen(rows: Sequence[Example], scores: dict[str, float]) -> list[Example]:
    """Rows at equal distances in the order of their scores, the best first; fewer where there are fewer rows."""
    ranked = sorted(rows, key=lambda row: -scores[row.id])
    if not ranked:
        return []
    indices = {round(number * (len(ranked) - 1) / (_EXAMPLES - 1)) for number in range(_EXAMPLES)}
    return [ranked[index] for index in sorted(indices)]
