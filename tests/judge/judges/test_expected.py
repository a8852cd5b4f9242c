"""The expected score: the mean over the probabilities of the score's token."""

import math

import pytest

from stages.judge.judges.expected import expected_score
from stages.judge.judges.rubric import InvalidVerdict, load_rubric


def tokens(*pairs):
    """Tokens as servers give them: the text, and the probabilities of the alternatives there."""
    return [
        {
            "token": text,
            "logprob": 0.0,
            "top_logprobs": [{"token": token, "logprob": math.log(p)} for token, p in alternatives.items()],
        }
        for text, alternatives in pairs
    ]


def test_the_expected_score_is_the_mean_over_the_score_s_own_token():
    rubric = load_rubric("levels-v1")
    found = tokens(
        ('{"', {}), ("score", {}), ('":', {}), (" 4", {" 4": 0.5, " 5": 0.25, "3": 0.15, "!": 0.1}), ("}", {})
    )
    # (4 x .5 + 5 x .25 + 3 x .15) / .9
    assert expected_score(found, 4, rubric) == pytest.approx(3.7 / 0.9)
    # a 4 before the key is not the score
    assert expected_score(tokens(("4", {"4": 1.0})) + found, 4, rubric) == pytest.approx(3.7 / 0.9)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "no token of its own"),
        ([{"token": '"score": '}, {"token": "4", "top_logprobs": 5}], "are no list"),
        ([{"token": '"score": '}, {"token": "4", "top_logprobs": ["4"]}], "no logarithm of a probability"),
        *(
            (
                [{"token": '"score": '}, {"token": "4", "top_logprobs": [{"token": "4", "logprob": wrong}]}],
                "no logarithm",
            )
            for wrong in (None, "x", math.nan, math.inf, 0.5, -(10**400))
        ),
        ([None], "no token of its own"),
        (tokens(("8", {"8": 1.0}), ("5", {"5": 1.0})), "no token of its own"),
        (tokens(('{"score"', {}), ("4", {})), "probability of 0.00"),
        (tokens(('{"score"', {}), ("4", {"4": 0.3, "9": 0.7})), "probability of 0.30"),
    ],
)
def test_an_expected_score_that_cannot_be_had_is_no_score(found, message):
    with pytest.raises(InvalidVerdict, match=message):
        expected_score(found, 4, load_rubric("levels-v1"))
