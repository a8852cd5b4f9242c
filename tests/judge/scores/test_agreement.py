"""Krippendorff's alpha: his own example, by hand, and its interval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.judge.scores.agreement import alpha, alpha_interval

NAN = np.nan
#: Four observers, twelve units (Krippendorff 2011, section E).
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)


def test_the_published_example_for_an_interval_scale():
    assert alpha(PUBLISHED) == pytest.approx(0.849, abs=0.0005)


def test_two_judges_by_hand():
    """0 and 10, 20 and 20, 30 and 20: the pairs differ by 100, 0 and 100, each twice: 400 / 6 observed.

    Of all ordered pairs of 0, 10, 20, 20, 20, 30: 2 (6 x 2200 - 100^2) = 6400, over 6 x 5 expected.
    """
    found = alpha(np.array([[0.0, 20, 30], [10, 20, 20]]))
    assert found == pytest.approx(1 - (400 / 6) / (6400 / 30))


def test_judges_that_agree_have_1_and_those_that_contradict_each_other_less_than_0():
    assert alpha(np.array([[0.0, 50, 100]] * 3)) == 1.0
    assert alpha(np.array([[0.0, 100], [100, 0]])) == pytest.approx(-0.5)


@pytest.mark.parametrize("scores", [np.full((2, 3), 40.0), np.array([[1.0, NAN], [NAN, 2.0]]), np.zeros((3, 0))])
def test_without_variance_or_pairs_it_is_not_defined(scores):
    assert alpha(scores) is None


def by_definition(scores):
    """The formula with its loops."""
    units = [[x for x in unit if not np.isnan(x)] for unit in scores.T]
    units = [unit for unit in units if len(unit) > 1]
    values = [x for unit in units for x in unit]
    n = len(values)
    if n == 0:
        return None
    observed = sum(sum((a - b) ** 2 for a in unit for b in unit) / (len(unit) - 1) for unit in units) / n
    expected = sum((a - b) ** 2 for a in values for b in values) / (n * (n - 1))
    return None if expected == 0 else 1 - observed / expected


SCORES = st.one_of(st.integers(0, 100).map(float), st.just(NAN))


@given(st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(SCORES, min_size=n, max_size=n), min_size=1, max_size=8)))
def test_it_is_the_definition(rows):
    scores = np.array(rows).T
    expected = by_definition(scores)
    assert alpha(scores) == (None if expected is None else pytest.approx(expected, abs=1e-9))


def test_the_interval_draws_whole_instructions():
    random = np.random.default_rng(2)
    truth = random.uniform(0, 100, 80)
    scores = np.stack([truth + random.normal(0, 20, 80) for _ in range(3)])
    found = alpha_interval(scores, [f"c{n}" for n in range(80)], resamples=500, seed=1)
    assert found.low < alpha(scores) < found.high
    assert found.method == "percentile bootstrap over 80 instructions, 500 resamples, seed 1"
    # Forty rows twice over are forty instructions: the interval is wider by about the square root of 2.
    twice = np.concatenate([scores[:, :40]] * 2, axis=1)
    whole = alpha_interval(twice, [f"c{n % 40}" for n in range(80)], resamples=500, seed=1)
    apart = alpha_interval(twice, [f"c{n}" for n in range(80)], resamples=500, seed=1)
    assert 1.15 < (whole.high - whole.low) / (apart.high - apart.low) < 1.75


def test_few_instructions_and_scores_that_are_the_same_have_no_interval():
    nine = alpha_interval(PUBLISHED[:, :9], [f"c{n}" for n in range(9)], resamples=100, seed=1)
    assert (nine.low, nine.method) == (None, "none: 9 of the 10 instructions that it takes")
    same = np.zeros((2, 12))
    same[0, 0] = 1
    found = alpha_interval(same, [f"c{n}" for n in range(12)], resamples=100, seed=1)
    assert (found.low, found.method) == (None, "none: in some resamples all scores are the same")


def test_ten_instructions_are_enough_and_the_interval_is_that_of_their_resamples():
    """Drawn and computed one by one: all units of an instruction come together."""
    scores = np.array([[10.0, 20, 35, 40, 50, 60, 75, 80, 90, 5, 25], [12.0, 25, 30, 44, 57, 58, 71, 89, 80, 0, 20]])
    clusters = [*"abcdefghij", "a"]
    units = {name: [at for at, own in enumerate(clusters) if own == name] for name in "abcdefghij"}
    random = np.random.default_rng(3)
    drawn = [random.integers(0, 10, 10) for _ in range(40)]
    alphas = [alpha(scores[:, [at for one in names for at in units["abcdefghij"[one]]]]) for names in drawn]

    found = alpha_interval(scores, clusters, resamples=40, seed=3)

    assert [found.low, found.high] == pytest.approx(np.quantile(alphas, [0.025, 0.975]))


@pytest.mark.parametrize("score", [33.3, 66.7])
def test_many_equal_scores_are_the_same_whatever_the_last_bits_of_their_sums(score):
    assert alpha(np.full((3, 101), score)) is None


def test_scores_that_differ_by_a_millionth_are_the_same():
    assert alpha(np.array([[0.0, 1e-6], [1e-6, 0.0]])) is None
