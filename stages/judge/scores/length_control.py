"""A win rate from which the preference for longer answers is taken out, as AlpacaEval 2 does it.

Judges prefer the longer of two answers (AlpacaEval's win rate of one model goes from 23 % to 64 % as it is told to be
concise or verbose). Dubois, Galambosi, Liang and Hashimoto (2024, arXiv 2404.04475) model the preference as

    P(tuned is better) = logistic(theta + phi * tanh((length of tuned - length of base) / their standard deviation))

with lengths in characters, and take its value at a length difference of 0: logistic(theta). AlpacaEval's model has
another term, how hard each instruction is, which needs many models' answers to a fixed set of instructions.

Where the length tells wins from losses without an error, or all rows are won, no finite theta and phi fit best
(separation). AlpacaEval bounds them by an L1 penalty and by added rows that a baseline loses. Here a ridge does, that
is, normal priors around 0 (`RIDGE`). The standard deviation is 3.2 for theta, which 100 rows hardly notice and which
draws few rows towards 50 %, and 32 for phi. With a tighter prior, phi could not account for a judge that looks at the
length alone, and theta would: where 80 % of 139 answers are longer by 20 characters and more, the win rate at equal
length is 66 % with 0.1 for both, and 53 % with `RIDGE`. With a judge that also reads, the ridge on phi changes it by
less than one percentage point. Both models are treated alike: exchanging them gives 1 minus the win rate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from stages.common.metrics.judge import Interval, LengthControlled
from stages.judge.scores.bootstrap import LEAST, no_interval, percentile_interval, too_few

#: The ridge on theta and on phi: the inverse variances of their priors.
RIDGE = (0.1, 0.001)
#: The most resamples behind the interval: each is a fit.
MOST_RESAMPLES = 1000


def length_feature(differences: np.ndarray) -> np.ndarray | None:
    """What the model is told of the lengths: float64 [rows] from -1 to 1.

    Args:
        differences: characters of the tuned model's answer minus those of the base model's, [rows].

    Returns:
        tanh of the differences over their standard deviation (of a sample); zeros if all answers are of equal length;
        None if one model's answers are all longer, so that nothing was seen of equal length, or all differ by the
        same number, so that length and model cannot be told apart.
    """
    if not differences.any():
        return np.zeros(len(differences))
    if len(differences) < 2 or not differences.min() <= 0 <= differences.max():
        return None
    return np.asarray(np.tanh(differences / differences.std(ddof=1)))


def fit(
    feature: np.ndarray, preferences: np.ndarray, weights: np.ndarray, ridge: tuple[float, float] = RIDGE
) -> tuple[float, float]:
    """Theta and phi of the model, at the greatest penalised likelihood; a tie is half a win and half a loss.

    Args:
        feature: result of `length_feature`, [rows].
        preferences: 1 where the tuned model's answer is better, 0 where the base model's is, 0.5 at a tie, [rows].
        weights: how often each row counts, [rows].
        ridge: ridges on theta and on phi; where both are 0 there may be no best fit.
    """
    design = np.column_stack([np.ones_like(feature), feature])
    held = np.array(ridge)

    def loss(coefficients: np.ndarray) -> float:
        odds = design @ coefficients
        return float(weights @ (np.logaddexp(0, odds) - preferences * odds) + held @ coefficients**2 / 2)

    def gradient(coefficients: np.ndarray) -> np.ndarray:
        excess = weights * (expit(design @ coefficients) - preferences)
        return np.asarray(design.T @ excess + held * coefficients)

    def hessian(coefficients: np.ndarray) -> np.ndarray:
        expected = expit(design @ coefficients)
        return np.asarray((design.T * (weights * expected * (1 - expected))) @ design + np.diag(held))

    from scipy import optimize  # only pairwise verdicts need it

    # Convex, so that what is found is the one minimum; the gradient grows with the number of rows.
    nearly = {"gtol": 1e-8 * (1 + weights.sum())}
    found = optimize.minimize(loss, np.zeros(2), jac=gradient, hess=hessian, method="trust-exact", options=nearly)
    return float(found.x[0]), float(found.x[1])


def length_controlled(
    preferences: np.ndarray, differences: np.ndarray, clusters: Sequence[str], *, resamples: int, seed: int
) -> LengthControlled:
    """The win rate that the tuned model would have if its answers were as long as the base model's.

    Args:
        preferences: preferences as for `fit`, [rows].
        differences: length differences as for `length_feature`, [rows].
        clusters: the rows' instructions, which are drawn whole, [rows].
        resamples: number of resamples of the bootstrap; no more than `MOST_RESAMPLES` are made.
        seed: seed of the bootstrap.

    Returns:
        The figures, not rounded. Their interval is a percentile bootstrap over clusters, with the standard deviation of
        all rows. It has no ends with fewer than `LEAST` clusters, or where all rows have the same outcome: then no
        resample has another.
    """
    mean = float(differences.mean()) if len(differences) else None
    feature = length_feature(differences)
    if len(differences) == 0 or feature is None:
        return LengthControlled(
            win_rate=None,
            interval=no_interval("the length cannot be told from the model"),
            length_effect=None,
            mean_length_difference=mean,
        )
    theta, phi = fit(feature, preferences, np.ones(len(preferences)))
    return LengthControlled(
        win_rate=float(expit(theta)),
        interval=_interval(feature, preferences, clusters, min(resamples, MOST_RESAMPLES), seed),
        length_effect=phi,
        mean_length_difference=mean,
    )


def _interval(
    feature: np.ndarray, preferences: np.ndarray, clusters: Sequence[str], resamples: int, seed: int
) -> Interval:
    """The interval of `length_controlled`."""
    names, members = np.unique(clusters, return_inverse=True)
    if len(names) < LEAST:
        return too_few(len(names))
    if np.ptp(preferences) == 0:
        return no_interval("all rows have the same outcome, and so would all resamples")
    random = np.random.default_rng(seed)
    rates = []
    for _ in range(resamples):
        drawn = np.bincount(random.integers(0, len(names), len(names)), minlength=len(names))
        rates.append(expit(fit(feature, preferences, drawn[members].astype(np.float64))[0]))
    method = f"percentile bootstrap over {len(names)} instructions, {resamples} resamples, seed {seed}"
    return percentile_interval(rates, method)
