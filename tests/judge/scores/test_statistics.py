"""Statistics over verdicts: by hand, and against scipy."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.metrics.judge import Bounds
from stages.common.results.judge import Verdict
from stages.judge.scores.statistics import difference, summarise


def verdicts(*scores, model="tuned"):
    """A number is a score, "invalid" and "failed" are themselves."""
    return [
        Verdict(id=f"r{index}", model=model, status=value, score=None, detail="")
        if isinstance(value, str)
        else Verdict(id=f"r{index}", model=model, status="scored", score=float(value), detail="")
        for index, value in enumerate(scores)
    ]


def summary(*scores, categories=None, resamples=200):
    rows = verdicts(*scores)
    names = dict.fromkeys((row.id for row in rows), "one") | (categories or {})
    return summarise(rows, names, {}, resamples=resamples, seed=1)


def test_a_summary_worked_by_hand():
    rows = verdicts(100, 80, "invalid", 40, 0, "failed")
    rows[0] = rows[0].model_copy(update={"exact": True, "spread": 5.0})
    rows[1] = rows[1].model_copy(update={"spread": 10.0})
    found = summarise(
        rows,
        {"r0": "spelling", "r1": "spelling", "r2": "spelling", "r3": "tense", "r4": "tense", "r5": "plural"},
        {},
        duplicates={"r1", "r5", "gone"},
        resamples=200,
        seed=1,
    ).model_dump()
    interval = found.pop("interval")
    for part in ("not_equal_to_reference", "without_twin_in_train"):
        assert found[part].pop("interval")["method"] == "none: 3 of the 10 instructions that it takes"
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
        "faults": {},
    }
    assert (interval["low"], interval["high"]) == (None, None)
    assert interval["method"] == "none: 4 of the 10 instructions that it takes"


def test_an_interval_draws_whole_instructions_and_says_so():
    """Twenty rows in ten instructions of two: 1.5 to 55.5 in steps of 6, around 28.5."""
    rows = [
        row.model_copy(update={"cluster": "abcdefghij"[index // 2]})
        for index, row in enumerate(verdicts(*range(0, 60, 3)))
    ]
    found = summarise(rows, dict.fromkeys((row.id for row in rows), "one"), {}, resamples=200, seed=1)
    half = 2.262157 * np.std(np.arange(1.5, 56, 6), ddof=1) / np.sqrt(10)
    assert found.interval.high == pytest.approx(28.5 + half, abs=0.001)
    assert found.interval.low < 28.5 - half  # where BCa of these draws reaches further
    method = "the wider of BCa bootstrap and Student's t over 10 instructions, 200 resamples, seed 1"
    assert found.interval.method == method


def test_no_scores_at_all_give_no_mean():
    found = summary("failed", "invalid")
    assert (found.n, found.scored, found.mean, found.median, found.share_80_or_more) == (2, 0, None, None, None)
    assert found.mean_bounds == Bounds(low=0.0, high=100.0)
    assert summary().mean_bounds == Bounds(low=None, high=None)


def test_the_difference_is_over_rows_scored_in_both_joined_by_id():
    tuned = verdicts(90, 70, "failed", 60)
    base = verdicts(50, "invalid", 10, 40, model="base")[::-1]
    found = difference(tuned, base, resamples=200, seed=1)
    assert (found.n, found.mean) == (2, 30.0)  # 90 - 50 and 60 - 40


def test_the_interval_of_the_difference_is_paired():
    """Each row is 10 to 12 points better, though rows differ by 90: unpaired, no difference would be seen."""
    base = verdicts(*range(0, 90, 3), model="base")
    tuned = verdicts(*[score + 10 + index % 3 for index, score in enumerate(range(0, 90, 3))])
    found = difference(tuned, base, resamples=500, seed=1)
    assert found.mean == 11.0
    assert 10.5 < found.interval.low < 11 < found.interval.high < 11.5


_score = st.sampled_from(["invalid", "failed"]) | st.floats(0, 100)


@settings(deadline=None, max_examples=40)
@given(st.lists(_score, max_size=12))
def test_a_summary_adds_up_and_is_json(scores):
    found = summary(*scores, resamples=100)
    json.dumps(found.model_dump(), allow_nan=False)
    assert found.n == found.scored + found.invalid + found.failed == len(scores)
    assert sum(part.n for part in found.categories.values()) == len(scores)
    numbers = [score for score in scores if not isinstance(score, str)]
    assert (found.mean is None) == (not numbers)
    if numbers:
        assert found.mean == pytest.approx(sum(numbers) / len(numbers), abs=0.001)
        assert found.mean_bounds.low <= found.mean + 0.001
        assert found.mean <= found.mean_bounds.high + 0.001


def test_a_good_answer_has_80_points_or_more():
    assert summary(79, 79.5, 80, 100).share_80_or_more == 0.5


def test_answers_to_open_rows_are_counted_apart_and_have_no_part_in_the_bounds():
    rows = [*verdicts(40, 60, "invalid"), *verdicts("open", "open")]
    rows = [row.model_copy(update={"id": f"r{index}"}) for index, row in enumerate(rows)]
    found = summarise(rows, dict.fromkeys((row.id for row in rows), "one"), {}, resamples=200, seed=1)

    assert (found.n, found.scored, found.invalid, found.open) == (5, 2, 1, 2)
    assert found.mean_bounds == Bounds(low=33.333, high=66.667)  # 100 / 3 and 200 / 3
    assert summary(40, 60).open is None


def test_right_answers_are_counted_in_all_and_by_category():
    rows = [
        row.model_copy(update={"right": right})
        for row, right in zip(verdicts(90, 20, 80), (True, False, True), strict=True)
    ]
    rows += [row.model_copy(update={"id": "r3"}) for row in verdicts(50)]
    found = summarise(rows, {"r0": "a", "r1": "a", "r2": "b", "r3": "c"}, {}, resamples=200, seed=1)

    assert (found.right.right, found.right.n) == (2, 3)
    assert {name: part.right for name, part in found.categories.items()} == {"a": 1, "b": 1, "c": None}


def test_a_difference_lies_between_minus_100_and_100():
    """Of 20 differences of 10 points, a share of 1 - 0.025^(1/20) = 0.1684 may be others: -100 or 100."""
    found = difference(verdicts(*[60] * 20), verdicts(*[50] * 20, model="base"), resamples=200, seed=1)

    assert found.interval.low == pytest.approx(10 - 0.16843 * 110, abs=0.001)
    assert found.interval.high == pytest.approx(10 + 0.16843 * 90, abs=0.001)


def test_the_sources_of_a_mix_have_means_of_their_own_and_one_source_has_none():
    rows = verdicts(100, 50, "invalid", 30)
    names = dict.fromkeys((row.id for row in rows), "one")
    sources = {"r0": "b", "r1": "a", "r2": "a", "r3": "a"}

    found = summarise(rows, names, {}, sources=sources, resamples=200, seed=1).model_dump()["sources"]

    assert list(found.items()) == [
        ("a", {"n": 3, "scored": 2, "mean": 40.0}),
        ("b", {"n": 1, "scored": 1, "mean": 100.0}),
    ]
    assert "sources" not in summarise(rows, names, {}, resamples=200, seed=1).model_dump()
