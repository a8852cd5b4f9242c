"""Scores beside those of other runs."""

from __future__ import annotations

from pydantic import Field

from stages.common.records import Metrics


class Beside(Metrics):
    """Scores beside those of another run, in points; what too few rows cannot say is None.

    Args:
        head: the last commit when they were compared.
        other: the other run, in words.
        best: id of the other run, where it was compared with as the best one in MLflow; else empty.
        n: rows scored in both.
        mean: mean of the scores here, on these rows.
        mean_there: mean of the other run on these rows.
        difference: mean of the differences, here minus there.
        low: lower end of its 95 % interval.
        high: upper end of this interval.
        detectable: the smallest true difference that so many rows would find about 3 times in 4.
        verdict: what may be said, in words.
        rests_on: what that rests on, in words, such as whether training seeds are allowed for; may be empty.
        same_judge: whether one judge gave both.
    """

    head: str
    other: str
    best: str
    n: int
    mean: float | None
    mean_there: float | None
    difference: float | None
    low: float | None
    high: float | None
    detectable: float | None
    verdict: str
    rests_on: str
    same_judge: bool


class Further(Metrics):
    """Scores beside those of further runs: the last one of the recipe, the champion.

    Args:
        found: the comparisons.
        commit_tried: whether the last commit was compared with too, whatever came of it.
        missing: the runs with which they were not compared, and why, in words.
        alone: why they are compared with no run at all, in words; empty where they are.
    """

    found: list[Beside] = Field(default_factory=list)
    missing: list[str] = Field(default_factory=list)
    commit_tried: bool = False
    alone: str = ""
