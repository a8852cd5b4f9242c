"""A difference of two recipes that allows for both of its kinds of noise: training seeds and instructions.

Each recipe is trained with several seeds, and each training answers the same rows. A recipe's mean over its trainings
and rows then varies with the seeds that were drawn and with the instructions that were. In the score of a row

    recipe's mean + instruction + recipe x instruction + seed + seed x instruction

the instruction cancels in the difference of two recipes. What is left are three variances, each estimated as in an
analysis of variance (Searle, Casella and McCulloch 1992, "Variance Components", chapter 4):

- *instructions*: the variance of the mean over rows of the differences between the recipes' means. It holds the parts
  recipe x instruction and seed x instruction.
- *seeds*: the variance between the means of one recipe's trainings, pooled over the recipes. It holds the part seed
  and, once more, the part seed x instruction.
- *rest*: the part seed x instruction alone, which is taken off again where it is counted twice.

The interval is the difference plus and minus Student's t times the root of the sum, with Satterthwaite's (1946) degrees
of freedom. A bootstrap that draws seeds and instructions was tried too. It counts the rest twice, and does not know how
little 2 seeds tell: its interval of 95 % held the truth in 86 to 100 % of simulated cases (docs/decisions.md).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.judge.scores.bootstrap import EQUAL, LEVEL, by_cluster, standard_error, t_below, t_quantile

#: P-values of Student's t that are smaller are given as this: so far out its tails are those of no real distribution.
LEAST_P = 1e-6
#: Up to so many ways to exchange the trainings of two groups every one is tried; beyond, as many are drawn.
MOST_WAYS = 20_000


@dataclass(frozen=True)
class Seeds:
    """The noise of training seeds, as trainings of known recipes show it.

    Args:
        variance: variance between the means of trainings of one recipe, in squared points; on rows that are the same.
        rest: what of it comes from the rows: each training does better on some of them and worse on others.
        freedom: degrees of freedom: trainings, less one for each recipe.
        trainings: number of trainings.
    """

    variance: float
    rest: float
    freedom: int
    trainings: int

    @property
    def beyond_rows(self) -> float:
        """The variance of a training's mean over all possible rows, in squared points; 0 where rows explain it all."""
        return max(0.0, self.variance - self.rest)


@dataclass(frozen=True)
class Estimate:
    """A mean over trainings and rows, or the difference of two, in points.

    Args:
        value: the mean or the difference.
        error: its standard error.
        freedom: degrees of freedom of the error.
    """

    value: float
    error: float
    freedom: float

    def interval(self) -> tuple[float, float]:
        """The lower and the upper end of the 95 % interval."""
        half = t_quantile((1 + LEVEL) / 2, self.freedom) * self.error
        return self.value - half, self.value + half

    def p(self) -> float:
        """The two-sided p-value of a true value of 0; it is never 0 itself."""
        return max(2 * t_below(-abs(self.value) / self.error, self.freedom), LEAST_P)

    def detectable(self, power: float, together: int) -> float:
        """The smallest true difference that is found with a probability of ``power``, of comparisons made together."""
        share = 1 - (1 - LEVEL) / 2 / together
        return (t_quantile(share, self.freedom) + t_quantile(power, self.freedom)) * self.error


def seeds_of(recipes: Sequence[tuple[np.ndarray, Sequence[str]]]) -> Seeds | None:
    """The noise of training seeds, pooled over recipes.

    Args:
        recipes: scores of the trainings of each recipe on rows that all of them have, float64 [trainings, rows], and
            the rows' instructions, [rows].

    Returns:
        The noise; None where no recipe has two trainings, or too few instructions to tell rows from seeds.
    """
    between = rest = 0.0
    freedom = trainings = 0
    for scores, clusters in recipes:
        if len(scores) < 2 or len(set(clusters)) < 2:
            continue
        means = scores.mean(axis=1)
        between += float(((means - means.mean()) ** 2).sum())
        for deviations in scores - scores.mean(axis=0):
            sums, sizes = by_cluster(deviations, clusters)
            rest += (standard_error(sums, sizes) or 0.0) ** 2
        freedom += len(scores) - 1
        trainings += len(scores)
    # Deviations from a mean of k trainings vary less than the trainings do, by (k - 1) / k.
    return Seeds(between / freedom, rest / freedom, freedom, trainings) if freedom else None


def difference(a: np.ndarray, b: np.ndarray, clusters: Sequence[str], seeds: Seeds) -> Estimate | None:
    """The difference of group B from group A.

    Args:
        a: scores of A's trainings, float64 [trainings of A, rows].
        b: scores of B's trainings on the same rows, float64 [trainings of B, rows].
        clusters: the rows' instructions, [rows].
        seeds: the noise of training seeds.

    Returns:
        The difference with its error; None with fewer than two instructions, or where nothing varies.
    """
    return _estimate(b.mean(axis=0) - a.mean(axis=0), clusters, seeds, 1 / len(a) + 1 / len(b))


def mean(scores: np.ndarray, clusters: Sequence[str], seeds: Seeds) -> Estimate | None:
    """The mean of one recipe over trainings and rows; arguments and result as in `difference`."""
    return _estimate(scores.mean(axis=0), clusters, seeds, 1 / len(scores))


def least_detectable(seeds: Seeds, trainings: int, power: float) -> float:
    """The smallest true difference of two recipes that is found with a probability of ``power``, at best.

    At best, since it takes both recipes to do equally well on each instruction, but for what seeds do.

    Args:
        seeds: the noise of training seeds.
        trainings: trainings of each recipe.
        power: the probability.
    """
    error = math.sqrt(2 / trainings * (seeds.rest + seeds.beyond_rows))
    freedom = 2 * (trainings - 1)
    return (t_quantile((1 + LEVEL) / 2, freedom) + t_quantile(power, freedom)) * error


def _estimate(each: np.ndarray, clusters: Sequence[str], seeds: Seeds, share: float) -> Estimate | None:
    """A mean over rows whose values are means over trainings.

    Args:
        each: the values, float64 [rows].
        clusters: the rows' instructions, [rows].
        seeds: the noise of training seeds.
        share: how much of the variance of one training is in the mean.
    """
    sums, sizes = by_cluster(each, clusters)
    of_rows = standard_error(sums, sizes)
    if of_rows is None:
        return None
    variance = of_rows**2 + share * seeds.beyond_rows
    if variance <= EQUAL**2:
        return None
    # The whole variance between trainings, not what is left of it after the rest was taken off, decides how well the
    # seeds are known: with the remainder, 2 seeds a group covered 88 % and not 95 %.
    uncertain = of_rows**4 / (len(sums) - 1) + share**2 * (
        seeds.variance**2 / seeds.freedom + seeds.rest**2 / (seeds.freedom * (len(sums) - 1))
    )
    # Where the rest that is taken off is as large as what it is taken from, the formula knows less than either part.
    freedom = max(variance**2 / uncertain, float(min(seeds.freedom, len(sums) - 1)))
    return Estimate(float(each.mean()), math.sqrt(variance), freedom)


def least_p(a: int, b: int) -> float:
    """The smallest p-value that exchanging the trainings of groups of ``a`` and ``b`` can give.

    >>> least_p(2, 2), least_p(2, 3)
    (0.3333333333333333, 0.1)
    """
    return (2 if a == b else 1) / math.comb(a + b, a)


def exchanged_p(a: np.ndarray, b: np.ndarray, *, seed: int) -> float:
    """The two-sided p-value of the hypothesis that exchanging trainings of A and B would change nothing.

    It is exact with up to `MOST_WAYS` ways to deal the trainings out to the groups. Beyond, it is (1 + ways at least as
    extreme) / (1 + ways that were drawn). It is never 0.

    Args:
        a: means of A's trainings over the rows, float64 [trainings of A].
        b: means of B's trainings over the same rows, float64 [trainings of B].
        seed: seed of the draws.
    """
    means = np.concatenate([a, b])
    count = len(means)
    observed = abs(b.mean() - a.mean()) - EQUAL
    if math.comb(count, len(a)) <= MOST_WAYS:
        chosen = np.array(list(itertools.combinations(range(count), len(a))))
        first = means[chosen].sum(axis=1)
        drawn = 0
    else:
        random = np.random.default_rng(seed)
        order = random.random((MOST_WAYS, count)).argsort(axis=1)[:, : len(a)]
        first = means[order].sum(axis=1)
        drawn = 1
    others = means.sum() - first
    extreme = int((np.abs(others / len(b) - first / len(a)) >= observed).sum())
    return (extreme + drawn) / (len(first) + drawn)
