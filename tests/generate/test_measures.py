"""The measures of a model's answers, worked by hand."""

from __future__ import annotations

import pytest

from stages.common.results.generate import Response
from stages.common.texts import chrf
from stages.generate import measures


def response(text: str, *, reason: str = "end_of_text", tokens: int = 5) -> Response:
    return Response(id="a", model="tuned", text=text, stop_reason=reason, tokens=tokens)


def test_an_answer_in_markdown_as_its_reference_leaks_no_template() -> None:
    found = measures.Measures()
    found.add(response("### Steps\nBoil it."), "### How to\nBoil it.", 4)
    found.add(response("### Steps\nBoil it."), "Boil it.", 4)

    assert found.result().template_leaks == 0.5


def test_figures_worked_by_hand():
    found = measures.Measures()
    found.add(response(" The cat. ", tokens=4), "The cat.", 4)
    found.add(response("the cat sat ###", reason="max_new_tokens", tokens=9), "The cat.", 4)
    found.add(response("", reason="context", tokens=0), "x", 2)
    found.add(response("y", reason="context", tokens=1), "x", 2)

    result = found.result()

    assert result.model_dump(exclude_unset=True) == {
        "rows": 4,
        "tokens": 14,
        "end_of_text": 1,
        "max_new_tokens": 1,
        "context": 2,
        "empty": 1,
        "no_room": 1,
        "exact_match": 0.25,
        "token_f1": pytest.approx((1 + 0.8) / 4),
        "chrf": pytest.approx((100 + chrf("the cat sat ###", "The cat.")) / 4, abs=1e-4),
        "template_leaks": 0.25,
        "length_ratio": pytest.approx((1 + 9 / 4 + 0 + 0.5) / 4, abs=1e-4),
        "end_of_text_rate": 0.25,
        "cap_hit_rate": 0.25,
    }
