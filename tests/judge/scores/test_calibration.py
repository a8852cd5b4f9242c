"""A judge beside human labels: agreement against scipy and by hand, the fit, and the corrected mean."""

import numpy as np
import pytest
from scipy import stats

from stages.common.metrics.judge import CalibratedMean
from stages.common.results.judge import Verdict
from stages.judge.scores.calibration import (
    Pairs,
    agreement,
    calibrate,
    calibrated_mean,
    cross_validation,
    fit,
    weighted_kappa,
)
from stages.judge.scores.labels import HumanLabels


def array(*values):
    return np.array(values, dtype=float)


def pairs(ours, labels, clusters=()):
    return Pairs(ours, labels, clusters)


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


def test_the_fit_rises_and_is_straight_between_its_points():
    """50 and 60 come the wrong way round (70, 30): both get their mean."""
    calibrated = fit(array(0, 50, 60, 100), array(0, 70, 30, 100))
    assert calibrated(array(0, 25, 50, 55, 60, 80, 100)) == pytest.approx([0, 25, 50, 50, 50, 75, 100])
    assert calibrated(array(-5, 105)) == pytest.approx([0, 100])


def test_the_error_is_that_on_what_was_left_out():
    """A judge that is 20 points too generous everywhere: put right, nothing but the ends of the range is left."""
    labels = np.arange(0, 80, 2, dtype=float)
    found = cross_validation(pairs(labels + 20, labels, [f"c{number:02}" for number in range(40)]))
    assert found.raw == 20.0
    assert found.calibrated < 0.5
    random = np.random.default_rng(2)
    noise = cross_validation(pairs(*random.uniform(0, 100, (2, 200)), [str(n) for n in range(200)]))
    assert 20 < noise.calibrated < noise.raw  # what knows nothing is at best as good as the mean: 25 points


def test_rows_of_one_instruction_are_left_out_together():
    """The one instruction whose score is seen nowhere else is not seen in its own fit either."""
    ours, labels = array(*[50] * 20, *[90] * 5), array(*[40] * 20, *[70] * 5)
    found = cross_validation(pairs(ours, labels, [*(f"c{number}" for number in range(20)), *["z"] * 5]))
    assert found.calibrated == pytest.approx(5 * 30 / 25)  # 40 for the ten at 90, which are 70


def verdicts(ours, model="tuned"):
    return [
        Verdict(id=f"r{index}", model=model, status="scored", score=float(score), detail="", exact=score == 100)
        for index, score in enumerate(ours)
    ]


def labels_of(judged, score):
    scores = {(v.id, v.model): score(v) for v in judged}
    return HumanLabels(scores, sha256="0" * 64, rows=len(judged) + 3, stale=2)


def test_the_mean_of_a_generous_judge_is_put_right():
    judged = verdicts([*range(40, 100, 5), 100, 100])
    labels = labels_of(judged, lambda v: 100.0 if v.exact else v.score - 40)
    found = calibrate(judged + verdicts([60.0] * 3, "base"), labels, seed=1)
    assert (found.rows, found.stale, found.matched) == (17, 2, 14)
    assert (found.agreement.all.n, found.agreement.not_equal_to_reference.n) == (14, 12)
    assert found.agreement.not_equal_to_reference.mean_difference == 40.0
    raw = (sum(range(40, 100, 5)) + 200) / 14
    assert found.means["tuned"].raw == pytest.approx(raw, abs=0.001)
    assert found.means["tuned"].calibrated == pytest.approx(raw - 40 * 12 / 14, abs=0.001)
    assert found.means["base"] == CalibratedMean(raw=60.0, calibrated=None, interval=None), "none of its is labelled"
    interval = found.means["tuned"].interval
    assert interval.low < found.means["tuned"].calibrated < interval.high
    assert calibrate(judged, labels, seed=1) == calibrate(judged, labels, seed=1)


def test_too_few_scored_pairs_fit_nothing():
    judged = verdicts(range(9))
    found = calibrate(judged, labels_of(judged, lambda _: 1.0), seed=1)
    assert (found.matched, found.cross_validation, found.means) == (9, None, None)


def test_pairs_count_as_often_as_they_are_drawn():
    """50 twice with 70 and once with 10 is 50 with 50; a pair that was not drawn is not there."""
    calibrated = fit(array(0, 50, 50, 80), array(0, 70, 10, 100), array(1, 2, 1, 0))
    assert calibrated(array(0, 25, 50, 80)) == pytest.approx([0, 25, 50, 50])


def test_the_calibrated_mean_draws_whole_instructions():
    """Twelve instructions, each ten times: the interval is that of twelve rows, not of a hundred and twenty."""
    random = np.random.default_rng(6)
    ours, labels = random.uniform(0, 100, (2, 12))
    names = [f"c{index}" for index in range(12)]

    def width(times, clusters):
        scores = np.repeat(ours, times)
        found = calibrated_mean(scores, clusters, pairs(scores, np.repeat(labels, times), clusters), seed=1).interval
        return found.high - found.low

    once, again = width(1, names), width(10, list(np.repeat(names, 10)))
    assert again == pytest.approx(once, rel=0.01)
    assert width(10, [str(index) for index in range(120)]) < once / 2
