"""The built-in judge agrees with the answers that were graded by hand (assets/grading/README.md)."""

import pytest

from tools import grades
from tools.grades import MISLEADING, REVIEWED, Graded, agreement, disagreements, judge_for, read

GRADED, MISLED = read(), read(MISLEADING)


@pytest.fixture(scope="module")
def judge():
    return judge_for(GRADED)


@pytest.mark.parametrize("half", ["held out", "tuning"])
def test_right_and_wrong_answers_are_told_apart(judge, half):
    """On answers that are not equal to their reference."""
    found = agreement([one for one in GRADED if one.half == half], judge)
    assert found.answers >= 60
    assert found.right >= 15
    assert found.open <= 0.1 * found.answers
    assert found.auc >= 0.85
    assert found.pearson >= 0.55
    assert found.precision >= 0.85
    assert found.recall >= 0.80


@pytest.mark.parametrize("half", ["held out", "tuning"])
def test_answers_that_were_written_to_mislead_are_told_apart(half):
    """Denials, lists of candidates, answers on another subject, and right ones in other words."""
    found = agreement([one for one in MISLED if one.half == half], judge_for(MISLED))
    assert (found.answers >= 60, found.right >= 25, found.open) == (True, True, 0)
    assert found.auc >= 0.85
    assert found.precision >= 0.85
    assert found.recall >= 0.80
    for name in ("auc", "precision", "recall"):
        low, high = found.intervals[name]
        assert 0 <= low < getattr(found, name) <= high + 1e-9 <= 1 + 1e-9


def test_the_cases_that_a_reviewer_found_are_judged_as_they_are_graded():
    """Rules were made for these, so that they say nothing of other answers."""
    reviewed = read(REVIEWED)
    assert len(reviewed) == 33
    assert [(one.answer, verdict.detail) for one, verdict in disagreements(reviewed, judge_for(reviewed))] == []


def test_an_auc_of_which_all_draws_are_the_same_has_no_interval(judge, monkeypatch, capsys):
    """Each right answer scores higher than each wrong one: the bootstrap knows nothing of how sure that is."""
    found = agreement([one for one in GRADED if one.half == "held out"], judge)
    assert found.auc == 1
    assert "auc" not in found.intervals
    monkeypatch.setattr("sys.argv", ["grades", str(grades.GRADES)])
    grades.main()
    assert "auc 1.00 no interval, precision 1.00 [0.79, 1.00]" in capsys.readouterr().out


@pytest.mark.parametrize("graded", [GRADED, MISLED])
def test_the_halves_share_no_question_and_the_grades_fit(graded):
    halves = {}
    for one in graded:
        assert halves.setdefault((one.instruction, one.input), one.half) == one.half
        assert one.right == (one.grade >= 80)
        assert 0 <= one.grade <= 100
    assert len(graded) >= 150


def test_agreement_by_hand():
    """The first and the second answer are called right, the third is not; the fourth is equal to the reference. Of two
    pairs of a right and a wrong answer one is a tie, and one is lost."""
    row = ("tuning", "quick", "What is the capital of Norway?", "", "The capital of Norway is Oslo.")
    graded = [
        Graded(*row, answer="Oslo.", right=True, grade=100),
        Graded(*row, answer="It is Oslo, in Spain.", right=False, grade=20),
        Graded(*row, answer="The city by the fjord.", right=True, grade=90),
        Graded(*row, answer="The capital of Norway is Oslo.", right=True, grade=100),
    ]
    found = agreement(graded, judge_for(graded))
    assert (found.answers, found.right, found.open) == (3, 2, 0)
    assert (found.auc, found.precision, found.recall) == (0.25, 0.5, 0.5)
