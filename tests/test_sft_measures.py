"""The measures of answers: worked by hand, and chrF beside sacrebleu's own program of the same name."""

from __future__ import annotations

import pytest

from stages.common.records import Response
from stages.sft import measures


def response(text: str, *, reason: str = "end_of_text", tokens: int = 5) -> Response:
    return Response(id="a", model="tuned", text=text, stop_reason=reason, tokens=tokens)


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("the cat sat", "The cat.", 0.8),
        ("a a b", "a b b", 2 / 3),
        ("It's 5", "it s 6", 2 / 3),
        ("", "", 0.0),
        ("...", "...", 0.0),
        ("same words", "words, same!", 1.0),
    ],
)
def test_token_f1_worked_by_hand(answer, reference, expected):
    assert measures.token_f1(answer, reference) == pytest.approx(expected)


def test_chrf_worked_by_hand():
    # "ab" and "abc": 1-grams share 2 of 2 and 2 of 3, 2-grams 1 of 1 and 1 of 2; the answer has no longer ones. With
    # precision 1 and recall (2/3 + 1/2) / 2 = 7/12, F2 is 5 * 7/12 / (4 + 7/12).
    assert measures.chrf("ab", "abc") == pytest.approx(100 * (5 * 7 / 12) / (4 + 7 / 12))
    assert measures.chrf("a b c", "abc") == pytest.approx(100), "white space does not count"
    assert measures.chrf("", "abc") == 0


def test_the_signature_named_in_the_docstring_is_the_one_in_use():
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    metric.sentence_score("a", ["a"])
    signature = str(metric.get_signature()).partition("|version")[0]

    assert f"``{signature}``" in measures.chrf.__doc__


@pytest.mark.parametrize("text", ["1. B6\n### Instruction:\nWhat", "<|assistant|>:\nyes", "###"])
def test_a_part_of_a_prompt_style_is_a_leak(text):
    assert measures.leaks_template(text)
    assert not measures.leaks_template(text.replace("###", "##").replace("<|", "<"))


def test_figures_worked_by_hand():
    found = measures.Measures()
    found.add(response(" The cat. ", tokens=4), "The cat.", 4)
    found.add(response("the cat sat ###", reason="max_new_tokens", tokens=9), "The cat.", 4)
    found.add(response("", reason="context", tokens=0), "x", 2)
    found.add(response("y", reason="context", tokens=1), "x", 2)

    result = found.result()

    assert result == {
        "rows": 4,
        "tokens": 14,
        "end_of_text": 1,
        "max_new_tokens": 1,
        "context": 2,
        "empty": 1,
        "no_room": 1,
        "exact_match": 0.25,
        "token_f1": pytest.approx((1 + 0.8) / 4),
        "chrf": pytest.approx((100 + measures.chrf("the cat sat ###", "The cat.")) / 4, abs=1e-4),
        "template_leaks": 0.25,
        "length_ratio": pytest.approx((1 + 9 / 4 + 0 + 0.5) / 4, abs=1e-4),
        "end_of_text_rate": 0.25,
        "cap_hit_rate": 0.25,
    }
