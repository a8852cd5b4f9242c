"""Differences over seeds and instructions: by hand, against the textbook's analysis of variance, and their limits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
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


def test_the_interval_of_a_score_ends_where_the_scale_does():
    half = stats.t.ppf(0.975, 3) * 2
    assert Estimate(1.0, 2.0, 3).interval() == pytest.approx((1 - half, 1 + half))
    assert Estimate(1.0, 2.0, 3).interval((0.0, 100.0)) == pytest.approx((0, 1 + half))
    assert Estimate(99.0, 2.0, 3).interval((0.0, 100.0)) == pytest.approx((99 - half, 100))


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


def test_the_difference_of_recipes_that_vary_unlike_by_hand():
    """Two trainings of A, whose variance of 9 counts by a half, and four of B, with 5 by a quarter. Rows as above, 5/3
    with 3 degrees of freedom, less the rest of 1 in each: 1/2 and 1/4. Student's quantiles of 97.5 %: 3.18245, 12.7062
    and 3.18245."""
    a, b = np.zeros((2, 4)), np.array([[0.0, 2, 4, 6]] * 4)
    found = two_level.difference(a, b, ROWS, (noise(9.0, 1.0, 1, 2), noise(5.0, 1.0, 3, 4)))
    assert [part for pair in found.parts for part in pair] == pytest.approx([5 / 3 - 0.75, 3, 4.5, 1, 1.25, 3])
    half = math.sqrt((5 / 3 - 0.75 + 1.25) * 3.18245**2 + 4.5 * 12.7062**2)
    assert found.interval() == pytest.approx((3 - half, 3 + half), rel=1e-5)
    assert found.error == pytest.approx(math.sqrt(5 / 3 + 4 + 1))
    assert found.detectable(0.8, 1) == pytest.approx(half + stats.t.ppf(0.8, found.freedom) * found.error, rel=1e-5)
    assert found.detectable(0.8, 3) > found.detectable(0.8, 1)


def test_from_five_trainings_of_each_on_the_test_is_welchs():
    """A's trainings have 0, 1, 2, 3 and 4 points and vary by 2.5, B's all have 10: an error of sqrt(2.5 / 5) with the 4
    degrees of freedom of A, whose t is 2.776445. For 8 / sqrt(0.5) the tails hold 0.000347891."""
    scores = [np.repeat(np.array(means)[:, None], 2, axis=1) for means in ([0.0, 1, 2, 3, 4], [10.0] * 5)]
    seeds = tuple(two_level.seeds_of([(each, ["a", "b"])]) for each in scores)
    found = two_level.difference(*scores, ["a", "b"], seeds)
    assert not isinstance(found, two_level.Apart)
    assert (found.value, found.error, found.freedom) == (8.0, pytest.approx(math.sqrt(0.5)), pytest.approx(4.0))
    half = 2.776445 * math.sqrt(0.5)
    assert found.interval() == pytest.approx((8 - half, 8 + half), rel=1e-6)
    assert found.p() == pytest.approx(0.000347891, rel=1e-5)
    fewer = tuple(two_level.seeds_of([(each[:4], ["a", "b"])]) for each in scores)
    apart = two_level.difference(scores[0][:4], scores[1], ["a", "b"], (fewer[0], seeds[1]))
    assert apart.method.endswith("after Banerjee"), "four of A are too few"


def test_the_best_that_five_trainings_of_each_would_find_is_by_welchs_t():
    """The error is sqrt(2 / 5 x 4) with 8 degrees of freedom, whose quantiles are 2.306004 of 97.5 % and 0.888890 of
    80 %; of four trainings it is by Banerjee's."""
    found = two_level.least_detectable(noise(4.0, 1.0), 5, 0.8)
    assert found == pytest.approx((2.306004 + 0.888890) * math.sqrt(1.6), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("of_a", "of_b"), [(0.0, 0.0), (1.0, 1.0), (1.0, 3.0), (6.0, 1.0)])
@pytest.mark.parametrize("seed_by_row", [0.0, 1.0])
def test_with_five_trainings_of_each_the_interval_holds_the_truth_in_93_to_97_percent(of_a, of_b, seed_by_row):
    """Of 3,000 simulated comparisons of 40 instructions, whose noise in the difference is 1; the standard error of the
    share is 0.4 %, which is allowed for twice."""
    rng = np.random.default_rng(1)
    rows, drawn = [str(number) for number in range(40)], 3000
    held = 0
    for _ in range(drawn):
        recipes = [
            rng.normal(0, math.sqrt(20), 40) + rng.normal(0, of, (5, 1)) + rng.normal(0, seed_by_row * 40**0.5, (5, 40))
            for of in (of_a, of_b)
        ]
        seeds = tuple(two_level.seeds_of([(each, rows)]) for each in recipes)
        low, high = two_level.difference(*recipes, rows, seeds).interval()
        held += low <= 0 <= high
    assert 0.93 - 0.008 <= held / drawn <= 0.97 + 0.008


@given(value=st.floats(0, 1e4), a=st.floats(0, 1e3), b=st.floats(0, 1e3), freedom=st.integers(1, 8))
def test_the_p_value_and_the_interval_are_of_one_test(value, a, b, freedom):
    """The interval of 95 % holds 0 where p is above 5 %, and only there."""
    found = two_level.Apart(value, 1.0, 5.0, ((1.0, 30.0), (a, freedom), (b, 2.0)))
    low, _ = found.interval()
    assert 1e-6 <= found.p() <= 1
    if abs(low) > 1e-6 * (1 + value):
        assert (low > 0) == (found.p() < 0.05)


def test_the_p_value_of_one_variance_is_that_of_students_t():
    """Student's quantile of 97.5 % is 3.18245 with 3 degrees of freedom, and that of 99.5 % 5.84091."""
    found = [two_level.Apart(value, 2.0, 3.0, ((4.0, 3.0),)).p() for value in (2 * 3.18245, -2 * 5.84091)]
    assert found == pytest.approx([0.05, 0.01], rel=1e-5)


def test_two_noises_as_one_are_weighted_by_their_degrees_of_freedom():
    assert noise(9.0, 1.0, 1, 2).together(noise(5.0, 3.0, 3, 4)) == Seeds(6.0, 2.5, 4, 6)


def test_the_best_that_so_many_trainings_would_find():
    """Rows 1 and seeds 3 a training, of 4 trainings a side: the error is sqrt(2 / 4 x 4), and the half width has
    4/4 for each recipe, with 3 degrees of freedom."""
    found = two_level.least_detectable(noise(), 4, 0.8)
    half = math.sqrt(2) * stats.t.ppf(0.975, 3)
    assert found == pytest.approx(half + stats.t.ppf(0.8, 6) * math.sqrt(2))


def test_what_a_row_scores_before_is_taken_from_what_it_scores_after():
    """Row by row 1, 2, 3 and 4 more, after 10, 30, 50 and 90: the mean of A alone would scatter by far more."""
    a = np.array([[9.0, 29, 49, 89], [11.0, 31, 51, 91]])
    b = np.array([[11.0, 32, 53, 94]])
    found = two_level.difference(a, b, ROWS, noise(0.0, 0.0))
    assert found.value == 2.5
    assert found.error == pytest.approx(math.sqrt(5 / 3 / 4))


def test_the_degrees_of_freedom_by_hand():
    """Differences 0, 20, 40 and 60: the squared error of the rows is 2000 / 3 / 4 = 166.67. One training of A and four
    of B share 1.25 of a variance of 4 - 2: 169.17 in all. Satterthwaite: 169.17^2 over 166.67^2 / 3 for the rows and
    1.25^2 x (4^2 / 2 + 2^2 / (2 x 3)) for the seeds and the rest."""
    a, b = np.zeros((1, 4)), np.array([[0.0, 20, 40, 60]] * 4)
    assert two_level.difference(a, b, ROWS, noise(4.0, 2.0)).freedom == pytest.approx(3.0861614, rel=1e-7)


def test_two_instructions_show_the_noise_of_seeds():
    found = two_level.seeds_of([(np.array([[0.0, 2.0], [4.0, 2.0]]), ["x", "y"])])
    # Means 1 and 3: a variance of 2. Residuals of -1 and 1 about either, a squared error of 2 / 1 x 2 / 4 each.
    assert (found.variance, found.rest) == (2.0, pytest.approx(2.0))


def test_a_rest_that_is_larger_than_the_noise_of_the_rows_leaves_none():
    a = np.zeros((2, 4))
    found = two_level.difference(a, a + 5, ROWS, (noise(9.0, 2.0, 1, 2), noise(5.0, 4.0, 1, 2)))
    assert found.parts == ((0.0, 3.0), (4.5, 1.0), (2.5, 1.0))


def test_the_rest_of_each_recipe_counts_by_its_share():
    """166.67 of the rows, less 2 / 2 and 4 / 4."""
    a, b = np.zeros((2, 4)), np.array([[0.0, 20, 40, 60]] * 4)
    found = two_level.difference(a, b, ROWS, (noise(9.0, 2.0, 1, 2), noise(5.0, 4.0, 3, 4)))
    assert found.parts[0] == (pytest.approx(500 / 3 - 2), 3.0)


def test_differences_as_small_as_errors_of_rounding_are_none():
    a = np.zeros((1, 4))
    tiny = np.array([[0.0, 1, 2, 3]])
    assert two_level.difference(a, tiny * 1e-6, ROWS, noise(0.0, 0.0)).error == pytest.approx(1e-6 * 0.645497, rel=1e-5)
    assert two_level.difference(a, tiny * 1e-10, ROWS, noise(0.0, 0.0)) is None


def test_the_tests_are_named():
    assert Estimate(1.0, 1.0, 3.14).method == "Student's t over seeds and instructions, 3.1 degrees of freedom"
    apart = two_level.Apart(0.0, 1.0, 5.0, ((1.0, 3.0),))
    assert apart.method == "Student's t for the seeds of A, those of B and the instructions each, after Banerjee"
    assert apart.p() == pytest.approx(1.0)  # no difference at all


def test_three_trainings_a_side_know_too_little_of_their_noise():
    assert two_level.least_detectable(noise(), 3, 0.8) is None
    assert two_level.least_detectable(noise(), 4, 0.8) is not None
