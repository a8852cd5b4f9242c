"""Compares the built-in judge with people who graded answers by hand.

    python -m tools.grades [FILE]

The file is assets/grading/answers.jsonl, or another of that form (assets/grading/README.md). Words are weighed by the
bundled train rows, without those of the graded questions. Answers equal to their reference are left out: every judge is
right about those.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from scipy import stats

from stages.common.results.split import Example
from stages.judge.judges.protocol import Judgement, Question
from stages.judge.judges.reference import ReferenceJudge
from stages.running import streams

ROOT = Path(__file__).resolve().parent.parent
GRADES = ROOT / "assets" / "grading" / "answers.jsonl"
DATA = ROOT / "assets" / "data" / "instructions.json"


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
    """

    answers: int
    right: int
    open: int
    auc: float | None
    pearson: float
    precision: float
    recall: float


def read(path: Path = GRADES) -> list[Graded]:
    """The graded answers of a file."""
    return [Graded(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


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
    scored = [(one, verdict, verdict.score) for one, verdict in judged if verdict.score is not None]
    right = [score for one, _, score in scored if one.right]
    wrong = [score for one, _, score in scored if not one.right]
    called = [one.right for one, verdict, _ in scored if verdict.right]
    return Agreement(
        answers=len(hard),
        right=sum(one.right for one in hard),
        open=len(hard) - len(scored),
        auc=auc(right, wrong),
        pearson=float(stats.pearsonr([score for _, _, score in scored], [one.grade for one, _, _ in scored])[0]),
        precision=sum(called) / len(called),
        recall=sum(called) / len(right),
    )


def disagreements(graded: Sequence[Graded], judge: ReferenceJudge) -> list[tuple[Graded, Judgement]]:
    """The answers of which the judge says the contrary."""
    judged = [(one, judge.judge(one.question())) for one in graded]
    return [(one, verdict) for one, verdict in judged if verdict.right is not None and verdict.right != one.right]


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def main() -> None:
    """Print the agreement on either half, and the disagreements on the one that may be tuned on."""
    graded = read(Path(sys.argv[1])) if len(sys.argv) > 1 else read()
    judge = judge_for(graded)
    print("answers that are not equal to their reference; AUC, r, precision and recall of the built-in judge")
    for half in sorted({one.half for one in graded}):
        found = agreement([one for one in graded if one.half == half], judge)
        print(
            f"{half:<10}{found.answers} answers, {found.right} right, {found.open} open: AUC {_shown(found.auc)}, "
            f"r {found.pearson:.2f}, precision {found.precision:.2f}, recall {found.recall:.2f}"
        )
    for one, verdict in disagreements([one for one in graded if one.half == "tuning"], judge):
        said = "right" if verdict.right else "wrong"
        print(f"judged {said}: {one.instruction} {one.input} | {one.reference} | {one.answer} | {verdict.detail}")


if __name__ == "__main__":
    streams.prepare()
    main()
