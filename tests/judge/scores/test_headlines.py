"""The few figures of the result that `dvc metrics` shows."""

import json

import pytest

from stages.common.results.judge import SCORES
from stages.judge.__main__ import main
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
