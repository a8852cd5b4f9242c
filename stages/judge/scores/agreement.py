"""How far several judges agree on the same answers: Krippendorff's alpha."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.common.metrics.judge import Interval
from stages.judge.scores.bootstrap import EQUAL, LEAST, blocks, no_interval, percentile_interval, too_few


def alpha(scores: np.ndarray) -> float | None:
    """Krippendorff's alpha for values on an interval scale: 1 minus observed over expected disagreement.

    With n values in the units that have two or more, m_u of them in unit u:

        observed = sum over u of (1 / (m_u - 1)) * sum over pairs i != j in u of (x_i - x_j)^2, divided by n
        expected = sum over all pairs i != j of (x_i - x_j)^2, divided by n (n - 1)

    (Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, sections D and E.) It is 1 where judges agree in
    every unit, 0 where they agree as by chance, and below 0 where they agree less than that.

    Args:
        scores: the judges' scores, float64 [judges, units]; not a number where a judge has none.

    Returns:
        Alpha; None where fewer than two values can be paired, or all of them are the same.
    """
    found = _alphas(_sums(scores).sum(axis=0)[None])[0]
    return None if np.isnan(found) else float(found)


def alpha_interval(scores: np.ndarray, clusters: Sequence[str], *, resamples: int, seed: int) -> Interval:
    """The 95 % percentile interval of `alpha`, for which whole instructions are drawn; not rounded.

    Args:
        scores: scores as for `alpha`, [judges, units].
        clusters: the units' instructions, [units].
        resamples: number of resamples.
        seed: seed of the bootstrap.
    """
    names, members = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    count = len(names)
    if count < LEAST:
        return too_few(count)
    sums = np.zeros((count, _SUMS))
    np.add.at(sums, members, _sums(scores))
    random = np.random.default_rng(seed)
    found: list[float] = []
    for number in blocks(resamples, count):
        drawn = random.integers(0, count, (number, count))
        found += _alphas(sums[drawn].sum(axis=1)).tolist()
    if np.isnan(found).any():
        return no_interval("in some resamples all scores are the same")
    return percentile_interval(
        found, f"percentile bootstrap over {count} instructions, {resamples} resamples, seed {seed}"
    )


#: Sums of a unit, from which alpha follows: values, their sum, the sum of their squares, observed disagreement.
_SUMS = 4


def _sums(scores: np.ndarray) -> np.ndarray:
    """The sums of each unit that has two values or more, and zeros of the others, float64 [units, `_SUMS`]."""
    there = ~np.isnan(scores)
    values = np.where(there, scores, 0.0)
    count = there.sum(axis=0).astype(np.float64)
    total, squares = values.sum(axis=0), (values**2).sum(axis=0)
    # The sum over pairs i != j of (x_i - x_j)^2 is 2 (m sum of x^2 - (sum of x)^2).
    observed = 2 * (count * squares - total**2) / np.maximum(count - 1, 1)
    return np.asarray(np.where(count[:, None] >= 2, np.stack([count, total, squares, observed], axis=1), 0.0))


def _alphas(sums: np.ndarray) -> np.ndarray:
    """Alpha of each sample by its sums, float64 [samples]; not a number where it is not defined."""
    count, total, squares, observed = sums.T
    pairs = 2 * (count * squares - total**2)
    defined = (count >= 2) & (pairs > EQUAL * np.maximum(count * squares, 1.0))
    expected = np.where(defined, pairs, 1.0) / np.maximum(count - 1, 1.0)
    return np.where(defined, 1 - observed / expected, np.nan)
