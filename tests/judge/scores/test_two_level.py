"""Differences over seeds and instructions: by hand, against the textbook's analysis of variance, and their limits."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from stages.judge.scores import two_level
from stages.judge.scores.two_level import Estimate, Seeds

ROWS = [f"c{index}" for index in range(4)]


def noise(variance=4.0, rest=1.0, freedom=2, trainings=4):
    return Seeds(variance, rest, freedom, trainings)


def test_the_noise_of_seeds_by_hand():
    """Means 50 and 54, so that their variance is 8. Less what each training adds on its own: +2 and -2 points on the
    first two rows and the opposite on the others, so that its residuals are 0 around -2 and +2 of the mean."""
    scores = np.array([[40.0, 60, 50, 50], [46.0, 66, 52, 52]])
    found = two_level.seeds_of([(scores, ROWS)])
    # Residuals: +/-1, +/-1, -/+1, -/+1; the squared error of each training's mean is 4 / 3 x 4 / 16.
    assert (found.freedom, found.trainings) == (1, 2)
    assert found.variance == pytest.approx(8)
    assert found.rest == pytest.approx(2 * 4 / 3 * 4 / 16)
    assert found.beyond_rows == pytest.approx(8 - 2 / 3)


def test_recipes_are_pooled_by_their_degrees_of_freedom_and_a_single_training_shows_nothing():
    a, b = np.array([[0.0] * 4, [2.0] * 4]), np.array([[0.0] * 4, [0.0] * 4, [3.0] * 4])
    found = two_level.seeds_of([(a, ROWS), (b, ROWS), (a[:1], ROWS)])
    assert found == Seeds(variance=pytest.approx((2 + 6) / 3), rest=0.0, freedom=3, trainings=5)
    assert two_level.seeds_of([(a[:1], ROWS)]) is None
    assert two_level.seeds_of([]) is None
    assert two_level.seeds_of([(a[:, :1], ROWS[:1])]) is None


def test_the_rest_is_the_textbook_s_mean_square():
    """Two-way analysis of variance: the mean square of trainings x rows, over the rows."""
    scores = np.random.default_rng(3).normal(50, 20, (3, 30))
    residuals = scores - scores.mean(axis=0) - scores.mean(axis=1, keepdims=True) + scores.mean()
    found = two_level.seeds_of([(scores, [str(index) for index in range(30)])])
    assert found.rest == pytest.approx(np.square(residuals).sum() / (2 * 29) / 30)
    assert found.variance == pytest.approx(scores.mean(axis=1).var(ddof=1))


def test_rows_that_explain_more_than_all_leave_no_noise_of_seeds():
    assert noise(variance=1.0, rest=3.0).beyond_rows == 0


def test_a_difference_by_hand():
    """Differences 0, 2, 4 and 6: mean 3 with a squared error of 20 / 3 / 4. Two trainings a side share 3 of seeds."""
    a, b = np.zeros((2, 4)), np.array([[0.0, 2, 4, 6]] * 2)
    found = two_level.difference(a, b, ROWS, noise())
    assert found.value == 3
    assert found.error == pytest.approx(math.sqrt(5 / 3 + 3))
    uncertain = (5 / 3) ** 2 / 3 + 16 / 2 + 1 / 6
    assert found.freedom == pytest.approx((5 / 3 + 3) ** 2 / uncertain)
    assert found.freedom > 2
    half = stats.t.ppf(0.975, found.freedom) * found.error
    assert found.interval() == pytest.approx((3 - half, 3 + half))
    assert found.p() == pytest.approx(2 * stats.t.sf(3 / found.error, found.freedom))
    quantiles = stats.t.ppf(1 - 0.025 / 3, found.freedom) + stats.t.ppf(0.8, found.freedom)
    assert found.detectable(0.8, 3) == pytest.approx(quantiles * found.error)


def test_the_degrees_of_freedom_are_never_fewer_than_those_of_the_seeds_or_the_rows():
    """Rows that all differ by the same, and a rest that takes almost all off: the formula alone would give 0.02."""
    a = np.zeros((2, 4))
    assert two_level.difference(a, a + 5, ROWS, noise(1.0, 0.9, freedom=2)).freedom == 2
    assert two_level.difference(a, a + 5, ROWS, noise(1.0, 0.9, freedom=9)).freedom == 3


def test_rows_of_one_instruction_are_one():
    a, b = np.zeros((1, 4)), np.array([[1.0, 1, 5, 5]])
    alone = two_level.difference(a, b, ROWS, noise(4.0, 4.0))
    paired = two_level.difference(a, b, ["x", "x", "y", "y"], noise(4.0, 4.0))
    assert alone.error == pytest.approx(math.sqrt(16 / 3 / 4))
    assert paired.error == pytest.approx(2)


def test_what_does_not_vary_has_no_error():
    a = np.zeros((2, 4))
    assert two_level.difference(a, a + 5, ROWS, noise(0.0, 0.0)) is None
    assert two_level.difference(a, a + 5, ["one"] * 4, noise()) is None


def test_a_mean_of_one_recipe_counts_its_own_seeds_alone():
    scores = np.array([[0.0, 2, 4, 6], [0.0, 2, 4, 6]])
    found = two_level.mean(scores, ROWS, noise())
    assert (found.value, found.error) == (3, pytest.approx(math.sqrt(5 / 3 + 3 / 2)))


def test_a_p_value_is_never_0():
    assert Estimate(1e9, 1e-9, 300.0).p() == 1e-6
    assert Estimate(0.0, 1.0, 5.0).p() == 1


@pytest.mark.parametrize(
    ("a", "b", "least"), [(1, 1, 1), (2, 2, 2 / 6), (3, 3, 2 / 20), (4, 4, 2 / 70), (2, 3, 1 / 10)]
)
def test_the_smallest_p_value_of_exchanged_trainings(a, b, least):
    assert two_level.least_p(a, b) == pytest.approx(least)
    assert two_level.exchanged_p(np.arange(a) * 1.0, 100.0 + np.arange(b), seed=1) == pytest.approx(least)


def test_exchanged_trainings_by_every_way():
    random = np.random.default_rng(2)
    a, b = random.normal(0, 1, 4), random.normal(1, 1, 5)
    both = np.concatenate([a, b])
    ways = [
        abs(np.delete(both, chosen).mean() - both[list(chosen)].mean())
        for chosen in itertools.combinations(range(9), 4)
    ]
    expected = np.mean(np.array(ways) >= abs(b.mean() - a.mean()) - 1e-9)
    assert two_level.exchanged_p(a, b, seed=1) == pytest.approx(expected)


def test_many_trainings_are_exchanged_by_draws_and_p_is_not_0():
    a = np.arange(12.0)
    assert math.comb(24, 12) > two_level.MOST_WAYS
    assert two_level.exchanged_p(a, a + 1000, seed=1) == 1 / (1 + two_level.MOST_WAYS)
    assert two_level.exchanged_p(a, a, seed=1) == 1


def test_the_best_that_so_many_trainings_would_find():
    """Rows 1 and seeds 3 a training: of 4 trainings a side the error is sqrt(2 / 4 x 4)."""
    found = two_level.least_detectable(noise(), 4, 0.8)
    assert found == pytest.approx((stats.t.ppf(0.975, 6) + stats.t.ppf(0.8, 6)) * math.sqrt(2))
