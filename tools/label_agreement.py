"""How far a judge's scores agree with labels of the same answers, with 95 % intervals over questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stages.common.metrics.judge import Interval
from stages.common.records import Metrics
from stages.common.results.judge import Verdict
from stages.judge.scores.bootstrap import EQUAL, LEAST, mean_interval, no_interval, percentile_interval, too_few
from stages.judge.scores.figures import rounded
from tools.grades import DRAWS, SEED, Graded

#: The lowest and the highest score, grade and distance of the two.
SCALE = (0.0, 100.0)
#: Decimal places of points, and of AUC and r.
POINTS, SHARES = 2, 4


class LabelAgreement(Metrics):
    """How a judge's scores agree with labels of the same answers; null where there is nothing to compute.

    Args:
        answers: number of labelled answers.
        right: how many of them are right by their labels.
        scored: how many of them the judge has scored; the figures below are of these.
        pearson: Pearson's r of scores and grades.
        mean_score: mean of the judge's scores, from 0 to 100.
        mean_grade: mean of the grades, from 0 to 100.
        mean_distance: mean of the distances of a score from its grade, in points.
        auc: probability that a right answer scores higher than a wrong one, ties counting half.
        intervals: the 95 % interval of each figure that is not null, by its name.
    """

    answers: int
    right: int
    scored: int
    pearson: float | None
    mean_score: float | None
    mean_grade: float | None
    mean_distance: float | None
    auc: float | None
    intervals: dict[str, Interval]


def agreement(graded: Sequence[Graded], verdicts: Sequence[Verdict]) -> LabelAgreement:
    """How a judge agrees with the labels of the answers that it was asked for, in their order.

    The intervals of r and AUC are percentiles of a bootstrap that draws whole questions, with all answers to each; the
    others are of `stages.judge.scores.bootstrap.mean_interval`. Of fewer than ten questions there are none.
    """
    scored = [(one, verdict.score) for one, verdict in zip(graded, verdicts, strict=True) if verdict.score is not None]
    scores = np.array([score for _, score in scored], dtype=np.float64)
    grades = np.array([one.grade for one, _ in scored], dtype=np.float64)
    right = np.array([one.right for one, _ in scored], dtype=bool)
    questions = [f"{one.instruction}\n{one.input}" for one, _ in scored]
    means = {"mean_score": scores, "mean_grade": grades, "mean_distance": np.abs(scores - grades)}
    ratios: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "pearson": lambda weights: _pearson(scores, grades, weights),
        "auc": lambda weights: _auc(scores, right, weights),
    }
    figures: dict[str, float | None] = dict.fromkeys((*means, *ratios))
    intervals: dict[str, Interval] = {}
    for name, values in means.items():
        if len(values):
            figures[name] = round(float(values.mean()), POINTS)
            ends = mean_interval(values, questions, bounds=SCALE, resamples=DRAWS, seed=SEED)
            intervals[name] = rounded(ends, POINTS)
    for name, of in ratios.items():
        if not np.isnan(value := float(of(np.ones((1, len(scores))))[0])):
            figures[name] = round(value, SHARES)
            intervals[name] = rounded(_ratio_interval(of, questions), SHARES)
    counts = {"answers": len(graded), "right": sum(one.right for one in graded), "scored": len(scored)}
    return LabelAgreement.model_validate({**counts, **figures, "intervals": intervals})


def _ratio_interval(of: Callable[[np.ndarray], np.ndarray], questions: Sequence[str]) -> Interval:
    """The interval of a figure that no mean is, not rounded.

    Args:
        of: function that returns the figure, float64 [draws], with each answer so often as its weight says,
            float64 [draws, answers]; NaN where it cannot be had.
        questions: the question of each answer, [answers].
    """
    names, members = np.unique(np.asarray(questions, dtype=str), return_inverse=True)
    if len(names) < LEAST:
        return too_few(len(names))
    drawn = np.random.default_rng(SEED).multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS)
    found = of(drawn[:, members].astype(np.float64))
    known = found[~np.isnan(found)]
    if not len(known) or np.ptp(known) <= EQUAL:  # as of an AUC of 1, which shows no scatter
        return no_interval("all draws of questions give the same")
    return percentile_interval(known, f"percentiles of {DRAWS} draws of {len(names)} questions, seed {SEED}")


def _pearson(scores: np.ndarray, grades: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's r of scores and grades, float64 [draws]; weights [draws, answers]. NaN where either is constant."""
    total = weights.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = scores - (weights * scores).sum(axis=1, keepdims=True) / total
        y = grades - (weights * grades).sum(axis=1, keepdims=True) / total
        of_x, of_y = (weights * x * x).sum(axis=1), (weights * y * y).sum(axis=1)
        found: np.ndarray = (weights * x * y).sum(axis=1) / np.sqrt(of_x * of_y)
    found[(of_x <= EQUAL) | (of_y <= EQUAL)] = np.nan
    return found


def _auc(scores: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The AUC, float64 [draws]; weights [draws, answers]. NaN where there are no answers of both kinds."""
    of_right, of_wrong = weights[:, right], weights[:, ~right]
    above = np.sign(scores[right][:, None] - scores[~right]) / 2 + 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        found: np.ndarray = (of_right @ above * of_wrong).sum(axis=1) / (of_right.sum(axis=1) * of_wrong.sum(axis=1))
    return found
