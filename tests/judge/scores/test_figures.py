"""Which scores figures are made of, and how these are rounded."""

import numpy as np

from stages.common.metrics.judge import Interval, LengthControlled
from stages.common.results.judge import Verdict
from stages.judge.scores.figures import clusters_of, mean, quantile, rounded, scores_of, share


def test_verdicts_without_a_score_are_in_no_figure():
    rows = [
        Verdict(id="a", model="tuned", status="scored", score=40.0, detail="", cluster="x"),
        Verdict(id="b", model="tuned", status="failed", score=None, detail="", cluster="x"),
        Verdict(id="c", model="tuned", status="scored", score=0.0, detail=""),
    ]
    assert scores_of(rows).tolist() == [40.0, 0.0]
    assert clusters_of(rows) == ["x", "c"]  # a row of which no instruction is known is one by itself


def test_nothing_has_no_mean_and_no_share():
    assert (mean(np.array([])), share(0, 0)) == (None, None)
    assert (mean(np.array([1.0, 1.0, 0.0])), share(2, 3)) == (0.667, 0.6667)


def test_all_numbers_are_rounded_also_those_within():
    found = LengthControlled(
        win_rate=0.123456,
        interval=Interval(level=0.95, low=None, high=0.987654),
        length_effect=None,
        mean_length_difference=2.00001,
    )
    assert rounded(found, 4).model_dump(exclude_unset=True) == {
        "win_rate": 0.1235,
        "interval": {"level": 0.95, "low": None, "high": 0.9877},
        "length_effect": None,
        "mean_length_difference": 2.0,
    }


def test_no_figure_is_minus_zero():
    found = rounded(Interval(level=0.95, low=-0.00001, high=0.0), 3)
    assert repr((found.low, found.high, mean(np.array([-0.0001])))) == "(0.0, 0.0, 0.0)"


def test_a_quantile_lies_between_the_values_next_to_it():
    assert quantile(np.array([40.0, 0.0, 10.0]), 0.25) == 5.0  # halfway from 0 to 10
    assert quantile(np.array([0.0, 1.0]), 1 / 3) == 0.333
    assert quantile(np.array([]), 0.5) is None
