"""Whether one run's answers are better than another's: paired on the same rows, clustered by instruction.

Rows that share an instruction are not independent of one another, so whole instructions are drawn for the bootstrap and
turned round for the permutation test (arXiv 2411.00640 says why, and why pairs).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from stages.common.records import Verdict

#: The confidence of the interval, and the probability with which the minimum detectable difference would be found.
LEVEL, POWER = 0.95, 0.8
#: Up to so many clusters every way to turn them round is tried, and the p-value is exact.
MOST_EXACT = 14
#: Numbers drawn at a time, which bounds the memory.
_DRAWN_AT_A_TIME = 1 << 20
#: Sums are compared with this much tolerance: orders of addition differ in the last bits.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Comparison:
    """B against A, in points of the score; what two rows or less cannot say is None.

    Attributes:
        n: rows scored in both.
        left_out: rows in both that lack a score in one of them.
        clusters: different instructions among the rows.
        mean_a: the mean of A on these rows.
        mean_b: that of B.
        difference: the mean of B minus A.
        low: the lower end of its 95 % interval (BCa bootstrap over clusters).
        high: the upper end.
        p: two-sided, of the permutation test that turns the two answers of whole clusters round.
        p_holm: the same after Holm's correction over all comparisons made together.
        detectable: the least true difference that so many rows would find with a probability of 80 %.
        wins: rows on which B is better.
        ties: rows on which both have the same score.
        losses: rows on which A is better.
    """

    n: int
    left_out: int
    clusters: int
    mean_a: float | None
    mean_b: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    detectable: float | None
    wins: int
    ties: int
    losses: int

    @property
    def verdict(self) -> str:
        """What may be said: by Holm's p-value, so that many comparisons do not find something by chance."""
        if self.p_holm is None or self.difference is None:
            return "too few rows to compare"
        if self.p_holm > 1 - LEVEL:
            return "no detectable difference"
        return "B is better" if self.difference > 0 else "A is better"

    def as_json(self) -> dict[str, Any]:
        """All of it, rounded to 6 digits."""
        values = {name: round(value, 6) if type(value) is float else value for name, value in asdict(self).items()}
        return {"verdict": self.verdict, **values}


def compare(a: Sequence[Verdict], b: Sequence[Verdict], *, resamples: int = 10_000, seed: int = 123) -> Comparison:
    """Compare the verdicts of two runs on the rows that both have, by id.

    Args:
        a: one run's verdicts, one a row.
        b: the other's.
        resamples: of the bootstrap and of the permutation test.
        seed: of both.
    """
    theirs = {verdict.id: verdict for verdict in a}
    pairs = [(theirs[verdict.id], verdict) for verdict in b if verdict.id in theirs]
    scored = [(x.score, y.score, y.cluster or y.id) for x, y in pairs if x.score is not None and y.score is not None]
    first = np.array([pair[0] for pair in scored], dtype=np.float64)
    second = np.array([pair[1] for pair in scored], dtype=np.float64)
    differences = second - first
    names, members = np.unique([pair[2] for pair in scored], return_inverse=True)
    sums = np.bincount(members, weights=differences, minlength=len(names))
    sizes = np.bincount(members, minlength=len(names)).astype(np.float64)
    low, high = interval(sums, sizes, resamples=resamples, seed=seed)
    p = permutation_p(sums, resamples=resamples, seed=seed)
    error = standard_error(sums, sizes)
    return Comparison(
        n=len(scored),
        left_out=len(pairs) - len(scored),
        clusters=len(names),
        mean_a=float(first.mean()) if len(scored) else None,
        mean_b=float(second.mean()) if len(scored) else None,
        difference=float(differences.mean()) if len(scored) else None,
        low=low,
        high=high,
        p=p,
        p_holm=p,
        detectable=None if error is None else (_z((1 + LEVEL) / 2) + _z(POWER)) * error,
        wins=int((differences > _EQUAL).sum()),
        ties=int((np.abs(differences) <= _EQUAL).sum()),
        losses=int((differences < -_EQUAL).sum()),
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (1979) of p-values that are looked at together; None stays None.

    With 0.01, 0.04 and 0.03 it gives 3 x 0.01 = 0.03, then 2 x 0.03 = 0.06 for 0.03, and 0.06 again for 0.04.
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (p, place) in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p))
        corrected[place] = least
    return corrected


def standard_error(sums: np.ndarray, sizes: np.ndarray) -> float | None:
    """The standard error of a mean over rows that come in clusters: of ``sums.sum() / sizes.sum()``.

    The linearised ratio estimator with its correction for few clusters; with clusters of one row it is s / sqrt(n).
    """
    count = len(sums)
    if count < 2:
        return None
    residuals = sums - sizes * sums.sum() / sizes.sum()
    return float(np.sqrt(count / (count - 1) * (residuals**2).sum()) / sizes.sum())


def interval(sums: np.ndarray, sizes: np.ndarray, *, resamples: int, seed: int) -> tuple[float | None, float | None]:
    """The 95 % BCa interval (Efron 1987) of the mean over rows, whose resamples are clusters.

    Args:
        sums: the sum of each cluster's values.
        sizes: its number of values.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        Both ends; None with fewer than two clusters. Where all clusters have one mean it has no width.
    """
    count = len(sums)
    if count < 2:
        return None, None
    mean = sums.sum() / sizes.sum()
    without = (sums.sum() - sums) / (sizes.sum() - sizes)
    if np.ptp(without) <= _EQUAL:
        return float(mean), float(mean)
    means = _resampled_means(sums, sizes, resamples, np.random.default_rng(seed))
    below = ((means < mean - _EQUAL).mean() + (means <= mean + _EQUAL).mean()) / 2
    if not 0 < below < 1:
        return None, None
    bias = _z(float(below))
    deviations = without.mean() - without
    acceleration = (deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5)

    def end(share: float) -> float:
        shifted = bias + _z(share)
        place = NormalDist().cdf(bias + shifted / (1 - acceleration * shifted))
        return float(np.quantile(means, place))

    return end((1 - LEVEL) / 2), end((1 + LEVEL) / 2)


def _resampled_means(sums: np.ndarray, sizes: np.ndarray, resamples: int, random: np.random.Generator) -> np.ndarray:
    """The mean over rows of each resample of clusters, float64 [resamples]."""
    means = []
    for number in _blocks(resamples, len(sums)):
        drawn = random.integers(0, len(sums), (number, len(sums)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(means)


def permutation_p(sums: np.ndarray, *, resamples: int, seed: int) -> float | None:
    """The two-sided p-value of: in each cluster, which answer is whose is a coin's toss.

    Exact with up to `MOST_EXACT` clusters; beyond, (1 + as far out) / (1 + drawn), which is never 0.
    """
    count = len(sums)
    if count < 2:
        return None
    observed = abs(sums.sum()) - _EQUAL
    if count <= MOST_EXACT:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=count)))
        return float((np.abs(signs @ sums) >= observed).mean())
    random = np.random.default_rng(seed)
    far = 0
    for number in _blocks(resamples, count):
        signs = 2.0 * random.integers(0, 2, (number, count)) - 1
        far += int((np.abs(signs @ sums) >= observed).sum())
    return (1 + far) / (1 + resamples)


def _blocks(resamples: int, count: int) -> list[int]:
    """How many resamples of ``count`` numbers to draw at a time."""
    block = max(1, _DRAWN_AT_A_TIME // count)
    return [min(block, resamples - start) for start in range(0, resamples, block)]


def _z(share: float) -> float:
    return NormalDist().inv_cdf(share)
