"""judge.max_invalid: at the share that is allowed a result stands, above it the stage fails and says why."""

import pytest

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.results.judge import Verdict
from stages.judge.thresholds import require_outcomes, require_scores


def verdicts(*statuses):
    return [
        Verdict(
            id=f"r{number}",
            model="tuned",
            status=status,
            score=50.0 if status == "scored" else None,
            detail=f"detail {number}",
        )
        for number, status in enumerate(statuses)
    ]


def test_the_share_that_is_allowed_passes():
    require_scores(verdicts("scored", "scored", "scored", "invalid"), 0.25)
    require_scores([], 0.0)
    require_outcomes([], 0.0)


def test_more_invalid_ones_call_for_another_judge():
    with pytest.raises(ConfigError) as caught:
        require_scores(verdicts("scored", "scored", "invalid", "invalid"), 0.25)
    assert caught.value.what == (
        "2 of 4 answers of the model tuned have no score (2 invalid, 0 failed), more than judge.max_invalid (0.25) "
        "allows; r2: detail 2; all are in artifacts/judge/verdicts.jsonl"
    )


def test_with_failed_ones_among_them_the_same_command_may_help():
    with pytest.raises(ServiceUnavailable, match=r"\(1 invalid, 1 failed\).* r3: detail 3;"):
        require_scores(verdicts("scored", "scored", "invalid", "failed"), 0.25)
