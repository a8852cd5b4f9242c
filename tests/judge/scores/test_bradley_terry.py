"""Bradley-Terry strengths: worked by hand, against an optimiser, and their intervals by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from stages.judge.scores.bradley_terry import MOST_RESAMPLES, NOT_FINITE, fit, strengths


def fitted(*rows):
    return fit(np.array([rows], dtype=float))[0]


@pytest.mark.parametrize(("wins", "losses", "ties"), [(30, 10, 0), (10, 30, 0), (7, 7, 3), (12, 3, 25), (1, 138, 0)])
def test_of_two_runs_the_strengths_differ_by_the_logarithm_of_wins_over_losses(wins, losses, ties):
    found = fitted([0, wins + ties / 2], [losses + ties / 2, 0])
    assert found[0] - found[1] == pytest.approx(math.log((wins + ties / 2) / (losses + ties / 2)))
    assert found.sum() == pytest.approx(0)


def test_wins_as_the_model_expects_them_give_its_strengths_back():
    """Strengths 1, 2 and 3 on 60 rows a pair: 1 of 3, 1 of 4 and 2 of 5 of them."""
    found = fitted([0, 20, 15], [40, 0, 24], [45, 36, 0])
    logs = np.log([1, 2, 3])
    assert found == pytest.approx(logs - logs.mean())


def test_a_circle_of_equal_wins_has_no_best_run():
    assert fitted([0, 9, 1], [1, 0, 9], [9, 1, 0]) == pytest.approx([0, 0, 0])


def test_a_long_circle_connects_all():
    """Of five runs each has won against the next one alone: the first is reached from the second by way of all."""
    assert fitted(*(np.roll([0, 1, 0, 0, 0], place) for place in range(5))) == pytest.approx([0] * 5)


@pytest.mark.parametrize(
    "rows",
    [
        ([0, 5], [0, 0]),
        ([0, 5, 5], [0, 0, 3], [0, 2, 0]),  # the first has won all
        ([0, 3, 4, 5], [2, 0, 4, 5], [0, 0, 0, 1], [0, 0, 3, 0]),  # two that never lose to the other two
        ([0, 0], [0, 0]),
    ],
)
def test_where_some_have_won_nothing_no_finite_strengths_fit(rows):
    assert np.isnan(fitted(*rows)).all()


def test_runs_that_never_met_are_compared_by_way_of_others():
    """B won 3 of 4 against A, and C 3 of 4 against B: each is log 3 above the one before."""
    found = fitted([0, 1, 0], [3, 0, 1], [0, 3, 0])
    assert found == pytest.approx([-math.log(3), 0, math.log(3)], abs=1e-8)


def test_the_fit_is_the_one_of_an_optimiser():
    random = np.random.default_rng(5)
    wins = random.integers(1, 40, (5, 5)).astype(float)
    np.fill_diagonal(wins, 0)

    def loss(free):
        s = np.append(free, -free.sum())
        return (wins * np.logaddexp(0, s[None, :] - s[:, None])).sum()

    best = optimize.minimize(loss, np.zeros(4), tol=1e-12).x
    assert fit(wins[None])[0] == pytest.approx(np.append(best, -best.sum()), abs=1e-5)


MATRICES = st.integers(2, 5).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 20), min_size=n, max_size=n), min_size=n, max_size=n)
)


@given(MATRICES, st.randoms())
def test_the_order_of_the_runs_and_the_batch_do_not_matter(rows, random):
    wins = np.array(rows, dtype=float)
    np.fill_diagonal(wins, 0)
    order = list(range(len(wins)))
    random.shuffle(order)
    alone = fit(wins[None])[0]
    both = fit(np.array([wins, wins[np.ix_(order, order)]]))
    np.testing.assert_allclose(both[0], alone, atol=1e-12)
    np.testing.assert_allclose(both[1], alone[order], atol=1e-6)
    np.testing.assert_allclose(fit(wins.T[None])[0], -alone, atol=1e-6)


def rounds(count, outcomes):
    """Wins of each instruction, [count, runs, runs]: ``outcomes(n)`` gives (winner, loser) for each pair of runs."""
    wins = np.zeros((count, 3, 3))
    for n in range(count):
        for winner, loser in outcomes(n):
            wins[n, winner, loser] += 1
    return wins


def test_the_best_run_is_first_with_its_share_of_wins():
    """C beats A in 3 of 4 instructions and B in 2 of 4, B beats A in 3 of 4, and the others go the other way."""
    wins = rounds(
        40, lambda n: [(2, 0) if n % 4 else (0, 2), (2, 1) if n % 2 else (1, 2), (1, 0) if (n + 1) % 4 else (0, 1)]
    )
    found = strengths(wins, resamples=200, seed=1)
    assert [one.run for one in found] == [1, 2, 0] or [one.run for one in found] == [2, 1, 0]
    assert {one.run: one.won for one in found} == {0: 0.25, 1: 0.625, 2: 0.625}
    assert found[0].strength == pytest.approx(found[1].strength)
    low, high = found[2].interval.low, found[2].interval.high
    assert low < found[2].strength < high < 0
    assert found[2].interval.method == "percentile bootstrap over 40 instructions, 200 resamples, seed 1"
    assert strengths(wins, resamples=200, seed=1) == found


def test_the_ends_are_the_quantiles_of_2_5_and_97_5_percent():
    """Of two runs the strength of the better one is half the logarithm of wins over losses, in each resample."""
    wins = np.zeros((30, 2, 2))
    wins[:18, 1, 0], wins[18:, 0, 1] = 1, 1
    random = np.random.default_rng(3)
    counts = [int((random.integers(0, 30, 30) < 18).sum()) for _ in range(401)]
    logs = sorted(math.log(count / (30 - count)) / 2 for count in counts)
    found = strengths(wins, resamples=401, seed=3)[0].interval
    assert (found.low, found.high) == (pytest.approx(logs[10], abs=1e-6), pytest.approx(logs[390], abs=1e-6))


def test_few_instructions_have_strengths_and_no_interval():
    wins = rounds(9, lambda n: [(n % 2, 1 - n % 2), (0, 2) if n % 3 else (2, 0), (1, 2) if n % 3 else (2, 1)])
    found = strengths(wins, resamples=100, seed=1)
    assert all(one.strength is not None for one in found)
    assert {one.interval.method for one in found} == {"none: 9 of the 10 instructions that it takes"}


def test_without_finite_strengths_the_order_is_that_of_the_shares():
    wins = rounds(20, lambda n: [(1, 0), (1, 2), (0, 2) if n % 4 else (2, 0)])
    found = strengths(wins, resamples=100, seed=1)
    assert [(one.run, one.strength, one.won) for one in found] == [(1, None, 1.0), (0, None, 0.375), (2, None, 0.125)]
    assert found[0].interval.method == f"none: {NOT_FINITE}"


def test_a_run_that_met_no_other_is_behind_those_that_won():
    wins = rounds(20, lambda n: [(1, 2)])
    assert [(one.run, one.won) for one in strengths(wins, resamples=10, seed=1)] == [(1, 1.0), (0, None), (2, 0.0)]


def test_ten_instructions_have_an_interval_and_no_more_than_a_thousand_resamples_are_made():
    wins = rounds(10, lambda n: [(0, 1) if n % 2 else (1, 0), (0, 2) if n % 2 else (2, 0), (1, 2) if n % 3 else (2, 1)])
    assert MOST_RESAMPLES == 1000
    (method,) = {one.interval.method.split(";")[0] for one in strengths(wins, resamples=1001, seed=1)}
    assert method == "percentile bootstrap over 10 instructions, 1000 resamples, seed 1"


def test_an_end_that_many_resamples_leave_open_is_none():
    """A lost one of 30: every third resample is without that loss, and A's strength then has no bound."""
    wins = rounds(30, lambda n: [(0, 1) if n else (1, 0), (0, 2) if n else (2, 0), (1, 2) if n % 2 else (2, 1)])
    best = strengths(wins, resamples=400, seed=1)[0]
    assert best.run == 0
    assert (best.interval.low, best.interval.high) == (None, None)
    assert "resamples without finite strengths are beyond either end" in best.interval.method
    # One that lost 12 of 30 has never lost nothing in 400 resamples.
    closer = rounds(30, lambda n: [(0, 1) if n > 11 else (1, 0), (0, 2) if n > 9 else (2, 0), (n % 2 + 1, 2 - n % 2)])
    assert strengths(closer, resamples=400, seed=1)[0].interval.high is not None


@pytest.mark.slow
@pytest.mark.parametrize(("instructions", "low"), [(40, 0.92), (139, 0.93)])
def test_the_intervals_hold_the_truth(instructions, low):
    """Three runs with strengths 0.6, 0 and -0.6, whose answers to one instruction are good or bad together.

    Each run's answer has a worth: the instruction's liking for the run, and noise of Gumbel's distribution, whose
    differences follow the model exactly.
    """
    random = np.random.default_rng(11)
    truth = np.array([0.6, 0.0, -0.6])
    trials, held = 400, 0
    for trial in range(trials):
        wins = np.zeros((instructions, 3, 3))
        for a, b in ((0, 1), (0, 2), (1, 2)):
            worth = truth[[a, b]] + random.gumbel(size=(instructions, 2))
            first = worth[:, 0] > worth[:, 1]
            wins[:, a, b], wins[:, b, a] = first, ~first
        for one in strengths(wins, resamples=400, seed=trial):
            below = one.interval.low is None or one.interval.low <= truth[one.run]
            above = one.interval.high is None or truth[one.run] <= one.interval.high
            held += below and above
    assert low <= held / (3 * trials) <= 0.975
