"""Compares the built-in judge with people who graded answers by hand.

    python -m tools.grades [FILE ...]

The files are those of assets/grading, or another one of their form (assets/grading/README.md). Words are
weighed by the bundled train rows, without those of the graded questions. Answers equal to their reference are left
out: every judge is right about those.
"""

from __future__ import annotations

import json
import math
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field
from scipy import stats

from stages.common.records import Record, read_records
from stages.common.results.split import Example
from stages.judge.judges.protocol import Judgement, Question
from stages.judge.judges.reference import ReferenceJudge
from stages.judge.scores.right import wilson
from stages.running import program
from stages.running.arguments import Parser

ROOT = Path(__file__).resolve().parent.parent
GRADES = ROOT / "assets" / "grading" / "answers.jsonl"
#: Answers that were written to mislead a judge.
MISLEADING = GRADES.with_name("misleading.jsonl")
#: Answers in which a reviewer found the judge to be wrong, and some beside them; rules were made for these.
REVIEWED = GRADES.with_name("reviewed.jsonl")
#: Draws of questions behind an interval, and their seed.
DRAWS, SEED = 2000, 123
DATA = ROOT / "assets" / "data" / "instructions.json"


#: What to do about a file of another form.
FIX = "give a file of the form that assets/grading/README.md describes"
#: The least grade of a right answer, in the files of assets/grading and in the rubric graded-v1.
RIGHT_FROM = 80


class Graded(NamedTuple):
    """An answer, and what a person made of it: right or not, and a grade from 0 to 100."""

    half: str
    model: str
    instruction: str
    input: str
    reference: str
    answer: str
    right: bool
    grade: float

    def question(self) -> Question:
        """The answer as a judge gets it."""
        return Question("graded", "tuned", self.instruction, self.input, self.reference, self.answer)


class GradedRow(Record):
    """A line of a file of graded answers (assets/grading/README.md); a grade is from 0 to 100."""

    half: Literal["tuning", "held out"]
    model: str
    instruction: str
    input: str
    reference: str
    answer: str
    right: bool
    grade: Annotated[float, Field(ge=0, le=100)]


class Agreement(NamedTuple):
    """How a judge agrees with the grades of answers that are not equal to their reference.

    Args:
        answers: number of these answers.
        right: how many of them are right.
        open: how many the judge leaves to others; these are in no figure below.
        auc: probability that a right answer scores higher than a wrong one, ties counting half.
        pearson: Pearson's r of scores and grades.
        precision: share of right ones among those that the judge calls right.
        recall: share that the judge calls right of the right ones.
        intervals: the 95 % intervals of ``auc``, ``precision`` and ``recall``, by name; one is absent where
            fewer than two questions tell of it, and that of the AUC where all draws give the same.
    """

    answers: int
    right: int
    open: int
    auc: float
    pearson: float
    precision: float
    recall: float
    intervals: dict[str, tuple[float, float]]


class _Scored(NamedTuple):
    """An answer that has a score: its question, whether it is right, what it is called, and its points."""

    question: tuple[str, str]
    right: bool
    called: bool
    score: float


def read(path: Path = GRADES) -> list[Graded]:
    """The graded answers of a file.

    Raises:
        DataError: it is not there, or a line is no graded answer; the message names the line.
    """
    rows = read_records(path, GradedRow, made_by=FIX)
    return [Graded(**row.model_dump()) for row in rows]


def judge_for(graded: Sequence[Graded]) -> ReferenceJudge:
    """The built-in judge, knowing the bundled rows but for the graded questions."""
    asked = {(one.instruction, one.input) for one in graded}
    rows = json.loads(DATA.read_text(encoding="utf-8"))
    others = [row for row in rows if (row["instruction"], row["input"]) not in asked]
    return ReferenceJudge.of_rows(Example(id=str(number), **row) for number, row in enumerate(others))


def auc(right: Sequence[float], wrong: Sequence[float]) -> float | None:
    """The probability that a right answer scores higher than a wrong one; None without answers of both kinds.

    Equal scores count half.

    >>> auc([100, 60], [60, 0])
    0.875
    """
    if not right or not wrong:
        return None
    return sum((a > b) + (a == b) / 2 for a in right for b in wrong) / (len(right) * len(wrong))


def agreement(graded: Sequence[Graded], judge: ReferenceJudge) -> Agreement:
    """How the judge agrees with the grades."""
    hard = [one for one in graded if not one.question().is_exact]
    judged = [(one, judge.judge(one.question())) for one in hard]
    scored = [
        (one, _Scored((one.instruction, one.input), one.right, bool(verdict.right), verdict.score))
        for one, verdict in judged
        if verdict.score is not None
    ]
    known = [found for _, found in scored]
    return Agreement(
        answers=len(hard),
        right=sum(one.right for one in hard),
        open=len(hard) - len(scored),
        **_figures(known),
        pearson=float(stats.pearsonr([found.score for found in known], [one.grade for one, _ in scored])[0]),
        intervals=_intervals(known),
    )


def _figures(known: Sequence[_Scored]) -> dict[str, float]:
    """AUC, precision and recall; what needs right, wrong or called answers and has none is NaN."""
    found = auc([one.score for one in known if one.right], [one.score for one in known if not one.right])
    right = sum(one.right for one in known)
    called = [one.right for one in known if one.called]
    return {
        "auc": math.nan if found is None else found,
        "precision": sum(called) / len(called) if called else math.nan,
        "recall": sum(called) / right if right else math.nan,
    }


def _intervals(known: Sequence[_Scored]) -> dict[str, tuple[float, float]]:
    """95 % intervals: Wilson's of the shares, and of the AUC a bootstrap that draws whole questions.

    Answers to one question count for as many as their scatter says. An AUC of 1 shows no scatter: then all draws give
    1, which is no interval, and there is none.
    """
    called, right = [one for one in known if one.called], [one for one in known if one.right]
    shares = {"precision": [(one, one.right) for one in called], "recall": [(one, one.called) for one in right]}
    found: dict[str, tuple[float, float]] = {}
    if right and len(right) < len(known) and (of_auc := _auc_interval(known)) is not None:
        found["auc"] = of_auc
    for name, values in shares.items():
        ends = wilson(
            np.array([holds for _, holds in values], dtype=np.float64), [str(one.question) for one, _ in values]
        )
        if ends.low is not None and ends.high is not None:
            found[name] = (ends.low, ends.high)
    return found


def _auc_interval(known: Sequence[_Scored]) -> tuple[float, float] | None:
    """The AUC's interval; None where the draws do not differ."""
    by_question: dict[tuple[str, str], list[_Scored]] = {}
    for one in known:
        by_question.setdefault(one.question, []).append(one)
    groups = list(by_question.values())
    random = np.random.default_rng(SEED)
    drawn = (
        _figures([one for place in random.integers(0, len(groups), len(groups)) for one in groups[place]])["auc"]
        for _ in range(DRAWS)
    )
    low, high = np.quantile([value for value in drawn if not math.isnan(value)], [0.025, 0.975])
    return (float(low), float(high)) if low < high else None


def disagreements(graded: Sequence[Graded], judge: ReferenceJudge) -> list[tuple[Graded, Judgement]]:
    """The answers of which the judge says the contrary."""
    judged = [(one, judge.judge(one.question())) for one in graded]
    return [(one, verdict) for one, verdict in judged if verdict.right is not None and verdict.right != one.right]


def main() -> None:
    """Print the agreement on either half of each file, and the disagreements on the one that may be tuned on.

    Raises:
        DataError: a file is missing, or is of another form.
    """
    parser = Parser(prog="python -m tools.grades", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("files", metavar="FILE", nargs="*", help="a file of graded answers (default: those of ours)")
    files = [Path(word) for word in parser.parse_args().files] or [GRADES, MISLEADING, REVIEWED]
    print("answers that are not equal to their reference; AUC, precision and recall with 95 % intervals, and r")
    for path in files:
        graded = read(path)
        judge = judge_for(graded)
        for half in sorted({one.half for one in graded}):
            found = agreement([one for one in graded if one.half == half], judge)
            print(f"{path.name:<18}{half:<10}{found.answers} answers, {found.right} right, {found.open} open:")
            shown = ", ".join(_shown(found, name) for name in ("auc", "precision", "recall"))
            print(f"{'':<18}{shown}, r {found.pearson:.2f}")
        for one, verdict in disagreements([one for one in graded if one.half == "tuning"], judge):
            said = "right" if verdict.right else "wrong"
            print(f"judged {said}: {one.instruction} {one.input} | {one.reference} | {one.answer} | {verdict.detail}")


def _shown(found: Agreement, name: str) -> str:
    low, high = found.intervals.get(name, (None, None))
    interval = "no interval" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"
    return f"{name} {getattr(found, name):.2f} {interval}"


if __name__ == "__main__":
    program.run("grades", main)
