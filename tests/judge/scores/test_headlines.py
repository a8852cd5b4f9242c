"""The few figures of the result that `dvc metrics` shows."""

import json

from stages.common.results.judge import SCORES
from stages.judge.__main__ import main
from tests.judge.test_stage import folder, metrics  # noqa: F401 a fixture


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
    }
    assert list(scores["base"]) == list(scores["difference"]) == ["score", "ci95_low", "ci95_high"]
