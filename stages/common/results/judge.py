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
#: The verdicts of judges behind a server, and what the last judging here took.
JUDGE_CACHE = CACHE / "judge"
JUDGE_LEDGER = JUDGE_CACHE / "ledger.json"

#: scored: it has a score. invalid: the judge answered, but not with a score. failed: no answer could be had.
VerdictStatus = Literal["scored", "invalid", "failed"]


class Verdict(Record):
    """One judge's word on one answer; ``score`` (0 to 100) is there if and only if ``status`` is "scored".

    ``detail`` holds the measures behind a score, or says why there is none. ``spread`` is the standard deviation of the
    scores behind a mean, where the judge was asked several times. ``exact``: the answer is equal to the reference.
    ``cluster`` is a hash of the instruction: rows that share one are not independent of one another. ``faults``
    are what can be seen to be wrong with the answer without a judge (stages/judge/scores/faults.py).
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
