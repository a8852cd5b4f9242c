"""The few figures of the result that `dvc metrics` shows."""

import json

import pytest

from stages.common.metrics.judge import Interval, Mean, PanelMetrics, PanelScores, Right, RightDifference
from stages.common.results.judge import SCORES
from stages.judge.__main__ import main
from stages.judge.scores.headlines import headlines, percent
from tests import results
from tests.fake_ollama import FakeOllama
from tests.judge.test_stage import configure, folder, metrics  # noqa: F401 a fixture


def test_the_headlines(folder):  # noqa: F811
    main()
    found, scores = metrics(), json.loads(SCORES.read_text())
    assert list(scores) == ["judge", "tuned", "base", "difference"]
    assert scores["tuned"] == {
        "score": found["tuned"]["mean"],
        "ci95_low": found["tuned"]["interval"]["low"],
        "ci95_high": found["tuned"]["interval"]["high"],
        "scored": 3,
        "invalid": 0,
        "failed": 0,
        "right": {"n": 2, "of": 3, "percent": 66.67, **ends(found["tuned"]["right"])},
    }
    base, difference = scores["base"], scores["difference"]
    assert base["right"] == {"n": 0, "of": 3, "percent": 0.0, **ends(found["base"]["right"])}
    assert difference["right"] == {"percent": 66.67, **ends(found["right_difference"])}
    assert list(base) == list(difference) == ["score", "ci95_low", "ci95_high", "right"]


def ends(share):
    """Both ends of the interval of a share, in percent."""
    return {f"ci95_{end}": pytest.approx(100 * share["interval"][end]) for end in ("low", "high")}


def test_a_judge_that_counts_no_right_answers_has_no_such_headline(folder, monkeypatch):  # noqa: F811
    configure(backend="ollama")
    with FakeOllama() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        main()
    scores = json.loads(SCORES.read_text())
    assert "right" not in {*scores["tuned"], *scores["base"], *scores["difference"]}
    assert "right_difference" not in metrics()


def ends_at(low, high):
    return Interval(level=0.95, low=low, high=high)


def test_every_headline_has_its_place():
    """One of each, all numbers different: scores in points, shares in percent, a fingerprint of twelve digits."""
    tuned = results.model_scores(
        40.0, scored=7, n=9, right=Right(n=9, right=6, share=0.6667, interval=ends_at(0.3543, 0.8794)), open=2
    ).model_copy(update={"failed": 1})
    base = results.model_scores(
        20.0, scored=8, n=9, right=Right(n=8, right=1, share=0.125, interval=ends_at(0.0224, 0.4709))
    )
    found = headlines(
        results.judge_metrics(
            results.identity(model="llama3", fingerprint="0123456789abcdef"),
            tuned,
            base=base,
            difference=Mean(n=7, mean=19.5, interval=ends_at(11.0, 28.0)),
            right_difference=RightDifference(n=8, gained=5, lost=1, difference=0.5, interval=ends_at(0.1234, 0.8766)),
            pairwise=results.pairwise_metrics(0.75, ends_at(0.6, 0.9), 0.7, ends_at(0.5, 0.8), consistency=0.8),
        )
    )
    assert found.model_dump() == {
        "judge": "llama3 0123456789ab",
        "tuned": {
            "score": 40.0,
            "ci95_low": 35.0,
            "ci95_high": 45.0,
            "scored": 7,
            "invalid": 2,
            "failed": 1,
            "open": 2,
            "right": {"n": 6, "of": 9, "percent": 66.67, "ci95_low": 35.43, "ci95_high": 87.94},
        },
        "base": {
            "score": 20.0,
            "ci95_low": 15.0,
            "ci95_high": 25.0,
            "right": {"n": 1, "of": 8, "percent": 12.5, "ci95_low": 2.24, "ci95_high": 47.09},
        },
        "difference": {
            "score": 19.5,
            "ci95_low": 11.0,
            "ci95_high": 28.0,
            "right": {"percent": 50.0, "ci95_low": 12.34, "ci95_high": 87.66},
        },
        "pairwise": {
            "judge": "reference ab12",
            "win_rate": 0.75,
            "ci95_low": 0.6,
            "ci95_high": 0.9,
            "length_controlled": 0.7,
            "consistency": 0.8,
        },
    }


def test_one_model_alone_has_its_own_headline():
    found = headlines(results.judge_metrics(results.identity(), results.model_scores(40.0, scored=1, n=1)))
    assert list(found.model_dump()) == ["judge", "tuned"]


@pytest.mark.parametrize(("low", "high"), [(None, None), (0.1, None), (None, 0.9)])
def test_a_share_without_an_interval_has_none_in_percent(low, high):
    right = Right(n=1, right=1, share=1.0, interval=ends_at(low, high))
    metrics = results.judge_metrics(results.identity(), results.model_scores(9.0, scored=1, n=1, right=right))
    found = headlines(metrics).tuned.right
    assert (found.percent, found.ci95_low, found.ci95_high) == (100.0, None, None)


def test_a_share_in_percent_has_the_digits_that_it_had():
    assert (percent(0.12345), percent(1 / 3), percent(1.0)) == (12.35, 33.33, 100.0)
    assert repr(percent(-0.00001)) == "0.0"


def test_the_headline_of_a_panel_has_the_tuned_model_s_figures_and_the_names_of_all_judges():
    scores = PanelScores(
        n=9,
        left_out=1,
        means={},
        median=Mean(n=9, mean=62.5, interval=ends_at(50.0, 75.0)),
        right=Right(n=9, right=6, share=0.6667, interval=ends_at(0.3543, 0.8794)),
        alpha=0.81,
        alpha_interval=ends_at(0.7, 0.9),
    )
    panel = PanelMetrics(judges=[results.identity(model="llama3", fingerprint="cd34")], names=[], tuned=scores)
    tuned = results.model_scores(40.0, scored=9, n=10)
    found = headlines(results.judge_metrics(results.identity(model="qwen3"), tuned, panel=panel))
    assert found.panel.model_dump() == {
        "judges": "qwen3 ab12; llama3 cd34",
        "median": 62.5,
        "ci95_low": 50.0,
        "ci95_high": 75.0,
        "alpha": 0.81,
        "right": {"n": 6, "of": 9, "percent": 66.67, "ci95_low": 35.43, "ci95_high": 87.94},
    }
