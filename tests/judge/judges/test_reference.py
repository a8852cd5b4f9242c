"""The built-in judge as a judge: its verdicts, its identity, and how it compares."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.results.split import Example
from stages.judge.judges import reference
from stages.judge.judges.protocol import Judgement, Question, fingerprint
from stages.judge.judges.reference import ReferenceJudge, code_digest

OSLO = Question("a", "tuned", "What is the capital of Norway?", "", "The capital of Norway is Oslo.", "It is Oslo.")
SIMILE = Question("a", "tuned", "Finish the simile: as brave as ...", "", "As brave as a lion.", "As brave as a bear.")


def judge(answer, right, instruction="instruction"):
    return ReferenceJudge().judge(Question("a", "tuned", instruction, "", right, answer))


def test_the_reference_itself_is_100():
    assert judge("Paris.", "Paris.") == Judgement("scored", 100.0, "exact match", right=True)
    assert judge(" Paris.\n", "Paris.") == Judgement("scored", 100.0, "exact match", right=True)


@pytest.mark.parametrize("answer", ["", " \n\t"])
def test_an_empty_answer_is_0(answer):
    assert judge(answer, "Paris.") == Judgement("scored", 0.0, "empty answer", right=False)


def test_a_verdict_says_whether_the_answer_is_right_and_why():
    assert ReferenceJudge().judge(OSLO) == Judgement("scored", 100.0, "key words: oslo", right=True)
    bergen = dataclasses.replace(OSLO, answer="The capital of Norway is Bergen.")
    assert ReferenceJudge().judge(bergen) == Judgement("scored", 0.0, "key words: oslo; missing: oslo", right=False)
    assert ReferenceJudge().judge(bergen).verdict(bergen).right is False


def test_an_open_row_gets_no_number():
    found = ReferenceJudge().judge(SIMILE)
    assert found == Judgement("open", None, "many answers are right: not for this judge")
    assert found.verdict(SIMILE).right is None


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_every_answer_gets_a_verdict(instruction, given, right, answer):
    verdict = ReferenceJudge().judge(Question("a", "tuned", instruction, given, right, answer))
    assert (verdict.score is None) == (verdict.status == "open") == (verdict.right is None)
    assert verdict.score is None or 0 <= verdict.score <= 100
    assert verdict.right is None or (verdict.score >= 80) == verdict.right
    if answer.strip() == right.strip():
        assert verdict.score == 100 or verdict.status == "open"


def test_the_key_depends_on_the_row_and_the_answer_alone():
    judge = ReferenceJudge()
    assert judge.key(OSLO) == judge.key(dataclasses.replace(OSLO, id="b", model="base", answer=" It is Oslo."))
    for other in ({"instruction": "x"}, {"input": "x"}, {"reference": "x"}, {"answer": "x"}):
        assert judge.key(OSLO) != judge.key(dataclasses.replace(OSLO, **other))


def test_other_code_and_other_train_rows_are_another_judge(monkeypatch):
    rows = [Example(id="a", instruction="Say yes.", input="", output="Yes.", category="")]
    known = ReferenceJudge.of_rows(rows)
    judges = [known, known.comparing(), ReferenceJudge(), ReferenceJudge().comparing()]
    found = [fingerprint(one.identity()) for one in judges]
    assert fingerprint(ReferenceJudge.of_rows(rows).identity()) == found[0]
    monkeypatch.setattr(reference, "MEASURE_CODE", "0")
    assert len({*found, *(fingerprint(one.identity()) for one in judges)}) == 8


def test_the_digest_of_code_leaves_out_what_does_nothing(tmp_path: Path):
    """A comment, a docstring or a blank line is no other judge; a number is."""
    module = tmp_path / "measure.py"

    def digest(text: str) -> str:
        module.write_text(text, encoding="utf-8")
        return code_digest([module])

    plain = digest("X = 1\ndef f():\n    return 'a # b'\n")
    assert digest('"""New."""\n\nX = 1  # one\n\n\ndef f():\n    """Say\n    it."""\n    return \'a # b\'\n') == plain
    assert digest("X = 2\ndef f():\n    return 'a # b'\n") != plain
    assert digest("X = 1\ndef f():\n    return 'a # c'\n") != plain


def test_all_modules_that_decide_are_in_the_digest():
    """Those of the judge's folder that this module imports, directly or not, but for the contract of a judge."""
    rests_on = {Path(str(module.__file__)).name for module in reference._RESTS_ON}
    assert rests_on == {
        *("texts.py", "wording.py", "kinds.py", "rows.py", "findings.py"),
        *("sentences.py", "quantities.py", "equivalents.py", "key_words.py", "open_rows.py", "rightness.py"),
        *("denials.py", "candidates.py", "subjects.py", "beside.py"),
    }


@pytest.mark.parametrize(
    ("question", "other", "score"),
    [
        (OSLO, "It is Bergen.", 100.0),
        (OSLO, "Oslo!", 50.0),
        (OSLO, "It is Oslo, which lies on a long fjord between green hills in the south.", 50.0),  # fewer points
    ],
)
def test_of_two_answers_the_right_one_is_better_and_all_else_is_a_tie(question, other, score):
    pair = dataclasses.replace(question, other=other)
    assert ReferenceJudge().comparing().judge(pair).score == score
    turned = dataclasses.replace(question, answer=other, other=question.answer)
    assert ReferenceJudge().comparing().judge(turned).score == 100 - score


@pytest.mark.parametrize("other", ["brave", "As brave as a lion.", "As brave as a wolf."])
def test_of_two_answers_to_an_open_row_there_is_no_verdict(other):
    found = ReferenceJudge().comparing().judge(dataclasses.replace(SIMILE, other=other))
    assert (found.status, found.score) == ("open", None)


@pytest.mark.parametrize("answer", ["10² is 100", "3 km is 1.86 miles, or 3² m.", "½ of ٣", "1.5.2 – ²", "²"])
def test_no_answer_raises_an_error(answer):
    for right in ("It is 1.5.", "It is 3 km.", "The cat sleeps."):
        question = Question("a", "tuned", "What is it?", "", right, answer)
        assert ReferenceJudge().judge(question).status in ("scored", "open")
