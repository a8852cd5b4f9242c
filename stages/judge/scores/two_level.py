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

Where both recipes have two trainings or more, the noise of the seeds of each is estimated by itself. The rest is then
left with the seeds, and taken off the rows: the variance between few trainings does not tell the two apart. The half
width is that of Banerjee (1960, "Approximate confidence interval for linear functions of means of k populations",
Journal of the Indian Society of Agricultural Statistics): the root of the sum of the variances, each times its own
Student's t squared. Of independent parts it misses the truth no more often than it says, whatever their variances.
Here they are nearly so: a part of seed x instruction is in the seeds and in the rows. The t of Welch (1947) with
Satterthwaite's degrees of freedom is too narrow with few trainings: where the standard deviations were 1 and 6, it
missed the truth in 5 to 12 % of the cases. From five trainings of each recipe on it is right, and narrower than
Banerjee's; so it is taken there. docs/decisions.md has the simulated figures of both.

Where one recipe has a single training, both are taken to vary alike, and the noise is that of all trainings that are
known. The half width is then Student's t times the root of the sum, with Satterthwaite's (1946) degrees of freedom.
With unequal noise this is wrong: it missed the truth in up to 47 % of the cases. So `stages.judge.runs.verdict` calls
no recipe better by it.

A bootstrap that draws seeds and instructions was tried too. It counts the rest twice, and does not know how little 2
seeds tell: its interval of 95 % held the truth in 86 to 100 % of simulated cases (docs/decisions.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.judge.scores.bootstrap import EQUAL, LEVEL, by_cluster, clipped, standard_error, t_below, t_quantile

#: P-values of Student's t that are smaller are given as this: so far out its tails are those of no real distribution.
LEAST_P = 1e-6
#: From so many degrees of freedom of each recipe's seeds on, which are those of 4 trainings, a difference of the size
#: called detectable is found in 69 to 83 % of simulated comparisons; with 3 trainings each in 65 to 73 %, with 2 in
#: 54 to 59 % (docs/compare-runs.md).
LEAST_FREEDOM = 3
#: From so many degrees of freedom of each recipe's seeds on, which are those of 5 trainings, Welch's t is right: its
#: interval of 95 % held the truth in 92.8 to 97.5 % of 800 simulated cases each (docs/decisions.md).
ENOUGH_FREEDOM = 4
#: How well the logarithm of a p-value is found.
BISECTED = 1e-9


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

    def together(self, other: Seeds) -> Seeds:
        """The noise of two recipes as one, each weighted by its degrees of freedom."""
        freedom = self.freedom + other.freedom
        variance, rest = (
            (self.freedom * ours + other.freedom * theirs) / freedom
            for ours, theirs in ((self.variance, other.variance), (self.rest, other.rest))
        )
        return Seeds(variance, rest, freedom, self.trainings + other.trainings)


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

    @property
    def method(self) -> str:
        """The test in words."""
        return f"Student's t over seeds and instructions, {self.freedom:.1f} degrees of freedom"

    def half(self, error_rate: float) -> float:
        """Half the width of the interval that misses the truth with this probability, such as 0.05."""
        return t_quantile(1 - error_rate / 2, self.freedom) * self.error

    def interval(self, bounds: tuple[float, float] = (-math.inf, math.inf)) -> tuple[float, float]:
        """The lower and the upper end of the 95 % interval.

        Student's t knows no scale. What lies beyond the bounds is cut off. The interval holds the truth as often as
        before, since that never lies there.

        Args:
            bounds: the least and the greatest value that the mean or the difference can have.
        """
        half = self.half(1 - LEVEL)
        return clipped(self.value - half, self.value + half, bounds)

    def p(self) -> float:
        """The two-sided p-value of a true value of 0; it is never 0 itself."""
        return max(2 * t_below(-abs(self.value) / self.error, self.freedom), LEAST_P)

    def detectable(self, power: float, together: int) -> float:
        """The smallest true difference that is found with a probability of ``power``, of comparisons made together.

        That is by the test of `p`, and at 5 % divided by ``together``.
        """
        return self.half((1 - LEVEL) / together) + t_quantile(power, self.freedom) * self.error


@dataclass(frozen=True)
class Apart(Estimate):
    """The difference of two recipes whose seeds do not have to vary alike.

    Args:
        parts: the variances that make up the squared error, each with its degrees of freedom. ``freedom`` is that of
            Satterthwaite for their sum.
    """

    parts: tuple[tuple[float, float], ...]

    @property
    def method(self) -> str:
        """The test in words."""
        return "Student's t for the seeds of A, those of B and the instructions each, after Banerjee"

    def half(self, error_rate: float) -> float:
        """Half the width of the interval that misses the truth with this probability at most."""
        share = 1 - error_rate / 2
        return math.sqrt(sum(variance * t_quantile(share, freedom) ** 2 for variance, freedom in self.parts))

    def p(self) -> float:
        """The probability at which the interval ends at 0, by bisection of its logarithm; it is never 0 itself."""
        low, high = math.log(LEAST_P), 0.0
        if self.half(LEAST_P) <= abs(self.value):
            return LEAST_P
        while high - low > BISECTED:
            middle = (low + high) / 2
            low, high = (low, middle) if self.half(math.exp(middle)) < abs(self.value) else (middle, high)
        return math.exp(high)


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


def difference(
    a: np.ndarray, b: np.ndarray, clusters: Sequence[str], seeds: Seeds | tuple[Seeds, Seeds]
) -> Estimate | None:
    """The difference of group B from group A.

    Args:
        a: scores of A's trainings, float64 [trainings of A, rows].
        b: scores of B's trainings on the same rows, float64 [trainings of B, rows].
        clusters: the rows' instructions, [rows].
        seeds: the noise of training seeds: of A and of B, each by itself, or one that both are taken to have.

    Returns:
        The difference with its error, `Apart` where the noise of either is given and one of them is known from few
        trainings; None with fewer than two instructions, or where nothing varies.
    """
    each = b.mean(axis=0) - a.mean(axis=0)
    if isinstance(seeds, Seeds):
        return _estimate(each, clusters, [(1 / len(a) + 1 / len(b), seeds)])
    shares = list(zip((1 / len(a), 1 / len(b)), seeds, strict=True))
    found = _estimate(each, clusters, shares)
    if found is None or min(one.freedom for one in seeds) >= ENOUGH_FREEDOM:
        return found
    sums, sizes = by_cluster(each, clusters)
    of_rows = (standard_error(sums, sizes) or 0.0) ** 2 - sum(share * one.rest for share, one in shares)
    of_seeds = [(share * one.variance, float(one.freedom)) for share, one in shares]
    return Apart(found.value, found.error, found.freedom, ((max(0.0, of_rows), len(sums) - 1.0), *of_seeds))


def mean(scores: np.ndarray, clusters: Sequence[str], seeds: Seeds) -> Estimate | None:
    """The mean of one recipe over trainings and rows; arguments and result as in `difference`."""
    return _estimate(scores.mean(axis=0), clusters, [(1 / len(scores), seeds)])


def least_detectable(seeds: Seeds, trainings: int, power: float) -> float | None:
    """The smallest true difference of two recipes that is found with a probability of ``power``, at best.

    At best, since it takes both recipes to do equally well on each instruction, but for what seeds do.

    Args:
        seeds: the noise of training seeds.
        trainings: trainings of each recipe.
        power: the probability.

    Returns:
        The difference; None of fewer than 4 trainings, which know too little of their noise (`LEAST_FREEDOM`).
    """
    if trainings - 1 < LEAST_FREEDOM:
        return None
    share, freedom = 1 / trainings, trainings - 1
    error = math.sqrt(2 * share * (seeds.rest + seeds.beyond_rows))
    if freedom >= ENOUGH_FREEDOM:
        return Estimate(0.0, error, 2.0 * freedom).detectable(power, 1)
    of_seeds = (share * seeds.variance, float(freedom))
    return Apart(0.0, error, 2.0 * freedom, (of_seeds, of_seeds)).detectable(power, 1)


def _estimate(each: np.ndarray, clusters: Sequence[str], shares: Sequence[tuple[float, Seeds]]) -> Estimate | None:
    """A mean over rows whose values are means over trainings.

    Args:
        each: the values, float64 [rows].
        clusters: the rows' instructions, [rows].
        shares: how much of the variance of one training is in the mean, with the noise of its recipe's seeds.
    """
    sums, sizes = by_cluster(each, clusters)
    of_rows = standard_error(sums, sizes)
    if of_rows is None:
        return None
    variance = of_rows**2 + sum(share * seeds.beyond_rows for share, seeds in shares)
    if variance <= EQUAL**2:
        return None
    # The whole variance between trainings, not what is left of it after the rest was taken off, decides how well the
    # seeds are known: with the remainder, 2 seeds a group covered 88 % and not 95 %.
    uncertain = of_rows**4 / (len(sums) - 1) + sum(
        share**2 * (seeds.variance**2 / seeds.freedom + seeds.rest**2 / (seeds.freedom * (len(sums) - 1)))
        for share, seeds in shares
    )
    # Where the rest that is taken off is as large as what it is taken from, the formula knows less than either part.
    least = min(len(sums) - 1, *(seeds.freedom for _, seeds in shares))
    return Estimate(float(each.mean()), math.sqrt(variance), max(variance**2 / uncertain, float(least)))
