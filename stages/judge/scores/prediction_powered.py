"""A model's mean in the human labels' scale, from a judge's scores of all its answers and labels of some of them.

The estimator is that of prediction-powered inference (PPI++, arXiv 2311.01453; for judges arXiv 2511.21140 and
2601.05420), which surveys know as the regression estimator of two-phase sampling (Cochran, Sampling Techniques, 1977,
chapter 12)::

    weight * mean(scores of all answers) + mean(label - weight * score, over the labelled answers)

The labels alone say where the scale is; the scores say how the labelled answers differ from the others. So no bias of
the judge, towards one model or towards all, is in the estimate, whatever the weight. The weight is the slope of label
on score over the model's own labels: the one with the smallest variance. A judge without use gets 0, and the
estimate is then the mean of the labels.

The labelled answers must be drawn at random. Hand-picked ones make the estimate as wrong as they are unlike the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.common.labels import LEAST_FOR_INTERVAL
from stages.common.metrics.judge import Interval
from stages.common.plurals import counted
from stages.judge.scores.bootstrap import (
    EQUAL,
    LEAST,
    LEVEL,
    accelerated,
    clipped,
    exact_interval,
    mean_interval,
    no_interval,
    t_quantile,
    too_few,
)

FOLDS = 5


@dataclass(frozen=True)
class Labelled:
    """One model's answers that the judge has scored, of which some have a human label.

    Attributes:
        scores: the judge's scores, float64 [answers].
        labels: the human labels, float64 [answers]; NaN where there is none.
        clusters: the answers' instructions, [answers].
    """

    scores: np.ndarray
    labels: np.ndarray
    clusters: Sequence[str]

    @property
    def known(self) -> np.ndarray:
        """Which answers have a label, bool [answers]."""
        return np.asarray(~np.isnan(self.labels))

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores and labels of the labelled answers, both float64 [labelled]."""
        return self.scores[self.known], self.labels[self.known]

    @property
    def instructions(self) -> np.ndarray:
        """The different instructions of the labelled answers, in order."""
        return np.unique(np.asarray(self.clusters, dtype=str)[self.known])


@dataclass(frozen=True)
class MeanEstimate:
    """A mean, and what each instruction adds to its error.

    Attributes:
        mean: the mean, in points.
        weight: how far a point of score moves it; 0 where the judge is not used.
        influences: parts of the error of the mean, in points, by instruction; they sum to 0.
        freedom: degrees of freedom of the error.
    """

    mean: float
    weight: float
    influences: dict[str, float]
    freedom: int


def slope(scores: np.ndarray, labels: np.ndarray) -> float:
    """The least-squares slope of labels on scores, both [labelled]; 0 where scores do not differ or it falls."""
    deviations = scores - scores.mean()
    squares = float((deviations**2).sum())
    return max(0.0, float((deviations * labels).sum()) / squares) if squares > EQUAL else 0.0


def left_out_errors(found: Labelled) -> tuple[float, float]:
    """How far labels are from what the others predict, without the judge's scores and with them.

    A fifth of the instructions at a time is left out. Without the scores, a label is predicted by the mean of the other
    labels; with them, by that and the slope.

    Args:
        found: answers with at least `FOLDS` labels.

    Returns:
        Both root mean squared errors, in points; infinite where all labels are of one instruction.
    """
    scores, labels = found.pairs
    names, members = np.unique(np.asarray(found.clusters, dtype=str)[found.known], return_inverse=True)
    if len(names) < 2:
        return float("inf"), float("inf")
    without, with_judge = np.empty_like(labels), np.empty_like(labels)
    for fold in range(min(FOLDS, len(names))):
        out = members % FOLDS == fold
        mean = labels[~out].mean()
        without[out] = labels[out] - mean
        shift = slope(scores[~out], labels[~out]) * (scores[out] - scores[~out].mean())
        with_judge[out] = labels[out] - mean - shift
    return float(np.sqrt((without**2).mean())), float(np.sqrt((with_judge**2).mean()))


def estimate(found: Labelled, *, helps: bool) -> MeanEstimate:
    """The mean of a model's answers in the labels' scale.

    Args:
        found: answers of which at least two have labels.
        helps: whether the judge's scores predict labels at all (`left_out_errors`); else the weight is 0.
    """
    scores, labels = found.pairs
    weight = slope(scores, labels) if helps else 0.0
    residuals = labels - weight * scores
    count, labelled = len(found.scores), len(labels)
    own = weight * (found.scores - found.scores.mean()) / count
    # A fitted slope makes residuals too small, by one degree of freedom in the number of labels.
    fitted = np.sqrt((labelled - 1) / (labelled - 2)) if weight and labelled > 2 else 1.0
    own[found.known] += fitted * (residuals - residuals.mean()) / labelled
    names, members = np.unique(np.asarray(found.clusters, dtype=str), return_inverse=True)
    sums = np.bincount(members, weights=own)
    return MeanEstimate(
        mean=float(weight * found.scores.mean() + residuals.mean()),
        weight=weight,
        influences=dict(zip(names.tolist(), sums.tolist(), strict=True)),
        freedom=len(found.instructions) - 1 - bool(weight),
    )


def interval_of_mean(
    found: Labelled, estimated: MeanEstimate, bounds: tuple[float, float], *, resamples: int, seed: int
) -> Interval:
    """The 95 % interval of an estimate.

    Args:
        found: the answers.
        estimated: their estimate.
        bounds: the least and the greatest score.
        resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.

    Returns:
        The interval, not rounded; without ends with fewer than `LEAST_FOR_INTERVAL` labels.
    """
    if (few := _too_few(found)) is not None:
        return few
    if not estimated.weight:
        names = np.asarray(found.clusters, dtype=str)[found.known].tolist()
        return mean_interval(found.pairs[1], names, bounds=bounds, resamples=resamples, seed=seed)
    return _interval(estimated, len(found.instructions), bounds, resamples=resamples, seed=seed)


def interval_of_difference(
    first: tuple[Labelled, MeanEstimate],
    second: tuple[Labelled, MeanEstimate],
    bounds: tuple[float, float],
    *,
    resamples: int,
    seed: int,
) -> Interval:
    """The 95 % interval of the first estimate minus the second one.

    Args:
        first: answers and estimate of a model.
        second: answers and estimate of another model, to the same instructions.
        bounds: the least and the greatest difference.
        resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.

    Returns:
        The interval, not rounded, cut at ``bounds``; without ends where one of the models has too few labels. An
        instruction that is hard for both models moves both estimates, and so not their difference.
    """
    for found, _ in (first, second):
        if (few := _too_few(found)) is not None:
            return few
    one, other = first[1], second[1]
    names = sorted({*one.influences, *other.influences})
    difference = MeanEstimate(
        mean=one.mean - other.mean,
        weight=one.weight,
        influences={name: one.influences.get(name, 0.0) - other.influences.get(name, 0.0) for name in names},
        freedom=min(one.freedom, other.freedom),
    )
    labelled = min(len(first[0].instructions), len(second[0].instructions))
    return _interval(difference, labelled, bounds, resamples=resamples, seed=seed)


def _too_few(found: Labelled) -> Interval | None:
    count, names = int(found.known.sum()), len(found.instructions)
    if count < LEAST_FOR_INTERVAL:
        return no_interval(f"{count} of the {LEAST_FOR_INTERVAL} human labels a model that it takes")
    return too_few(names) if names < LEAST else None


def _interval(
    estimated: MeanEstimate, labelled: int, bounds: tuple[float, float], *, resamples: int, seed: int
) -> Interval:
    """At either end the wider of Student's interval and the BCa interval, as for every mean (`mean_interval`).

    The bootstrap draws instructions, each with the value that the mean of all would be if it were like this one.
    Where the labelled instructions leave no error to measure, the interval is the exact one.
    """
    parts = np.array(list(estimated.influences.values()))
    error = float(np.sqrt(labelled / (labelled - 1) * (parts**2).sum()))
    if error < EQUAL:
        return exact_interval(estimated.mean, labelled, bounds)
    half = t_quantile((1 + LEVEL) / 2, estimated.freedom) * error
    values = estimated.mean + len(parts) * parts
    low, high = accelerated(values, np.ones(len(parts)), resamples, seed)
    method = (
        f"prediction-powered: the wider of BCa bootstrap and Student's t, labels of "
        f"{counted(labelled, 'instruction')}, "
        f"{resamples} resamples, seed {seed}"
    )
    low, high = clipped(min(low, estimated.mean - half), max(high, estimated.mean + half), bounds)
    return Interval(level=LEVEL, low=low, high=high, method=method)
