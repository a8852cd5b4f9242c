"""What the stage judge writes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stages.common.paths import ARTIFACTS, CACHE
from stages.common.records import ModelName, Record

JUDGE_FOLDER = ARTIFACTS / "judge"
VERDICTS = JUDGE_FOLDER / "verdicts.jsonl"
PAIRWISE = JUDGE_FOLDER / "pairwise.jsonl"
JUDGE_METRICS = JUDGE_FOLDER / "metrics.json"
SCORES = JUDGE_FOLDER / "scores.json"
SCORES_PLOT = JUDGE_FOLDER / "scores.png"
SCORES_CSV = JUDGE_FOLDER / "scores.csv"
#: The verdicts of judges behind a server.
JUDGE_CACHE = CACHE / "judge"

#: scored: it has a score. invalid: the judge answered, but not with a score. failed: no answer could be had. open: the
#: row has many right answers, and this judge, which is not a language model, cannot say whether this is one.
VerdictStatus = Literal["scored", "invalid", "failed", "open"]
#: Which answer a verdict on two names as the better one.
Preferred = Literal["tuned", "base", "tie"]
#: What the two verdicts on a row come to for the tuned model.
Outcome = Literal["win", "tie", "loss"]


class Verdict(Record):
    """One judge's verdict on one answer; ``score`` (0 to 100) is there if and only if ``status`` is "scored".

    ``detail`` holds the measures behind a score, or says why there is none. ``spread`` is the standard deviation of the
    scores behind a mean, where the judge was asked several times. ``exact``: the answer is equal to the reference.
    ``cluster`` is a hash of the instruction: rows that share one are not independent of one another. ``faults``
    are what can be seen to be wrong with the answer without a judge (stages/judge/scores/faults.py). ``right`` says
    whether the answer is right, where the judge says so: a language model grades and does not.
    """

    id: str
    model: ModelName
    status: VerdictStatus
    score: float | None
    detail: str
    spread: float | None = None
    exact: bool = False
    cluster: str = ""
    faults: list[str] = Field(default_factory=list)
    right: bool | None = None


class PairVerdict(Record):
    """A judge's verdict on the two answers to one row.

    Args:
        id: id of the row.
        status: judged if both orders got a verdict; open if the row has many right answers, and this judge cannot
            compare them.
        outcome: result for the tuned model; there if and only if ``status`` is "judged".
        tuned_first: the answer called better with the tuned one shown first; null without a verdict.
        base_first: the same with the base model's answer shown first.
        identical: whether the answers are equal: such a row is a tie, and the judge is not asked.
        tuned_length: length of the tuned model's answer in characters.
        base_length: length of the base model's answer in characters.
        detail: both replies of the judge.
        cluster: hash of the instruction, as in `Verdict`.
    """

    id: str
    status: Literal["judged", "invalid", "failed", "open"]
    outcome: Outcome | None
    tuned_first: Preferred | None
    base_first: Preferred | None
    identical: bool
    tuned_length: int
    base_length: int
    detail: str
    cluster: str
