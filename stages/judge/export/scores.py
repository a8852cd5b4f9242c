"""How far an exported model's answers score from the pipeline's, by the built-in judge, paired by row."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from stages.common.records import Record, write_records
from stages.common.results.generate import RESPONSES, Response
from stages.common.results.judge import Verdict
from stages.judge.answers import read_answers
from stages.judge.export.answers import Found, as_responses
from stages.judge.export.taken import Taken
from stages.judge.job import open_judges, score_answers
from stages.judge.runs.comparison import compare_all


class ScoreDifference(Record):
    """The export's mean score minus the pipeline's, in points of 100, over the rows that are scored in both.

    Args:
        mean_here: mean of the pipeline's answers.
        mean_there: mean of the export's.
        difference: the second minus the first; null without scored rows.
        low: lower end of its 95 % interval; null where it has none.
        high: upper end.
        rows: the rows.
        judge: who scored.
    """

    mean_here: float | None
    mean_there: float | None
    difference: float | None
    low: float | None
    high: float | None
    rows: int
    judge: str = "built-in reference judge"

    @property
    def is_lower(self) -> bool:
        """Whether the export's answers score lower by more than rows can explain."""
        return self.high is not None and self.high < 0


def score_difference(source: Taken, found: Sequence[Found]) -> ScoreDifference:
    """Score the pipeline's and the export's answers, and compare them.

    Args:
        source: the run.
        found: the export's answers, one for each of its rows.
    """
    here = _verdicts(source, source.responses)
    there = _verdicts(source, as_responses(source.rows, found, source.responses))
    judge = source.params.judge
    result = compare_all([here], [there], resamples=judge.bootstrap_resamples, seed=judge.seed, together=1)
    return ScoreDifference(
        mean_here=result.mean_a,
        mean_there=result.mean_b,
        difference=result.difference,
        low=result.low,
        high=result.high,
        rows=result.n,
    )


def _verdicts(source: Taken, responses: Sequence[Response]) -> list[Verdict]:
    """The built-in judge's verdicts on answers, which take the place of the link to the run's."""
    write_records(source.root / RESPONSES, responses)
    with contextlib.chdir(source.root):
        answers = read_answers(source.params.judge)
        with open_judges(source.params.judge) as judges:
            return score_answers(judges[0], answers, source.params.judge)
