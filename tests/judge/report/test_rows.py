"""Rows with their answers: how they are joined, and which are the worst and the best."""

from __future__ import annotations

from stages.common.results.generate import Response
from stages.common.results.judge import Verdict
from stages.common.results.split import Example
from stages.judge.report import rows
from stages.judge.report.rows import Answer, Row


def row(
    number: int, score: float | None, *, right: bool | None = None, category: str = "a", before: float = 0.0
) -> Row:
    base = Answer("before", "end_of_text", "scored", before)
    tuned = Answer("after", "end_of_text", "scored" if score is not None else "open", score, right)
    return Row(number, f"r{number}", category, "asked", "reference", {"base": base, "tuned": tuned})


def names(found: list[Row]) -> list[str]:
    return [one.id for one in found]


def test_rows_answers_and_verdicts_are_joined_by_id_and_not_by_position():
    examples = [
        Example(id="a", instruction="Spell:", input="it", output="i-t", category="c"),
        Example(id="b", instruction="Say yes.", input="", output="yes", category="c"),
        Example(id="gone", instruction="Say no.", input="", output="no", category="c"),
    ]
    responses = [
        Response(id="b", model="tuned", text="no", stop_reason="context", tokens=1),
        Response(id="a", model="tuned", text="i-t", stop_reason="end_of_text", tokens=1),
    ]
    verdicts = [Verdict(id="a", model="tuned", status="scored", score=90.0, detail="well", right=True, faults=["x"])]
    found = rows.join(examples, responses, verdicts)

    assert [(one.number, one.id, one.prompt, one.reference) for one in found] == [
        (0, "a", "Spell:\nit", "i-t"),
        (1, "b", "Say yes.", "yes"),
    ]
    assert found[0].answers["tuned"] == Answer("i-t", "end_of_text", "scored", 90.0, True, ("x",), "well", "a")
    assert found[1].answers["tuned"] == Answer("no", "context")


def test_what_the_judge_said_is_a_word():
    assert Answer("", "context", "scored", 100.0, True).verdict == "right"
    assert Answer("", "context", "scored", 0.0, False).verdict == "wrong"
    assert Answer("", "context", "scored", 50.0).verdict == ""
    assert Answer("", "context", "open").verdict == "open"
    assert Answer("", "context").verdict == "not judged"


def test_the_worst_answers_are_wrong_ones_with_the_lowest_scores():
    found = [row(0, 80.0, right=False), row(1, 10.0, right=True), row(2, 0.0, right=False), row(3, None)]

    assert names(rows.worst(found, 9)) == ["r2", "r0"]
    assert names(rows.best(found, 9)) == ["r1"]


def test_the_worst_of_each_category_comes_before_the_second_of_any():
    found = [row(0, 0.0), row(1, 1.0), row(2, 2.0), row(3, 50.0, category="b"), row(4, 60.0, category="b")]

    assert names(rows.worst(found, 4)) == ["r0", "r3", "r1", "r4"]


def test_of_equally_good_answers_those_come_first_that_were_worst_before():
    found = [row(0, 100.0, right=True, before=90.0), row(1, 100.0, right=True, before=5.0), row(2, 0.0, right=False)]

    assert names(rows.best(found, 2)) == ["r1", "r0"]


def test_a_row_that_the_fine_tuned_model_did_not_answer_is_in_neither():
    alone = Row(0, "r", "a", "asked", "reference", {"base": Answer("x", "end_of_text", "scored", 1.0)})

    assert rows.worst([alone], 3) == []
    assert rows.best([alone], 3) == []
