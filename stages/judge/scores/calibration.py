"""How far a judge can be believed: its scores beside human labels, and the means that follow from both.

Agreement is also given without the answers that are equal to their reference: any judge recognises those, and on the
book's example data they raise the correlation from 0.65 to 0.8. The means are those of `prediction_powered`, each from
its own model's labels: a judge that is kinder to one model is put right for each.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.common.metrics.judge import (
    Agreement,
    Agreements,
    CalibratedDifference,
    CalibratedMean,
    CalibrationMetrics,
    CrossValidation,
    Mean,
)
from stages.common.records import ModelName
from stages.common.results.judge import Verdict
from stages.judge.scores import figures
from stages.judge.scores.bootstrap import no_interval
from stages.judge.scores.figures import POINTS, cluster_of, rounded, scores_of
from stages.judge.scores.labels import HumanLabels
from stages.judge.scores.prediction_powered import (
    Labelled,
    MeanEstimate,
    estimate,
    interval_of_difference,
    interval_of_mean,
    left_out_errors,
)
from stages.judge.scores.statistics import SCALE

#: Scores are put into bands of so many points for kappa, which compares categories.
BAND = 10


@dataclass(frozen=True)
class Pairs:
    """The answers that have both a score and a human label.

    Attributes:
        scores: the judge's scores, float64 [pairs].
        labels: the human labels, float64 [pairs].
    """

    scores: np.ndarray
    labels: np.ndarray


def calibrate(verdicts: Sequence[Verdict], labels: HumanLabels, *, resamples: int, seed: int) -> CalibrationMetrics:
    """Compare a judge with human labels, and give the means that follow from both.

    Args:
        verdicts: the judge's verdicts on all models.
        labels: human labels of some of the same answers.
        resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.

    Returns:
        The figures. A model with fewer labelled answers than a mean takes (`stages.common.labels.LEAST`) has its raw
        mean alone: what labels of another model's answers say of them is not known. So has one with labels of other
        answers than it gives now: those that still fit are no random sample. The difference is there where both
        models have means.
    """
    labelled = [v for v in verdicts if v.score is not None and (v.id, v.model) in labels.scores]
    hard = [verdict for verdict in labelled if not verdict.exact]
    found = {model: _labelled(verdicts, model, labels) for model in sorted({v.model for v in verdicts}, reverse=True)}
    missing = {model: labels.why_not(model, int(one.known.sum())) for model, one in found.items()}
    estimates = {model: _estimated(one) for model, one in found.items() if missing[model] is None}
    means = {
        model: _without_mean(one, why, labels.stale.get(model, 0))
        if (why := missing[model]) is not None
        else _mean(one, estimates[model], resamples=resamples, seed=seed)
        for model, one in found.items()
    }
    return CalibrationMetrics(
        sha256=labels.sha256,
        rows=labels.rows,
        stale=sum(labels.stale.values()),
        matched=len(labelled),
        agreement=Agreements(
            all=agreement(_pairs(labelled, labels)), not_equal_to_reference=agreement(_pairs(hard, labels))
        ),
        means=means,
        difference=_difference(found, estimates, resamples=resamples, seed=seed) if len(estimates) == 2 else None,
    )


def _pairs(labelled: Sequence[Verdict], labels: HumanLabels) -> Pairs:
    values = np.array([labels.scores[verdict.id, verdict.model] for verdict in labelled], dtype=np.float64)
    return Pairs(scores_of(labelled), values)


def _labelled(verdicts: Sequence[Verdict], model: ModelName, labels: HumanLabels) -> Labelled:
    """A model's answers that have a score, and the labels of some."""
    scored = [verdict for verdict in verdicts if verdict.model == model and verdict.score is not None]
    values = [labels.scores.get((verdict.id, model), math.nan) for verdict in scored]
    return Labelled(scores_of(scored), np.array(values, dtype=np.float64), [cluster_of(verdict) for verdict in scored])


def _estimated(found: Labelled) -> tuple[MeanEstimate, CrossValidation]:
    """A model's estimate, which uses the judge where this predicts labels that were left out."""
    without, with_judge = left_out_errors(found)
    helps = with_judge < without
    return estimate(found, helps=helps), CrossValidation(
        graded=_finite(without), judged=_finite(with_judge), judge_helps=helps
    )


def _without_mean(found: Labelled, why: str, stale: int) -> CalibratedMean:
    """The raw mean alone; that of few labels is told too, unless they are what is left of a sample of other answers."""
    graded = Mean(
        n=int(found.known.sum()), mean=None if stale else figures.mean(found.pairs[1]), interval=no_interval(why)
    )
    return CalibratedMean(
        raw=figures.mean(found.scores),
        graded=graded,
        stale=stale,
        calibrated=None,
        interval=None,
        weight=None,
        cross_validation=None,
    )


def _mean(
    found: Labelled, estimated: tuple[MeanEstimate, CrossValidation], *, resamples: int, seed: int
) -> CalibratedMean:
    raw, count = figures.mean(found.scores), int(found.known.sum())
    one, validation = estimated
    alone = estimate(found, helps=False)
    return CalibratedMean(
        raw=raw,
        graded=Mean(
            n=count,
            mean=_points(alone.mean),
            interval=rounded(interval_of_mean(found, alone, SCALE, resamples=resamples, seed=seed), POINTS),
        ),
        calibrated=_points(_on_scale(one.mean)),
        interval=rounded(interval_of_mean(found, one, SCALE, resamples=resamples, seed=seed), POINTS),
        weight=_points(one.weight),
        cross_validation=validation,
    )


def _difference(
    found: dict[ModelName, Labelled],
    estimates: dict[ModelName, tuple[MeanEstimate, CrossValidation]],
    *,
    resamples: int,
    seed: int,
) -> CalibratedDifference:
    """Tuned minus base: the difference of the means that are shown, each on the scale.

    Where an estimate lies beyond the scale its interval need not hold this difference. It is then widened up to it.
    """
    tuned, base = ((found[model], estimates[model][0]) for model in ("tuned", "base"))
    widest = (SCALE[0] - SCALE[1], SCALE[1] - SCALE[0])
    mean = _on_scale(tuned[1].mean) - _on_scale(base[1].mean)
    ends = interval_of_difference(tuned, base, widest, resamples=resamples, seed=seed)
    if ends.low is not None and ends.high is not None:
        ends = ends.model_copy(update={"low": min(ends.low, mean), "high": max(ends.high, mean)})
    return CalibratedDifference(mean=_points(mean), interval=rounded(ends, POINTS))


def _on_scale(mean: float) -> float:
    """An estimate of a mean, which prediction-powered inference may put below 0 or above 100: the nearest possible."""
    return min(max(mean, SCALE[0]), SCALE[1])


def _points(value: float) -> float:
    return round(value, POINTS) + 0.0


def _finite(value: float) -> float | None:
    return _points(value) if math.isfinite(value) else None


def agreement(pairs: Pairs) -> Agreement:
    """How scores and labels of the same answers agree; None where equal values or too few leave nothing to compare."""
    from scipy import stats  # takes a second, and only labels of people need it

    differences = pairs.scores - pairs.labels
    return Agreement(
        n=len(differences),
        pearson=_correlation(stats.pearsonr, pairs),
        spearman=_correlation(stats.spearmanr, pairs),
        kendall=_correlation(stats.kendalltau, pairs),
        weighted_kappa=weighted_kappa(pairs.scores, pairs.labels),
        mean_difference=figures.mean(differences),
        mean_absolute_difference=figures.mean(np.abs(differences)),
    )


def weighted_kappa(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Cohen's kappa with quadratic weights over bands of `BAND` points, 100 in the last with 90 and more.

    It is 1 - (mean squared distance of the pairs) / (the same if scores and labels were drawn independently). The
    latter is the sum of the two variances and the squared difference of the means.
    """
    if len(scores) == 0:
        return None
    first, second = (np.minimum(values // BAND, 100 // BAND - 1) for values in (scores, labels))
    independent = first.var() + second.var() + (first.mean() - second.mean()) ** 2
    return round(float(1 - np.mean((first - second) ** 2) / independent), POINTS) + 0.0 if independent else None


def _correlation(measure: Callable[..., Any], pairs: Pairs) -> float | None:
    if len(pairs.scores) < 2:
        return None
    from scipy import stats

    with warnings.catch_warnings():
        # Equal values on one side give NaN, which is written as null.
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        found = float(measure(pairs.scores, pairs.labels).statistic)
    return round(found, POINTS) + 0.0 if np.isfinite(found) else None
