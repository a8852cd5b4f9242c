"""Statistics over verdicts: by hand, and against scipy."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stages.common.records import Verdict
from stages.judging.statistics import difference, mean_interval, summarise


def verdicts(*scores, model="tuned"):
    """A number is a score, "invalid" and "failed" are themselves."""
    return [
        Verdict(id=f"r{place}", model=model, status=value, score=None, detail="")
        if isinstance(value, str)
        else Verdict(id=f"r{place}", model=model, status="scored", score=float(value), detail="")
        for place, value in enumerate(scores)
    ]


def summary(*scores, categories=None, resamples=200):
    rows = verdicts(*scores)
    names = dict.fromkeys((row.id for row in rows), "one") | (categories or {})
    return summarise(rows, names, resamples=resamples, seed=1)


def test_a_summary_worked_by_hand():
    rows = verdicts(100, 80, "invalid", 40, 0, "failed")
    rows[0] = rows[0].model_copy(update={"exact": True, "spread": 5.0})
    rows[1] = rows[1].model_copy(update={"spread": 10.0})
    found = summarise(
        rows,
        {"r0": "spelling", "r1": "spelling", "r2": "spelling", "r3": "tense", "r4": "tense", "r5": "plural"},
        twins={"r1", "r5", "gone"},
        resamples=200,
        seed=1,
    )
    interval = found.pop("interval")
    for part in ("not_equal_to_reference", "without_twin_in_train"):
        assert found[part].pop("interval")["low"] is not None
    assert found == {
        "n": 6,
        "scored": 4,
        "invalid": 1,
        "failed": 1,
        "exact_matches": 1,
        "mean": 55.0,
        "mean_bounds": {"low": 36.667, "high": 70.0},  # 220 / 6 and 420 / 6
        "median": 60.0,
        "quartiles": {"lower": 30.0, "upper": 85.0},
        "share_80_or_more": 0.5,
        "not_equal_to_reference": {"n": 5, "scored": 3, "mean": 40.0},  # 80, 40, 0
        "without_twin_in_train": {"n": 4, "scored": 3, "mean": 46.667},  # 100, 40, 0
        "mean_spread": 7.5,
        "categories": {
            "plural": {"n": 1, "scored": 0, "mean": None},
            "spelling": {"n": 3, "scored": 2, "mean": 90.0},
            "tense": {"n": 2, "scored": 2, "mean": 20.0},
        },
    }
    assert interval["low"] < 55 < interval["high"]
    assert interval["method"] == "BCa bootstrap, 200 resamples, seed 1"


def test_the_interval_is_scipys():
    values = np.random.default_rng(7).integers(0, 101, 110).astype(float)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(123)
    ).confidence_interval
    found = mean_interval(values, resamples=2000, seed=123)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), abs=0.0005)
    # and near to the textbook's mean ± 1.96 standard errors
    half = 1.96 * values.std(ddof=1) / np.sqrt(110)
    assert (found["low"], found["high"]) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.6)


def test_the_interval_is_the_same_again_and_hangs_on_the_seed():
    values = np.arange(0.0, 100.0, 3.0)
    first, again, other = (mean_interval(values, resamples=500, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert (first["low"], first["high"]) != (other["low"], other["high"])


@pytest.mark.parametrize(
    ("values", "low", "method"),
    [
        ([], None, "none: 0 of the 2 values that it takes"),
        ([70.0], None, "none: 1 of the 2 values that it takes"),
        ([70.0] * 3, 70.0, "none: all 3 values are equal"),
    ],
)
def test_an_interval_that_cannot_be_had_says_why(values, low, method):
    found = mean_interval(np.array(values), resamples=200, seed=1)
    assert found == {"level": 0.95, "low": low, "high": low, "method": method}


def test_no_scores_at_all_give_no_mean():
    found = summary("failed", "invalid")
    assert (found["n"], found["scored"], found["mean"], found["median"], found["share_80_or_more"]) == (
        2,
        0,
        None,
        None,
        None,
    )
    assert found["mean_bounds"] == {"low": 0.0, "high": 100.0}
    assert summary()["mean_bounds"] == {"low": None, "high": None}


def test_the_difference_is_over_rows_scored_in_both_joined_by_id():
    tuned = verdicts(90, 70, "failed", 60)
    base = verdicts(50, "invalid", 10, 40, model="base")[::-1]
    found = difference(tuned, base, resamples=200, seed=1)
    assert (found["n"], found["mean"]) == (2, 30.0)  # 90 - 50 and 60 - 40


def test_the_interval_of_the_difference_is_paired():
    """Each row is 10 to 12 points better, though rows differ by 90: unpaired, no difference would be seen."""
    base = verdicts(*range(0, 90, 3), model="base")
    tuned = verdicts(*[score + 10 + place % 3 for place, score in enumerate(range(0, 90, 3))])
    found = difference(tuned, base, resamples=500, seed=1)
    assert found["mean"] == 11.0
    assert 10.5 < found["interval"]["low"] < 11 < found["interval"]["high"] < 11.5


_score = st.sampled_from(["invalid", "failed"]) | st.floats(0, 100)


@settings(deadline=None, max_examples=40)
@given(st.lists(_score, max_size=12))
def test_a_summary_adds_up_and_is_json(scores):
    found = summary(*scores, resamples=100)
    json.dumps(found, allow_nan=False)
    assert found["n"] == found["scored"] + found["invalid"] + found["failed"] == len(scores)
    assert sum(part["n"] for part in found["categories"].values()) == len(scores)
    numbers = [score for score in scores if not isinstance(score, str)]
    assert (found["mean"] is None) == (not numbers)
    if numbers:
        assert found["mean"] == pytest.approx(sum(numbers) / len(numbers), abs=0.001)
        assert found["mean_bounds"]["low"] <= found["mean"] + 0.001
        assert found["mean"] <= found["mean_bounds"]["high"] + 0.001
