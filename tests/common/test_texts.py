"""Measures of single answers, worked by hand."""

import pytest

from stages.common import texts


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("the cat sat", "The cat.", 0.8),
        ("a a b", "a b b", 2 / 3),
        ("It's 5", "it s 6", 2 / 3),
        ("", "", 0.0),
        ("...", "...", 0.0),
        ("same words", "words, same!", 1.0),  # order does not count
        ("the the the", "the cat", 2 / 5),  # one "the" is shared: 2 * 1 / (3 + 2)
        ("45000 m", "45000 metres", 1 / 2),
    ],
)
def test_token_f1_worked_by_hand(answer, reference, expected):
    assert texts.token_f1(answer, reference) == pytest.approx(expected)


def test_chrf_worked_by_hand():
    # "ab" and "abc": 1-grams share 2 of 2 and 2 of 3, 2-grams 1 of 1 and 1 of 2; the answer has no longer ones. With
    # precision 1 and recall (2/3 + 1/2) / 2 = 7/12, F2 is 5 * 7/12 / (4 + 7/12).
    assert texts.chrf("ab", "abc") == pytest.approx(100 * (5 * 7 / 12) / (4 + 7 / 12))
    assert texts.chrf("a b c", "abc") == pytest.approx(100), "white space does not count"
    assert texts.chrf("", "abc") == 0


def test_the_signature_named_in_the_docstring_is_the_one_in_use():
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    metric.sentence_score("a", ["a"])
    signature = str(metric.get_signature()).partition("|version")[0]

    assert f"``{signature}``" in texts.chrf.__doc__
