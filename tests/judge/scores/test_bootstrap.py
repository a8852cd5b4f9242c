"""Intervals of means over clustered rows: against scipy, by hand, and what there is without variance."""

import numpy as np
import pytest
from scipy import stats

from stages.judge.scores.bootstrap import (
    accelerated,
    blocks,
    by_cluster,
    mean_interval,
    percentile_interval,
    standard_error,
    t_below,
    t_quantile,
)

SCORES = (0.0, 100.0)


def interval(values, clusters=None, resamples=2000, seed=1, bounds=SCORES):
    names = clusters or [str(index) for index in range(len(values))]
    return mean_interval(np.array(values, dtype=float), names, bounds=bounds, resamples=resamples, seed=seed)


@pytest.mark.parametrize("count", [12, 110])
def test_with_one_row_an_instruction_it_is_the_wider_of_scipy_s(count):
    """From the same draws, so that nothing but rounding is left between the two."""
    values = np.random.default_rng(count).integers(0, 101, count).astype(float)
    bca = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(123)
    ).confidence_interval
    low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    # Names whose order is the rows'.
    found = interval(values, [f"{index:03}" for index in range(count)], seed=123)
    assert (found.low, found.high) == pytest.approx((min(bca.low, low), max(bca.high, high)), abs=1e-9)
    assert (
        found.method
        == f"the wider of BCa bootstrap and Student's t over {count} instructions, 2000 resamples, seed 123"
    )


def test_where_scores_are_skewed_either_interval_gives_an_end():
    """Eleven zeros and one hundred: Student's is symmetric and reaches below 0, which no score does."""
    values = np.array([0.0] * 11 + [100.0] + [20.0] * 3)
    bca = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(123)
    ).confidence_interval
    low, high = stats.t.interval(0.95, 14, values.mean(), stats.sem(values))
    found = interval(values, [f"{index:03}" for index in range(15)], seed=123)
    assert low < 0 < bca.low
    assert high < bca.high
    assert (found.low, found.high) == pytest.approx((0.0, bca.high))


def test_it_is_near_the_textbook_s():
    values = np.random.default_rng(7).integers(0, 101, 110).astype(float)
    half = 1.96 * values.std(ddof=1) / np.sqrt(110)
    found = interval(values)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.6)


def test_rows_of_one_instruction_count_as_one():
    """Ten instructions of two equal rows: the interval is that of ten rows."""
    values = [10.0, 30, 20, 80, 50, 60, 90, 70, 40, 0]
    names = [f"{index}" for index in range(10)]
    alone, twice = interval(values, names), interval(np.repeat(values, 2), list(np.repeat(names, 2)))
    assert (alone.low, alone.high) == pytest.approx((twice.low, twice.high))
    assert interval(np.repeat(values, 2)).low > alone.low + 3


def test_large_instructions_count_by_their_rows():
    """Against the same resamples made row by row, the slow way."""
    random = np.random.default_rng(3)
    clusters = np.repeat(np.arange(15), random.integers(1, 6, 15))
    values = random.uniform(0, 100, len(clusters))
    names = [f"{name:02}" for name in clusters]
    found = interval(values, names, resamples=500, seed=5)

    def mean(drawn):
        return np.concatenate([values[clusters == name] for name in drawn]).mean()

    draws = np.random.default_rng(5).integers(0, 15, (500, 15))
    means = np.array([mean(drawn) for drawn in draws])
    bias = stats.norm.ppf((means < values.mean()).mean())
    apart = np.array([mean(np.delete(np.arange(15), name)) for name in range(15)])
    off = apart.mean() - apart
    acceleration = (off**3).sum() / (6 * (off**2).sum() ** 1.5)
    z = bias + stats.norm.ppf([0.025, 0.975])
    low, high = np.quantile(means, stats.norm.cdf(bias + z / (1 - acceleration * z)))
    residuals = [(values - values.mean())[clusters == name].sum() for name in range(15)]
    half = stats.t.ppf(0.975, 14) * np.sqrt(15 / 14 * np.square(residuals).sum()) / len(values)
    expected = (min(low, values.mean() - half), max(high, values.mean() + half))
    assert (found.low, found.high) == pytest.approx(expected)


def test_it_is_the_same_again_and_hangs_on_the_seed():
    values = np.arange(0.0, 100.0, 3.0)
    assert interval(values) == interval(values)
    skewed = np.arange(0.0, 10.0) ** 3 / 10
    assert interval(skewed).high != interval(skewed, seed=2).high


@pytest.mark.parametrize("count", range(10))
def test_fewer_than_ten_instructions_give_none_and_say_so(count):
    found = interval(np.arange(2.0 * count), [str(index // 2) for index in range(2 * count)])
    assert (found.low, found.high) == (None, None)
    assert found.method == f"none: {count} of the 10 instructions that it takes"
    assert interval(np.arange(10.0)).low is not None


@pytest.mark.parametrize(
    ("values", "bounds", "low", "high"),
    [
        ([100.0] * 10, SCORES, 69.15, 100.0),  # 0.025 ** (1 / 10) = 0.6915: rows of 0 may still come
        ([70.0] * 10, SCORES, 70 * 0.6915, 70 + 30 * 0.3085),
        ([1.0] * 10, (0.0, 1.0), 0.6915, 1.0),
        ([0.0, 100.0] * 10, SCORES, 50 * 0.6915, 100 - 50 * 0.6915),  # in pairs of one instruction
    ],
)
def test_equal_instructions_leave_room_for_what_never_came(values, bounds, low, high):
    names = [str(index * 10 // len(values)) for index in range(len(values))]
    found = interval(values, names, bounds=bounds)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.005)
    assert found.method == "exact (Clopper and Pearson): the mean of all 10 instructions is the same"


def test_few_small_differences_are_taken_for_all_that_there_are():
    """As the docstring says: where none is seen the bounds decide, and the interval is wider."""
    bounds = (-100.0, 100.0)
    equal, one_more = interval([10.0] * 20, bounds=bounds), interval([10.0] * 19 + [11.0], bounds=bounds)
    assert (equal.low, equal.high) == pytest.approx((-8.5, 25.2), abs=0.05)
    assert (one_more.low, one_more.high) == pytest.approx((9.95, 10.25), abs=0.05)


def test_two_instructions_that_are_equal_have_an_exact_interval_and_one_has_none():
    """0.025 ** (1 / 2) = 0.158114: with a share of 0.841886 at 0 or at 100 the mean would be that much off."""
    found = interval([10.0, 10.0])
    assert (found.low, found.high) == pytest.approx((10 - 8.41886, 10 + 0.841886 * 90), abs=1e-4)
    assert interval([10.0, 10.0], ["one", "one"]).method == "none: 1 of the 10 instructions that it takes"


def test_instructions_are_equal_by_their_means_whatever_the_number_of_their_rows():
    found = interval([50.0] * 11, ["0", *map(str, range(10))])
    assert (found.low, found.high) == pytest.approx((50 * 0.6915, 100 - 50 * 0.6915), abs=0.005)


def test_both_ends_of_the_accelerated_interval_are_scipy_s():
    values = np.arange(12) ** 2.5
    bca = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(5)
    ).confidence_interval
    assert accelerated(values, np.ones(12), 2000, 5) == pytest.approx((bca.low, bca.high))


@pytest.mark.parametrize("seed", range(16))
def test_resamples_on_one_side_of_the_mean_give_the_mean_twice(seed):
    """One resample of 0 and 10, which is 0, 5 or 10."""
    assert accelerated(np.array([0.0, 10.0]), np.ones(2), 1, seed) == (5.0, 5.0)


def test_the_interval_of_resampled_figures_is_between_their_outer_quantiles():
    """Of the numbers from 0 to 100 a share of 2.5 % is below 2.5 and above 97.5."""
    found = percentile_interval([float(number) for number in range(101)], "drawn")
    assert (found.low, found.high) == pytest.approx((2.5, 97.5))
    assert (found.level, found.method) == (0.95, "drawn")


def test_the_standard_error_of_two_instructions_by_hand():
    """Residuals -1 and 1: the root of 2 / 1 times 2, over 2 rows. With 1 and 3 rows: mean 2, residuals 3 and -3."""
    assert standard_error(np.array([1.0, 3.0]), np.ones(2)) == 1.0
    assert standard_error(np.array([5.0, 3.0]), np.array([1.0, 3.0])) == 6 / 4
    assert standard_error(np.array([1.0]), np.ones(1)) is None


def test_sums_and_sizes_are_those_of_the_instructions_in_order():
    sums, sizes = by_cluster(np.array([1.0, 2.0, 4.0]), ["b", "a", "b"])
    assert (sums.tolist(), sizes.tolist()) == ([2.0, 5.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("resamples", "count", "numbers"),
    [
        (10, 3, [10]),
        (5, 1 << 19, [2, 2, 1]),  # 2^20 numbers at a time
        (4, 1 << 19, [2, 2]),
        (3, 1 << 20, [1, 1, 1]),
        (3, 1 << 21, [1, 1, 1]),  # at least one resample
        ((1 << 20) + 1, 1, [1 << 20, 1]),
        (0, 3, []),
    ],
)
def test_resamples_are_drawn_in_blocks_of_a_million_numbers(resamples, count, numbers):
    assert list(blocks(resamples, count)) == numbers


def test_student_s_distribution_is_the_table_s():
    """2.5 % are below -2.5706 with 5 degrees of freedom; with 2.5, below a value between -4.303 (2) and -3.182 (3)."""
    assert t_quantile(0.975, 5) == pytest.approx(2.570582)
    assert t_below(-2.570582, 5) == pytest.approx(0.025)
    assert (t_below(0.0, 5), t_below(2.570582, 5)) == (0.5, pytest.approx(0.975))
    assert -4.303 < t_quantile(0.025, 2.5) < -3.182
