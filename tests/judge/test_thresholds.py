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
    assert caught.value.fix == "set another judge.model or judge.rubric in params.yaml"


@pytest.mark.parametrize(
    ("detail", "option"),
    [
        ("the verdict did not end by itself (finish_reason 'length'); found '{'", "judge.num_predict"),
        ("tuned first: the verdict did not end by itself (done_reason 'length'); found '{'", "judge.num_predict"),
        ("the prompt of 250 tokens leaves no room for a verdict (judge.num_ctx 256)", "judge.num_ctx"),
        ("the judge refused the request: HTTP 400: prompt is too long: 9 tokens", "judge.num_ctx"),
        ("the verdict did not end by itself (done_reason 'load'); found ''", None),
    ],
)
def test_an_option_that_is_too_small_is_named(detail, option):
    [one] = verdicts("invalid")
    with pytest.raises(ConfigError) as caught:
        require_scores([one.model_copy(update={"detail": detail})], 0.0)
    assert caught.value.fix.startswith(f"raise {option} in params.yaml" if option else "set another judge.model")


def test_with_failed_ones_among_them_the_same_command_may_help():
    with pytest.raises(ServiceUnavailable, match=r"\(1 invalid, 1 failed\).* r3: detail 3;"):
        require_scores(verdicts("scored", "scored", "invalid", "failed"), 0.25)
