"""The length-controlled win rate: by hand, and against scikit-learn's logistic regression."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from stages.judge.scores.bootstrap import LEAST, no_interval
from stages.judge.scores.length_control import MOST_RESAMPLES, RIDGE, fit, length_controlled, length_feature


def rate(preferences, differences, clusters=None, resamples=100):
    names = clusters or [str(index) for index in range(len(preferences))]
    return length_controlled(
        np.array(preferences, dtype=float), np.array(differences, dtype=float), names, resamples=resamples, seed=1
    )


def test_a_length_difference_is_put_on_a_scale():
    """Differences 3, -1, 1, 1: mean 1, sum of squares about it 8, standard deviation sqrt(8 / 3)."""
    unit = math.sqrt(8 / 3)
    expected = [math.tanh(3 / unit), math.tanh(-1 / unit), math.tanh(1 / unit), math.tanh(1 / unit)]
    assert length_feature(np.array([3.0, -1.0, 1.0, 1.0])) == pytest.approx(expected)


def test_a_win_rate_worked_by_hand():
    """Of 10 longer answers 9 win, of 10 shorter ones 5: log odds ln 9 and 0, half way ln 3, which is 75 %, not 70."""
    preferences = np.array([1] * 9 + [0] + [1] * 5 + [0] * 5, dtype=float)
    feature = length_feature(np.array([20.0] * 10 + [-20.0] * 10))
    theta, phi = fit(feature, preferences, np.ones(20), ridge=(0, 0))
    assert theta == pytest.approx(math.log(3), abs=1e-6)
    assert phi == pytest.approx(math.log(3) / math.tanh(math.sqrt(19 / 20)), abs=1e-6)
    # Ties are half a win and half a loss: 9 of 10 won is 8 won and 2 tied.
    tied = np.array([1] * 8 + [0.5, 0.5] + [1] * 4 + [0.5, 0.5] + [0] * 4, dtype=float)
    assert fit(feature, tied, np.ones(20), ridge=(0, 0)) == pytest.approx((theta, phi), abs=1e-6)
    # Ten times the rows: the ridge on theta, 0.1, draws it towards 0 by less than half a point.
    found = rate(np.repeat(preferences, 10), np.repeat([20] * 10 + [-20] * 10, 10))
    assert 0.745 < found.win_rate < 0.75


@pytest.mark.parametrize("ridge", [0.01, 0.1, 2.0])
def test_the_fit_is_scikit_learns(ridge):
    random = np.random.default_rng(3)
    feature = np.tanh(random.normal(0.5, 1, 60))
    preferences = random.choice([0, 0.5, 1], 60)
    weights = random.integers(0, 4, 60).astype(float)
    # A tie as a win and a loss of half the weight; the constant is penalised too, so it is a column.
    columns = np.column_stack([np.ones(60), feature])
    theirs = LogisticRegression(C=1 / ridge, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(
        np.concatenate([columns, columns]),
        np.repeat([1, 0], 60),
        sample_weight=np.concatenate([weights * preferences, weights * (1 - preferences)]),
    )
    assert fit(feature, preferences, weights, (ridge, ridge)) == pytest.approx(theirs.coef_[0], abs=1e-5)


@pytest.mark.parametrize("rows", [1, 10, 139])
def test_all_rows_won_give_a_finite_win_rate(rows):
    """The derivative is 0 where rows x (1 - logistic(theta)) = 0.1 x theta, as bisection finds."""
    theta, phi = fit(np.zeros(rows), np.ones(rows), np.ones(rows))
    assert rows * (1 - expit(theta)) == pytest.approx(RIDGE[0] * theta, rel=1e-4)
    assert phi == pytest.approx(0)
    assert expit(theta) == pytest.approx({1: 0.837, 10: 0.966, 139: 0.996}[rows], abs=0.001)


def test_the_preference_for_length_is_taken_out():
    """80 of 100 answers are longer and win, the others are shorter and lose: the raw win rate is 80 %."""
    random = np.random.default_rng(1)
    differences = np.concatenate([random.integers(20, 60, 80), -random.integers(20, 60, 20)])
    found = rate(differences > 0, differences)
    assert found.win_rate == pytest.approx(0.5, abs=0.05)
    assert found.length_effect > 3


def test_an_advantage_that_is_not_of_length_stays():
    """The model itself, with theta 1.5 (81.8 %) and phi 1: 2,000 rows."""
    random = np.random.default_rng(2)
    differences = random.normal(20, 30, 2000).round()
    preferences = random.random(2000) < expit(1.5 + length_feature(differences))
    found = rate(preferences, differences)
    assert preferences.mean() > 0.84
    assert found.win_rate == pytest.approx(expit(1.5), abs=0.02)
    assert found.length_effect == pytest.approx(1, abs=0.2)
    assert found.interval.low < expit(1.5) < found.interval.high


@pytest.mark.thorough
@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([0, 0.5, 1]), st.integers(-50, 50)), min_size=2, max_size=12))
def test_exchanging_the_models_gives_one_minus_the_win_rate(rows):
    preferences, differences = np.array(rows, dtype=float).T
    ours, theirs = rate(preferences, differences), rate(1 - preferences, -differences)
    if ours.win_rate is None:
        assert theirs.win_rate is None
        return
    assert 0 < ours.win_rate < 1
    assert ours.win_rate + theirs.win_rate == pytest.approx(1, abs=1e-5)
    assert ours.length_effect == pytest.approx(theirs.length_effect, abs=1e-3, rel=1e-3)
    assert ours.interval.method == theirs.interval.method
    assert (ours.interval.low is None) == (theirs.interval.low is None)
    assert (ours.interval.low is None) == (len(rows) < LEAST or len(set(preferences)) == 1)
    if ours.interval.low is not None:
        assert ours.interval.low + theirs.interval.high == pytest.approx(1, abs=1e-4)


def test_answers_of_equal_length_leave_the_raw_win_rate():
    found = rate([1, 0.5, 0, 0.5], [0, 0, 0, 0])
    assert (found.win_rate, found.length_effect, found.mean_length_difference) == (pytest.approx(0.5), 0, 0)


@pytest.mark.parametrize(
    ("preferences", "differences", "mean"),
    [([], [], None), ([1], [3], 3), ([1, 0, 1], [7, 7, 7], 7), ([1, 0], [2, 6], 4)],
)
def test_what_cannot_be_told_from_the_length_is_none(preferences, differences, mean):
    found = rate(preferences, differences)
    assert found.mean_length_difference == mean
    assert found.interval == no_interval("the length cannot be told from the model")
    assert (found.win_rate, found.length_effect) == (None, None)


def test_one_instruction_gives_no_interval():
    found = rate([1, 0, 1], [5, -2, 3], ["same"] * 3)
    assert found.win_rate is not None
    assert found.interval == no_interval("1 of the 10 instructions that it takes")


def test_ten_instructions_give_an_interval_in_which_each_is_drawn():
    """The first alone is lost: a resample with it three times has 7 of 10 won, one without it all."""
    found = rate([0, *[1] * 9], [0] * 10, list("abcdefghij"), 200)
    assert found.interval.low < 0.75
    assert found.interval.high > 0.95


@pytest.mark.parametrize("outcome", [0, 0.5, 1])
def test_one_outcome_gives_no_interval(outcome):
    """Resamples would differ in their lengths alone: 139 wins had 0.9960 with an interval from 0.9959 to 0.9960."""
    found = rate([outcome] * 20, np.arange(-9, 11))
    assert found.win_rate is not None
    assert found.interval == no_interval("all rows have the same outcome, and so would all resamples")


def test_rows_of_one_instruction_are_drawn_together():
    """Forty instructions, each ten times: the interval is that of forty rows, not of four hundred."""
    random = np.random.default_rng(4)
    differences, preferences = random.integers(-30, 40, 40), random.integers(0, 2, 40)
    names = [str(index) for index in range(40)]
    once = rate(preferences, differences, names, 500)
    again = rate(np.repeat(preferences, 10), np.repeat(differences, 10), list(np.repeat(names, 10)), 500)
    apart = rate(np.repeat(preferences, 10), np.repeat(differences, 10), None, 500)
    width = {
        name: found.interval.high - found.interval.low for name, found in (("1", once), ("10", again), ("400", apart))
    }
    assert width["10"] == pytest.approx(width["1"], rel=0.1)
    assert width["400"] < width["1"] / 2


def test_two_differences_are_enough_and_zero_is_on_either_side():
    """Their standard deviation is 5 sqrt(2)."""
    unit = 5 * math.sqrt(2)
    assert length_feature(np.array([0.0, 10.0])) == pytest.approx([0.0, math.tanh(10 / unit)])
    assert length_feature(np.array([-10.0, 0.0])) == pytest.approx([math.tanh(-10 / unit), 0.0])
    assert length_feature(np.array([1.0, 10.0])) is None
    assert length_feature(np.array([-10.0, -1.0])) is None
    assert length_feature(np.array([0.0])).tolist() == [0.0]
    assert length_feature(np.array([3.0])) is None


def test_no_more_than_a_thousand_resamples_are_made():
    assert MOST_RESAMPLES == 1000
    found = rate([1, 0, 1] * 10, list(range(-15, 15)), resamples=1001)
    assert found.interval.method == "percentile bootstrap over 30 instructions, 1000 resamples, seed 1"
    fewer = rate([1, 0, 1] * 10, list(range(-15, 15)), resamples=20)
    assert fewer.interval.method == "percentile bootstrap over 30 instructions, 20 resamples, seed 1"
