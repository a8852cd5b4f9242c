"""How strong each of several runs is, by who won against whom: the model of Bradley and Terry (1952).

    P(i is better than j) = exp(s_i) / (exp(s_i) + exp(s_j))

s being the strength of a run. Only differences of strengths mean something: of two runs the best fit is the logarithm
of wins over losses. A tie counts as half a win of either. The fit is the MM algorithm of Hunter (2004, Annals of
Statistics 32, 384-406): each run's exp(s) becomes its wins over the sum of n_ij / (exp(s_i) + exp(s_j)).

A best fit is finite if and only if the runs cannot be divided into two groups of which one never won against the other
(Ford 1957). Else there are no strengths. A resample without finite ones counts as beyond either end of the interval: it
says that a run may be better or worse than any number tells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.common.metrics.judge import Interval
from stages.common.plurals import counted
from stages.common.records import Metrics
from stages.judge.scores.bootstrap import LEAST, LEVEL, no_interval, too_few

#: The most resamples behind the intervals: each is a fit.
MOST_RESAMPLES = 1000
#: The fit ends where no strength moves by more, or after so many steps. A fit that is then still on its way is one of
#: runs so far apart that it counts as not finite.
CLOSE, MOST_STEPS = 1e-10, 20_000

NOT_FINITE = "some runs have won nothing against the others, so that no finite strengths fit best"


class Strength(Metrics):
    """One run among others.

    Args:
        run: index of the run.
        strength: its strength, the mean of all runs being 0; None where no finite strengths fit.
        interval: its 95 % interval, for which whole instructions are drawn; both ends, one, or none of them are known.
        won: share of its comparisons that it won, a tie counting half; None where it has none.
    """

    run: int
    strength: float | None
    interval: Interval
    won: float | None


def fit(wins: np.ndarray) -> np.ndarray:
    """The strengths that fit best.

    Args:
        wins: how often run i won against run j, a tie being half a win of either, float64 [samples, i, j].

    Returns:
        The strengths, whose mean is 0, float64 [samples, runs]; not a number in samples without finite ones.
    """
    found = np.full(wins.shape[:2], np.nan)
    active = np.flatnonzero(_connected(wins))
    won, played = wins.sum(axis=2), wins + wins.transpose(0, 2, 1)
    powers = np.zeros(wins.shape[:2])
    for _ in range(MOST_STEPS):
        if not len(active):
            break
        strength = np.exp(powers[active])
        sums = (played[active] / (strength[:, :, None] + strength[:, None, :])).sum(axis=2)
        after = np.log(won[active] / sums)
        after -= after.mean(axis=1, keepdims=True)
        moved = np.abs(after - powers[active]).max(axis=1)
        powers[active] = after
        done = moved <= CLOSE
        found[active[done]] = after[done]
        active = active[~done]
    return found


def _connected(wins: np.ndarray) -> np.ndarray:
    """Whether every run has beaten every other one, or one that has beaten it and so on, bool [samples]."""
    reached = (wins > 0) | np.eye(wins.shape[1], dtype=bool)
    for _ in range(max(1, (wins.shape[1] - 1).bit_length())):
        reached = (reached.astype(np.int64) @ reached.astype(np.int64)) > 0
    return np.asarray(reached.all(axis=(1, 2)))


def strengths(wins: np.ndarray, *, resamples: int, seed: int) -> list[Strength]:
    """The strengths of all runs with their intervals, the best run first.

    Runs without finite strengths are in the order of their shares of won comparisons.

    Args:
        wins: how often run i won against run j on the rows of an instruction, a tie being half a win of either, float64
            [instructions, i, j].
        resamples: number of resamples of the bootstrap, which draws instructions; no more than `MOST_RESAMPLES`.
        seed: seed of the bootstrap.

    Returns:
        The figures, not rounded.
    """
    total = wins.sum(axis=0)
    best = fit(total[None])[0]
    intervals = _intervals(wins, best, min(resamples, MOST_RESAMPLES), seed)
    played = (total + total.T).sum(axis=1)
    found = [
        Strength(
            run=run,
            strength=None if np.isnan(best[run]) else float(best[run]),
            interval=intervals[run],
            won=float(total[run].sum() / played[run]) if played[run] else None,
        )
        for run in range(len(best))
    ]
    return sorted(found, key=_order)


def _order(one: Strength) -> tuple[float, int]:
    worth = one.strength if one.strength is not None else one.won
    return (0.0 if worth is None else -worth, one.run)


def _intervals(wins: np.ndarray, best: np.ndarray, resamples: int, seed: int) -> Sequence[Interval]:
    """The interval of each strength: quantiles of the resamples, those without finite strengths beyond either end."""
    count, runs = len(wins), len(best)
    if np.isnan(best).any():
        return [no_interval(NOT_FINITE)] * runs
    if count < LEAST:
        return [too_few(count)] * runs
    random = np.random.default_rng(seed)
    drawn = np.array([np.bincount(random.integers(0, count, count), minlength=count) for _ in range(resamples)])
    fitted = fit((drawn @ wins.reshape(count, -1)).reshape(resamples, runs, runs))
    infinite = int(np.isnan(fitted[:, 0]).sum())
    method = f"percentile bootstrap over {count} instructions, {resamples} resamples, seed {seed}"
    if infinite:
        method += f"; {counted(infinite, 'resample')} without finite strengths are beyond either end"
    lower, upper = (np.where(np.isnan(fitted), beyond, fitted) for beyond in (-np.inf, np.inf))
    share = (1 - LEVEL) / 2
    low = np.quantile(lower, share, axis=0, method="lower")
    high = np.quantile(upper, 1 - share, axis=0, method="higher")
    return [Interval(level=LEVEL, low=_end(low[run]), high=_end(high[run]), method=method) for run in range(runs)]


def _end(value: float) -> float | None:
    """An end of an interval; None where it has none on this side."""
    return float(value) if np.isfinite(value) else None
