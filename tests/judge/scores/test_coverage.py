"""Do 95 % intervals hold the truth 95 times in 100? By simulation, on scores shaped like a judge's."""

import numpy as np
import pytest

from stages.common.results.judge import Verdict
from stages.judge.runs.comparison import compare
from stages.judge.scores.bootstrap import mean_interval

#: The standard error of a coverage near 95 % is then 0.5 points, so that 93 to 97 is four of them on either side.
ROUNDS = 2000

#: The scores that Llama 3 gives, and how often: a few values make half of all, one in six is 100.
SCORES = np.array([0, 20, 40, 60, 80, 85, 92, 95, 98, 100], dtype=float)
SHARES = np.array([0.06, 0.14, 0.08, 0.08, 0.14, 0.12, 0.08, 0.08, 0.06, 0.16])


@pytest.mark.slow
@pytest.mark.parametrize("count", [60, 110])
def test_the_interval_of_the_mean_covers(count):
    truth = SCORES @ SHARES
    random = np.random.default_rng(count)
    names = [str(index) for index in range(count)]
    held = 0
    for seed in range(ROUNDS):
        scores = random.choice(SCORES, count, p=SHARES)
        found = mean_interval(scores, names, bounds=(0, 100), resamples=1000, seed=seed)
        held += found.low <= truth <= found.high
    assert 0.93 <= held / ROUNDS <= 0.97


@pytest.mark.slow
def test_the_interval_of_a_mean_covers_where_rows_share_instructions():
    """Sixty instructions of one to three rows, which are good or bad together: a draw that takes rows is too sure."""
    truth = SCORES @ SHARES
    random = np.random.default_rng(6)
    held = 0
    for seed in range(ROUNDS):
        cluster = np.repeat(np.arange(60), random.integers(1, 4, 60))
        shared = random.choice(SCORES, 60, p=SHARES)[cluster]
        own = random.choice(SCORES, len(cluster), p=SHARES)
        scores = np.where(random.random(len(cluster)) < 0.6, shared, own)
        found = mean_interval(scores, [f"c{name}" for name in cluster], bounds=(0, 100), resamples=1000, seed=seed)
        held += found.low <= truth <= found.high
    assert 0.93 <= held / ROUNDS <= 0.97


@pytest.mark.slow
def test_the_interval_of_a_win_rate_covers():
    """A hundred rows, of which 65 % are won, 10 % tied and the others lost: 70 %."""
    random = np.random.default_rng(7)
    names = [str(index) for index in range(100)]
    held = 0
    for seed in range(ROUNDS):
        outcomes = random.choice([1.0, 0.5, 0.0], 100, p=[0.65, 0.10, 0.25])
        found = mean_interval(outcomes, names, bounds=(0, 1), resamples=1000, seed=seed)
        held += found.low <= 0.70 <= found.high
    assert 0.93 <= held / ROUNDS <= 0.97


@pytest.mark.slow
def test_the_interval_of_the_difference_covers_where_rows_share_instructions():
    """Sixty instructions of one to three rows that move together, a true difference of 4 points."""
    random = np.random.default_rng(5)
    held = rejected = 0
    for seed in range(ROUNDS):
        cluster = np.repeat(np.arange(60), random.integers(1, 4, 60))
        shift = random.normal(0, 12, 60)[cluster]
        first = random.normal(50, 15, len(cluster))
        second = first + 4 + shift + random.normal(0, 10, len(cluster))
        found = compare(_verdicts(first, cluster), _verdicts(second, cluster), resamples=1000, seed=seed)
        held += found.low <= 4 <= found.high
        none = compare(_verdicts(first, cluster), _verdicts(second - 4, cluster), resamples=1000, seed=seed)
        rejected += none.p <= 0.05
    assert 0.93 <= held / ROUNDS <= 0.97
    assert 0.03 <= rejected / ROUNDS <= 0.07


def _verdicts(scores, clusters):
    return [
        Verdict(id=f"r{n}", model="tuned", status="scored", score=float(score), detail="", cluster=f"c{cluster}")
        for n, (score, cluster) in enumerate(zip(scores, clusters, strict=True))
    ]
