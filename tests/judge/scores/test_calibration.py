"""A judge beside human labels: agreement against scipy and by hand, and the means that follow from both."""

import numpy as np
import pytest
from scipy import stats

from stages.common.metrics.judge import CalibratedMean, Interval, Mean
from stages.common.results.judge import Verdict
from stages.judge.scores.calibration import Pairs, agreement, calibrate, weighted_kappa
from stages.judge.scores.labels import HumanLabels


def array(*values):
    return np.array(values, dtype=float)


def pairs(ours, labels):
    return Pairs(ours, labels)


def test_the_correlations_are_scipy_s():
    random = np.random.default_rng(1)
    ours = random.integers(0, 101, 60).astype(float)
    labels = np.clip(ours + random.normal(0, 30, 60), 0, 100)
    found = agreement(pairs(ours, labels))
    assert found.pearson == pytest.approx(np.corrcoef(ours, labels)[0, 1], abs=0.0005)
    assert found.spearman == pytest.approx(stats.spearmanr(ours, labels).statistic, abs=0.0005)
    assert found.kendall == pytest.approx(stats.kendalltau(ours, labels).statistic, abs=0.0005)
    assert found.mean_difference == pytest.approx((ours - labels).mean(), abs=0.0005)


def test_kappa_by_hand():
    """Bands 0, 9, 9 beside 0, 9, 5: squares 0, 0 and 16; drawn apart: 0, 81, 25, then twice 81, 0, 16, over 9."""
    found = weighted_kappa(array(5, 95, 100), array(0, 90, 55))
    assert found == pytest.approx(1 - (16 / 3) / ((106 + 97 + 97) / 9), abs=0.0005)
    assert weighted_kappa(array(0, 50, 100), array(0, 50, 100)) == 1.0
    assert weighted_kappa(array(50, 50), array(50, 50)) is None


def test_kappa_of_many_pairs_takes_no_memory_for_each_pair_of_pairs():
    """Beside the definition on 200 pairs; on 200,000 a table of all against all would take 320 GB."""
    random = np.random.default_rng(3)
    ours, labels = random.uniform(0, 100, (2, 200))
    bands = [np.minimum(scores // 10, 9) for scores in (ours, labels)]
    apart = np.mean([(one - bands[1]) ** 2 for one in bands[0]])
    assert weighted_kappa(ours, labels) == pytest.approx(1 - np.mean((bands[0] - bands[1]) ** 2) / apart, abs=0.0005)
    assert weighted_kappa(*random.uniform(0, 100, (2, 200_000))) == pytest.approx(0, abs=0.02)


def test_what_cannot_be_correlated_is_null():
    found = agreement(pairs(array(95, 95, 95), array(10, 50, 90)))
    assert (found.pearson, found.spearman, found.kendall, found.weighted_kappa) == (None, None, None, 0.0)
    assert agreement(pairs(array(), array())).mean_difference is None
    assert agreement(pairs(array(1), array(2))).pearson is None


def verdicts(ours, model="tuned"):
    return [
        Verdict(id=f"r{index}", model=model, status="scored", score=float(score), detail="", exact=score == 100)
        for index, score in enumerate(ours)
    ]


def labels_of(judged, score):
    scores = {(v.id, v.model): score(v) for v in judged}
    return HumanLabels(scores, sha256="0" * 64, rows=len(judged) + 3, stale={})


def means_of(judged, labels):
    return calibrate(judged, labels, resamples=200, seed=1)


def test_the_mean_of_a_generous_judge_is_put_right():
    """Scores 40 too high where they are not 100: their slope on labels is fitted, and the mean is that of the labels,
    as every answer has one.
    """
    judged = verdicts([*range(40, 100, 5), 100, 100])
    labels = labels_of(judged, lambda v: 100.0 if v.exact else v.score - 40)
    found = means_of(judged + verdicts([60.0] * 3, "base"), labels)
    assert (found.rows, found.stale, found.matched) == (17, 0, 14)
    assert (found.agreement.all.n, found.agreement.not_equal_to_reference.n) == (14, 12)
    assert found.agreement.not_equal_to_reference.mean_difference == 40.0
    raw = (sum(range(40, 100, 5)) + 200) / 14
    tuned = found.means["tuned"]
    assert tuned.raw == pytest.approx(raw, abs=0.001)
    assert tuned.calibrated == tuned.graded.mean == pytest.approx(raw - 40 * 12 / 14, abs=0.001)
    none = Interval(level=0.95, low=None, high=None, method="none: 0 of the 10 human labels a model that a mean takes")
    assert found.means["base"] == CalibratedMean(
        raw=60.0,
        graded=Mean(n=0, mean=None, interval=none),
        calibrated=None,
        interval=None,
        weight=None,
        cross_validation=None,
    )
    assert found.difference is None
    assert means_of(judged, labels) == means_of(judged, labels)


def two_models(kinder):
    """Forty rows, and labels of the first thirty; labels are scores, but for ``kinder`` points for the tuned model."""
    scores = [(7 * n) % 40 for n in range(40)]
    judged = verdicts([score + kinder for score in scores]) + verdicts([score + 17.5 for score in scores], "base")
    labelled = [verdict for verdict in judged if int(verdict.id[1:]) < 30]
    return judged, labels_of(labelled, lambda v: v.score - (kinder if v.model == "tuned" else 0))


def test_a_judge_that_is_kinder_to_one_model_is_put_right_for_each():
    """The labels are 17.5 lower for the tuned model, to which the judge gives 30 points too many."""
    judged, labels = two_models(30.0)
    found = means_of(judged, labels)
    assert found.means["tuned"].raw - found.means["base"].raw == pytest.approx(12.5, abs=0.001)
    assert found.difference.mean == pytest.approx(-17.5, abs=0.001)
    assert found.means["tuned"].calibrated == pytest.approx(19.5, abs=0.001)  # (0 + ... + 39) / 40, all rows
    assert found.means["tuned"].graded.mean != found.means["tuned"].calibrated
    assert found.means["tuned"].weight == found.means["base"].weight == 1.0
    assert found.means["tuned"].cross_validation.judged == 0.0
    assert found.means["tuned"].cross_validation.judge_helps
    assert found.means["tuned"].interval.low < 19.5 < found.means["tuned"].interval.high


def test_a_mean_beyond_the_scale_counts_as_its_end_in_the_difference_too():
    """Labels twice the score up to 40 points, and ninety answers of 100 points without one: an estimate of 160.25.

    The base model's answers all have labels, whose mean is 20.5 x 2.
    """
    graded = list(range(6, 36)) + [20.5] * 90
    judged = verdicts([*range(6, 36), *[100.0] * 90]) + verdicts(graded, "base")
    labelled = [v for v in judged if v.model == "base" or int(v.id[1:]) < 30]
    found = means_of(judged, labels_of(labelled, lambda v: 2 * v.score))
    tuned, base = found.means["tuned"], found.means["base"]
    assert (tuned.weight, tuned.calibrated, base.calibrated) == (2.0, 100.0, 41.0)
    assert (tuned.interval.low, tuned.interval.high) == (100.0, 100.0)
    assert found.difference.mean == 59.0
    assert found.difference.interval.low <= 59.0 <= found.difference.interval.high <= 100.0


def test_under_thirty_labels_there_is_a_mean_and_no_interval():
    judged, labels = two_models(30.0)
    fewer = {key: score for key, score in labels.scores.items() if key != ("r0", "tuned")}
    found = means_of(judged, HumanLabels(fewer, sha256="0" * 64, rows=59, stale={}))
    assert found.means["tuned"].calibrated == pytest.approx(19.5, abs=0.001)
    assert found.means["base"].interval.low is not None
    for interval in (found.means["tuned"].interval, found.means["tuned"].graded.interval, found.difference.interval):
        assert (interval.low, interval.high) == (None, None)
        assert interval.method == "none: 29 of the 30 human labels a model that it takes"


def test_a_judge_that_predicts_no_label_is_not_used():
    """Scores that go up and down beside labels that rise: the mean is that of the labels, and the figures say so."""
    judged = verdicts([50.0 + 10 * (n % 2) for n in range(40)])
    found = means_of(judged, labels_of(judged, lambda v: float(int(v.id[1:]) // 2)))
    tuned = found.means["tuned"]
    assert not tuned.cross_validation.judge_helps
    assert tuned.cross_validation.judged >= tuned.cross_validation.graded
    assert (tuned.weight, tuned.calibrated, tuned.interval) == (0.0, tuned.graded.mean, tuned.graded.interval)
    assert tuned.graded.mean == 9.5


def test_too_few_scored_pairs_give_no_mean():
    judged = verdicts(range(9))
    found = means_of(judged, labels_of(judged, lambda _: 1.0))
    assert (found.matched, found.means["tuned"].calibrated, found.means["tuned"].graded.n) == (9, None, 9)


def test_a_label_of_another_answer_takes_its_model_s_mean_and_the_difference():
    judged, labels = two_models(30.0)
    found = means_of(judged, HumanLabels(labels.scores, sha256="0" * 64, rows=61, stale={"base": 1}))
    assert (found.rows, found.stale, found.matched) == (61, 1, 60)
    assert found.means["tuned"].calibrated == pytest.approx(19.5, abs=0.001)
    why = "none: 1 of 31 labels is of another answer: grade again: python -m flows.grade ."
    none = Interval(level=0.95, low=None, high=None, method=why)
    assert found.means["base"] == CalibratedMean(
        raw=37.0,
        graded=Mean(n=30, mean=None, interval=none),
        stale=1,
        calibrated=None,
        interval=None,
        weight=None,
        cross_validation=None,
    )
    assert found.difference is None


def test_the_tuned_model_comes_first():
    judged, labels = two_models(0.0)
    assert list(means_of(judged[::-1], labels).means) == ["tuned", "base"]


def test_the_mean_of_few_labels_is_theirs_and_not_the_judge_s():
    judged = verdicts([80.0] * 40)
    found = means_of(judged, labels_of(judged[:2], lambda v: 10.0 + 20 * int(v.id[1:])))
    assert (found.means["tuned"].raw, found.means["tuned"].graded.mean) == (80.0, 20.0)
    assert found.means["tuned"].calibrated is None


def test_labels_that_are_all_the_same_for_a_model_leave_an_exact_interval_of_the_difference():
    """60 and 40. Of 30 instructions a share of 1 - 0.025^(1/30) = 0.115703 may be others, of -100 or 100."""
    judged = verdicts([50.0] * 30) + verdicts([50.0] * 30, "base")
    found = means_of(judged, labels_of(judged, lambda v: 60.0 if v.model == "tuned" else 40.0))
    assert found.difference.mean == 20.0
    ends = (found.difference.interval.low, found.difference.interval.high)
    assert ends == pytest.approx((20 - 0.115703 * 120, 20 + 0.115703 * 80), abs=0.001)


def test_two_pairs_correlate():
    found = agreement(pairs(array(10, 20), array(30, 90)))
    assert (found.pearson, found.spearman, found.kendall) == (1.0, 1.0, 1.0)


def test_no_figure_is_minus_zero():
    """Nothing that rounding leaves a little below 0: a difference of means, a correlation, and bands whose mean square
    62 / 3 is that of independent ones, 2 + 8 / 3 + 16."""
    judged = verdicts([50.0] * 30) + verdicts([50.0] * 30, "base")
    found = means_of(judged, labels_of(judged, lambda v: 40.0 if v.model == "tuned" else 40.0001))
    correlation = agreement(pairs(array(40, 90, 0, 30, 70), array(70, 30, 30, 30, 40))).pearson
    kappa = weighted_kappa(array(70, 40, 70), array(40, 20, 0))
    assert repr((found.difference.mean, correlation, kappa)) == "(0.0, 0.0, 0.0)"


def test_a_judge_that_says_the_same_of_all_does_not_help():
    judged = verdicts([50.0] * 40)
    found = means_of(judged, labels_of(judged, lambda v: float(int(v.id[1:])))).means["tuned"]
    assert (found.cross_validation.judge_helps, found.weight) == (False, 0.0)
    assert found.cross_validation.judged == found.cross_validation.graded
