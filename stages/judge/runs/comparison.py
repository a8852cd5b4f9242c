"""Whether one run's answers are better than another's: paired on the same rows, clustered by instruction.

Rows that share an instruction are not independent of one another. So the bootstrap draws whole instructions, and the
permutation test exchanges the answers of whole instructions (arXiv 2411.00640 says why, and why pairs). Where no row
differs there is nothing to test. Where all instructions differ by the same number there is no variance, from which the
detectable difference would follow.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from stages.common.records import Metrics
from stages.common.results.judge import Verdict
from stages.judge.scores.bootstrap import EQUAL, LEVEL, blocks, by_cluster, mean_interval, standard_error, z
from stages.judge.scores.figures import cluster_of

#: The probability with which the minimum detectable difference would be found.
POWER = 0.8
#: The widest differences of two scores.
BOUNDS = (-100.0, 100.0)
#: Up to so many clusters every combination of exchanges is tried, and the p-value is exact.
MOST_EXACT = 14


class Comparison(Metrics):
    """B against A, in points of the score; what too few rows cannot say is None.

    Args:
        n: rows scored in both.
        left_out: rows in both that lack a score in one of them.
        another_row: ids that both have, but for rows of different instructions; these rows are left out.
        only_in_a: rows of A that B does not have.
        only_in_b: rows of B that A does not have.
        clusters: different instructions among the rows.
        mean_a: mean of A on these rows.
        mean_b: mean of B on these rows.
        difference: mean of B minus A.
        low: lower end of the difference's 95 % interval (`stages.judge.scores.bootstrap.mean_interval`).
        high: upper end of this interval.
        method: how the interval was made, or why there is none.
        p: two-sided p-value of the permutation test, which exchanges the two runs' answers of whole clusters.
        p_holm: p-value after Holm's correction over all comparisons made together.
        detectable: the smallest true difference that so many rows would find with a probability of 80 %, at 5 % divided
            by the number of comparisons made together; None where the differences have no variance.
        wins: rows on which B is better.
        ties: rows on which both have the same score.
        losses: rows on which A is better.
        right_of: rows of which the judge says in both whether the answer is right; None where it never does.
        right_a: right answers of A among these.
        right_b: right answers of B among these.
    """

    n: int
    left_out: int
    another_row: tuple[str, ...]
    only_in_a: int
    only_in_b: int
    clusters: int
    mean_a: float | None
    mean_b: float | None
    difference: float | None
    low: float | None
    high: float | None
    method: str | None
    p: float | None
    p_holm: float | None
    detectable: float | None
    wins: int
    ties: int
    losses: int
    right_of: int | None = None
    right_a: int | None = None
    right_b: int | None = None

    @property
    def verdict(self) -> str:
        """What may be said: by Holm's p-value, so that many comparisons do not find something by chance."""
        if self.p_holm is None or self.difference is None:
            return "too few rows to compare"
        if self.ties == self.n:
            return "identical scores"
        if self.p_holm > 1 - LEVEL:
            return "no detectable difference"
        return "B is better" if self.difference > 0 else "A is better"


def compare(
    a: Sequence[Verdict], b: Sequence[Verdict], *, resamples: int = 10_000, seed: int = 123, together: int = 1
) -> Comparison:
    """Compare the verdicts of two runs on the rows that both have, by id.

    Args:
        a: verdicts of run A, one a row. A verdict without an instruction is taken to be of the row with its id.
        b: verdicts of run B.
        resamples: number of resamples of the bootstrap and of the permutation test.
        seed: seed of both.
        together: number of comparisons that are made together, which the detectable difference has to allow for. The
            caller corrects ``p_holm`` with `holm`.
    """
    of_a = {verdict.id: verdict for verdict in a}
    in_both = [(of_a[verdict.id], verdict) for verdict in b if verdict.id in of_a]
    another = {y.id for x, y in in_both if x.cluster and y.cluster and x.cluster != y.cluster}
    pairs = [(x, y) for x, y in in_both if y.id not in another]
    known = [(x.right, y.right) for x, y in pairs if x.right is not None and y.right is not None]
    scored = [(x.score, y.score, cluster_of(y)) for x, y in pairs if x.score is not None and y.score is not None]
    first = np.array([pair[0] for pair in scored], dtype=np.float64)
    second = np.array([pair[1] for pair in scored], dtype=np.float64)
    differences = second - first
    clusters = [pair[2] for pair in scored]
    sums, sizes = by_cluster(differences, clusters)
    ends = mean_interval(differences, clusters, bounds=BOUNDS, resamples=resamples, seed=seed)
    p = permutation_p(sums, resamples=resamples, seed=seed)
    error = standard_error(sums, sizes)
    # Equal differences in all instructions show nothing of how much others would differ.
    noise = error if error is not None and error > EQUAL else None
    return Comparison(
        n=len(scored),
        left_out=len(pairs) - len(scored),
        another_row=tuple(sorted(another)),
        only_in_a=len(of_a) - len(in_both),
        only_in_b=len(b) - len(in_both),
        clusters=len(sums),
        mean_a=float(first.mean()) if len(scored) else None,
        mean_b=float(second.mean()) if len(scored) else None,
        difference=float(differences.mean()) if len(scored) else None,
        low=ends.low,
        high=ends.high,
        method=ends.method,
        p=p,
        p_holm=p,
        detectable=None if noise is None else (z(1 - (1 - LEVEL) / 2 / together) + z(POWER)) * noise,
        wins=int((differences > EQUAL).sum()),
        ties=int((np.abs(differences) <= EQUAL).sum()),
        losses=int((differences < -EQUAL).sum()),
        right_of=len(known) or None,
        right_a=sum(right for right, _ in known) if known else None,
        right_b=sum(right for _, right in known) if known else None,
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (1979) of p-values of comparisons made together; None stays None.

    With 0.01, 0.04 and 0.03 it gives 3 x 0.01 = 0.03, then 2 x 0.03 = 0.06 for 0.03, and 0.06 again for 0.04.
    """
    order = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (p, index) in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p))
        corrected[index] = least
    return corrected


def permutation_p(sums: np.ndarray, *, resamples: int, seed: int) -> float | None:
    """The two-sided p-value of the hypothesis that exchanging A and B in any cluster would change nothing.

    It is exact with up to `MOST_EXACT` clusters. Beyond, it is (1 + resamples at least as extreme) / (1 + resamples),
    which is never 0.

    Args:
        sums: sum of the differences in each cluster, float64 [clusters].
        resamples: number of random exchanges beyond `MOST_EXACT` clusters.
        seed: seed of these.
    """
    count = len(sums)
    if count < 2:
        return None
    observed = abs(sums.sum()) - EQUAL
    if count <= MOST_EXACT:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=count)))
        return float((np.abs(signs @ sums) >= observed).mean())
    random = np.random.default_rng(seed)
    extreme = 0
    for number in blocks(resamples, count):
        signs = 2.0 * random.integers(0, 2, (number, count)) - 1
        extreme += int((np.abs(signs @ sums) >= observed).sum())
    return (1 + extreme) / (1 + resamples)
