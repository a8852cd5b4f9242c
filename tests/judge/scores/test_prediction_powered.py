"""Means from scores of all answers and labels of some: by hand, and their intervals by simulation."""

import functools
import math

import numpy as np
import pytest
from scipy import stats

from stages.judge.scores.bootstrap import mean_interval
from stages.judge.scores.prediction_powered import (
    Labelled,
    estimate,
    interval_of_difference,
    interval_of_mean,
    left_out_errors,
    slope,
)

SCALE, CHANGE = (0.0, 100.0), (-100.0, 100.0)


def labelled(scores, labels, clusters=None):
    """Answers of which the first ones have labels."""
    values = [*labels, *[math.nan] * (len(scores) - len(labels))]
    names = clusters or [f"c{number:03}" for number in range(len(scores))]
    return Labelled(np.array(scores, dtype=float), np.array(values, dtype=float), names)


def interval(found, estimated):
    return interval_of_mean(found, estimated, SCALE, resamples=300, seed=1)


def test_the_slope_by_hand():
    """Deviations -10, 0, 10 and labels 10, 20, 60: (-100 + 600) / 200."""
    assert slope(np.array([0.0, 10, 20]), np.array([10.0, 20, 60])) == 2.5
    assert slope(np.array([0.0, 10, 20]), np.array([60.0, 20, 10])) == 0.0, "a judge that has it backwards"
    assert slope(np.array([50.0, 50, 50]), np.array([0.0, 50, 100])) == 0.0


def test_the_estimate_by_hand():
    """The labelled answers have scores 20 and 40, and all have a mean of 50: 20 more, of which half counts."""
    found = labelled([20, 40, 60, 80], [30, 40])
    one = estimate(found, helps=True)
    assert (one.weight, one.mean) == (0.5, 0.5 * 50 + (20 + 20) / 2)
    alone = estimate(found, helps=False)
    assert (alone.weight, alone.mean, alone.freedom) == (0.0, 35.0, 1)
    assert list(alone.influences.values()) == [-2.5, 2.5, 0.0, 0.0]


def test_influences_sum_to_nothing_and_are_of_instructions():
    random = np.random.default_rng(1)
    scores, names = random.uniform(0, 100, 60), [f"c{number // 2:02}" for number in range(60)]
    one = estimate(labelled(scores, scores[:40] / 2 + random.normal(0, 5, 40), names), helps=True)
    assert (len(one.influences), one.freedom) == (30, 18)
    assert sum(one.influences.values()) == pytest.approx(0, abs=1e-9)


def test_rows_of_one_instruction_are_left_out_together():
    """The one instruction whose score is seen nowhere else is predicted without it: 40 for five labels of 70."""
    found = labelled([*[50] * 20, *[90] * 5], [*[40] * 20, *[70] * 5], [*(f"c{n:02}" for n in range(20)), *["z"] * 5])
    without, with_judge = left_out_errors(found)
    assert without > 0
    assert with_judge > 0
    assert left_out_errors(labelled([1, 2, 3], [1, 2, 3], ["a"] * 3)) == (math.inf, math.inf)


def test_whole_instructions_make_the_error():
    """Thirty-five instructions, each ten times: the interval is that of thirty-five rows, not of 350."""
    random = np.random.default_rng(6)
    scores = random.uniform(0, 100, 35)
    labels = np.clip(scores + random.normal(0, 20, 35), 0, 100)
    names = [f"c{index:02}" for index in range(35)]

    def width(times, clusters):
        found = labelled(np.repeat(scores, times), np.repeat(labels, times), clusters)
        between = interval(found, estimate(found, helps=True))
        return between.high - between.low

    once = width(1, names)
    assert width(10, list(np.repeat(names, 10))) == pytest.approx(once, rel=0.05)
    assert width(10, [f"{index:03}" for index in range(350)]) < once / 2


def test_labels_that_are_all_the_same_leave_an_exact_interval():
    found = labelled([50.0, 60.0] * 20, [100.0] * 30)
    between = interval(found, estimate(found, helps=False))
    assert between.high == 100.0
    assert between.low == pytest.approx(100 * 0.025 ** (1 / 30), abs=1e-9)
    both = (found, estimate(found, helps=False))
    difference = interval_of_difference(both, both, CHANGE, resamples=300, seed=1)
    assert (difference.low, difference.high) == pytest.approx((-11.6, 11.6), abs=0.05)


def test_a_perfect_judge_makes_the_interval_that_of_all_answers():
    scores = np.tile([0.0, 20, 40, 60, 80], 20)
    found = labelled(scores, scores[:30])
    between = interval(found, estimate(found, helps=True))
    half = 2.05 * scores.std() / 10
    assert (between.low, between.high) == pytest.approx((40 - half, 40 + half), abs=0.5)


def test_labels_that_are_left_out_are_predicted_by_the_others():
    """Two instructions of two rows. The first is predicted by the mean of the second, 25, and the second by 5: misses
    of -25, -15, 15 and 25. Slopes are 0.5 on the second and 1 on the first, about scores of 10 and 5: -20, -15, 20, 10.
    """
    without, with_judge = left_out_errors(labelled([0, 10, 0, 20], [0, 10, 20, 30], ["a", "a", "b", "b"]))
    assert without == pytest.approx(math.sqrt((625 + 225 + 225 + 625) / 4))
    assert with_judge == pytest.approx(math.sqrt((400 + 225 + 400 + 100) / 4))


def test_a_fifth_of_the_instructions_is_left_out_at_a_time():
    """Six: the first and the last together, predicted by 0, then each of the others, by 60 / 5. No score tells."""
    found = left_out_errors(labelled([50] * 6, [0, 0, 0, 0, 0, 60]))
    assert found == pytest.approx([math.sqrt((60**2 + 4 * 12**2) / 6)] * 2)


def test_a_fitted_slope_makes_the_error_of_few_labels_larger():
    """Slope 2.5, residuals 10, -5 and 10. All scores are 2.5 x (-15, -5, 5, 15) / 4 off their mean, the residuals
    (5, -10, 5) / 3, times the root of (3 - 1) / (3 - 2)."""
    one = estimate(labelled([0, 10, 20, 30], [10, 20, 60]), helps=True)
    assert (one.weight, one.mean, one.freedom) == (2.5, 2.5 * 15 + 5, 1)
    fitted = math.sqrt(2)
    assert list(one.influences.values()) == pytest.approx(
        [-9.375 + 5 / 3 * fitted, -3.125 - 10 / 3 * fitted, 3.125 + 5 / 3 * fitted, 9.375]
    )


@pytest.mark.parametrize("helps", [False, True])
@pytest.mark.parametrize(
    ("labels", "instructions", "why"),
    [
        (29, 29, "none: 29 of the 30 human labels a model that it takes"),
        (30, 9, "none: 9 of the 10 instructions that it takes"),
        (30, 10, None),
    ],
)
def test_an_interval_takes_thirty_labels_of_ten_instructions(helps, labels, instructions, why):
    values = np.random.default_rng(2).uniform(0, 100, labels)
    found = labelled(values, values / 2 + 3 * np.sin(values), [f"c{index % instructions}" for index in range(labels)])
    one = (found, estimate(found, helps=helps))
    enough = labelled(np.arange(40.0), np.arange(40.0) ** 1.5 / 4)
    other = (enough, estimate(enough, helps=helps))
    for between in (
        interval(*one),
        interval_of_difference(one, other, CHANGE, resamples=300, seed=1),
        interval_of_difference(other, one, CHANGE, resamples=300, seed=1),
    ):
        assert (between.low is None) == (between.high is None) == (why is not None)
        assert (between.method == why) == (why is not None)


def alone(values, names):
    """Labels of all answers, without a judge."""
    found = labelled(np.zeros(len(values)), values, names)
    return found, estimate(found, helps=False)


def test_of_rows_that_both_models_answer_the_difference_is_paired():
    """Without a judge, and all labelled: the interval of the mean of the rows' differences, which are skewed."""
    random = np.random.default_rng(2)
    changes = 3 * np.exp(1.3 * random.normal(0, 1, 40)) - 4
    hard = random.uniform(0, 60, 40)
    names = [f"c{index:02}" for index in range(40)]
    found = interval_of_difference(alone(hard + changes, names), alone(hard, names), CHANGE, resamples=400, seed=3)
    expected = mean_interval(changes, names, bounds=CHANGE, resamples=400, seed=3)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    low, high = stats.t.interval(0.95, 39, changes.mean(), stats.sem(changes))
    assert found.low == pytest.approx(low)
    assert found.high > high + 0.5  # where BCa of skewed values reaches further
    method = "prediction-powered: the wider of BCa bootstrap and Student's t, labels of 40 instructions, "
    assert found.method == f"{method}400 resamples, seed 3"


def test_of_rows_that_only_one_model_answers_both_errors_count():
    """The textbook's error of two samples, with the degrees of freedom and the correction of the smaller one."""
    first = 50 + 10 * stats.norm.ppf((np.arange(30) + 0.5) / 30)
    second = 45 + 20 * stats.norm.ppf((np.arange(60) + 0.5) / 60)
    one, other = alone(first, [f"a{n:02}" for n in range(30)]), alone(second, [f"b{n:02}" for n in range(60)])
    variance = 30 / 29 * (first.var() / 30 + second.var() / 60)
    half = stats.t.ppf(0.975, 29) * math.sqrt(variance)
    for pair, middle in (((one, other), 5), ((other, one), -5)):
        found = interval_of_difference(*pair, CHANGE, resamples=2000, seed=1)
        assert (found.low, found.high) == pytest.approx((middle - half, middle + half), rel=1e-6)


def test_a_difference_stays_within_what_scores_can_differ_by():
    names = [f"c{index:02}" for index in range(40)]
    low, high = alone(np.array([0.0] * 39 + [1.0]), names), alone(np.array([100.0] * 39 + [99.0]), names)
    found = interval_of_difference(high, low, (-99.96, 99.96), resamples=300, seed=1)
    assert (found.high, found.low < 99.95) == (99.96, True)
    found = interval_of_difference(low, high, (-99.96, 99.96), resamples=300, seed=1)
    assert (found.low, found.high > -99.95) == (-99.96, True)


#: Test rows of a simulated case, as in the book.
ROWS = 110
#: How good the two models are, base and tuned, as latent means; and with a weak one, most of whose grades are 0.
ALIKE, ONE_WEAK = (0.35, -0.1), (0.35, -2.2)


def grades(random, count, skill):
    """Human grades in tens, many of them 0 or 100; a row that is hard is hard for both models. [base, tuned][rows]."""
    hard = random.normal(0, 0.8, count)
    latent = [50 + 45 * (mean + hard + random.normal(0, 1, count)) for mean in skill]
    return [np.round(np.clip(one, 0, 100) / 10) * 10 for one in latent]


@functools.cache
def truth(skill):
    """The true means of base and tuned, and their difference."""
    base, tuned = (float(one.mean()) for one in grades(np.random.default_rng(0), 2_000_000, skill))
    return base, tuned, tuned - base


#: Judges, as functions of the human grades and whether they are of the tuned model. Kinder: 20 points more for it.
JUDGES = {
    "good": lambda random, y, tuned: y + random.normal(0, 12, len(y)),
    "biased": lambda random, y, tuned: 35 + 0.6 * y + random.normal(0, 15, len(y)),
    "kinder to one model": lambda random, y, tuned: 25 + 0.6 * y + random.normal(0, 15, len(y)) + 20 * tuned,
    "useless": lambda random, y, tuned: random.uniform(20, 100, len(y)),
    "useless, kinder": lambda random, y, tuned: random.uniform(20, 80, len(y)) + 20 * tuned,
    "backwards": lambda random, y, tuned: 100 - y + random.normal(0, 30, len(y)),
}
#: Simulated cases. The standard error of a coverage near 95 % is then 0.6 points.
CASES = 1200


def coverage(judge, count, skill):
    """How often the intervals of base, tuned and difference hold the truth, in percent, and the difference's bias."""
    random = np.random.default_rng([count, sorted(JUDGES).index(judge)])
    held, misses = np.zeros(3), []
    for _ in range(CASES):
        rows = random.permutation(ROWS)  # the first ones are labelled, for both models
        both = []
        for tuned, values in enumerate(grades(random, ROWS, skill)):
            scores = np.clip(np.round(JUDGES[judge](random, values, tuned)), 0, 100)
            found = labelled(scores[rows], values[rows[:count]])
            without, with_judge = left_out_errors(found)
            both.append((found, estimate(found, helps=with_judge < without)))
        base, tuned = both
        intervals = [interval(*base), interval(*tuned)]
        intervals.append(interval_of_difference(tuned, base, CHANGE, resamples=300, seed=1))
        held += [one.low <= value <= one.high for one, value in zip(intervals, truth(skill), strict=True)]
        misses.append(tuned[1].mean - base[1].mean - truth(skill)[2])
    return 100 * held / CASES, float(np.mean(misses))


@pytest.mark.slow
@pytest.mark.parametrize("count", [30, 50, 100])
@pytest.mark.parametrize("judge", JUDGES)
def test_the_intervals_hold_the_truth_whatever_the_judge(judge, count):
    held, bias = coverage(judge, count, ALIKE)
    print(f"| {judge} | {count} | {' | '.join(f'{share:.1f}' for share in held)} | {bias:+.1f} |")
    assert all(93 <= share <= 97 for share in held)
    assert abs(bias) < 1


@pytest.mark.slow
@pytest.mark.parametrize(("count", "least"), [(30, 88), (50, 91), (100, 94)])
@pytest.mark.parametrize("judge", ["good", "biased", "useless"])
def test_few_labels_of_a_weak_model_miss_its_rare_good_answers(judge, count, least):
    """Most of its grades are 0, and few labels seldom hold a high one: its own interval is too narrow with 30."""
    held, bias = coverage(judge, count, ONE_WEAK)
    print(f"| {judge}, weak tuned model | {count} | {' | '.join(f'{share:.1f}' for share in held)} | {bias:+.1f} |")
    assert held[1] >= least
    assert all(93 <= share <= 98 for share in held[[0, 2]])
