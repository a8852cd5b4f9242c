"""The built-in judge, by scores worked by hand."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.judge.judges import reference
from stages.judge.judges.protocol import Judgement, Question, fingerprint
from stages.judge.judges.reference import MEASURE_VERSION, ReferenceJudge, likeness
from stages.judge.probes import pair_probes, probes


def judge(answer, reference):
    return ReferenceJudge().judge(Question("a", "tuned", "instruction", "", reference, answer))


def test_the_reference_itself_is_100():
    assert judge("Paris.", "Paris.") == Judgement("scored", 100.0, "exact match")
    assert judge(" Paris.\n", "Paris.") == Judgement("scored", 100.0, "exact match")


@pytest.mark.parametrize("answer", ["", " \n\t"])
def test_an_empty_answer_is_0(answer):
    assert judge(answer, "Paris.") == Judgement("scored", 0.0, "empty answer")


def test_measures_worked_by_hand():
    """abc and abd: 2 of 3 letters, 1 of 2 pairs, 0 of 1 triples, as precision and as recall, so chrF is their mean,
    (2/3 + 1/2 + 0) / 3 = 7/18. No word in common. One edit in three letters."""
    found = likeness("abc", "abd")
    assert found.chrf == pytest.approx(700 / 18)
    assert found.token_f1 == 0
    assert found.edit == pytest.approx(200 / 3)
    # (38.889 + 0 + 66.667) / 3
    assert judge("abc", "abd") == Judgement("scored", 35.19, "chrF 38.9, token F1 0.0, edit similarity 66.7")


def test_case_counts_in_the_score():
    """`Capitalise each word` is not done by an answer that differs in case alone."""
    verdict = judge("the great gatsby", "The Great Gatsby")
    assert verdict.score < 90
    assert "token F1 100.0" in verdict.detail


def test_the_nearer_answer_scores_higher():
    reference = "The author of 'Pride and Prejudice' is Jane Austen."
    scores = [
        judge(answer, reference).score
        for answer in ("I do not know.", "Jane Austen.", "The author of 'Pride and Prejudice' is Jane Austin.")
    ]
    assert scores == sorted(scores)
    assert scores[0] < 30 < 80 < scores[2] < 100


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_a_score_is_from_0_to_100_and_100_only_for_the_reference(answer, reference):
    verdict = judge(answer, reference)
    assert 0 <= verdict.score <= 100
    assert (verdict.score == 100) == (answer.strip() == reference.strip())


def test_the_key_depends_on_answer_and_reference_alone():
    judge = ReferenceJudge()
    first = Question("a", "tuned", "x", "y", "ref", "ans")
    assert judge.key(first) == judge.key(Question("b", "base", "z", "", "ref ", "ans"))
    assert judge.key(first) != judge.key(Question("a", "tuned", "x", "y", "ans", "ref"))


#: By version of the measure, a hash of what it says of all questions of the self-test.
SAID = {"1": "8d88c743e1da1616"}


def test_a_changed_measure_has_another_version():
    """Where this fails, some answer gets another score: raise MEASURE_VERSION, and add the new hash to `SAID`."""
    judge = ReferenceJudge()
    said = [judge.judge(question) for _, question in probes()]
    said += [judge.comparing().judge(question) for _, question in pair_probes()]
    found = hashlib.sha256("\n".join(f"{one.status} {one.score} {one.detail}" for one in said).encode()).hexdigest()
    assert {MEASURE_VERSION: found[:16]}.items() <= SAID.items()


def test_the_version_of_the_measure_tells_judges_apart(monkeypatch):
    before = [fingerprint(judge.identity()) for judge in (ReferenceJudge(), ReferenceJudge().comparing())]
    monkeypatch.setattr(reference, "MEASURE_VERSION", "0")
    after = [fingerprint(judge.identity()) for judge in (ReferenceJudge(), ReferenceJudge().comparing())]
    assert len({*before, *after}) == 4
