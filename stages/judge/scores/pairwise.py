"""Two models' answers side by side: which is better, asked once in each order.

Judges favour a place, most often the first, so much that the order alone can make a winner (arXiv 2305.17926). So each
pair is put both ways, as MT-bench does (arXiv 2306.05685): the same verdict twice is a win or a loss, and two verdicts
that contradict each other are a tie, counted as inconsistent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from stages.common.records import Record
from stages.common.results.judge import Verdict
from stages.judge.judges.protocol import Question
from stages.judge.scores.bootstrap import LEVEL, Interval, mean_interval
from stages.judge.scores.length_control import length_controlled

#: What a verdict in one order names, and what a row comes to for the tuned model.
Preferred = Literal["tuned", "base", "tie"]
Outcome = Literal["win", "tie", "loss"]

#: What an outcome counts in the win rate.
WORTH: dict[Outcome, float] = {"win": 1.0, "tie": 0.5, "loss": 0.0}
#: Digits after the point of a share: the same on machines whose sums differ in the last bit.
DIGITS = 4


class PairVerdict(Record):
    """A judge's word on the two answers to one row; ``outcome`` is there if and only if ``status`` is "judged".

    ``tuned_first`` and ``base_first`` are which answer was called better in each order; both are null where the answers
    are ``identical``, which nobody is asked about, and one is where it got no verdict. ``detail`` holds both replies.
    ``tuned_length`` and ``base_length`` are in characters; ``cluster`` is that of `Verdict`.
    """

    id: str
    status: Literal["judged", "invalid", "failed"]
    outcome: Outcome | None
    tuned_first: Preferred | None
    base_first: Preferred | None
    identical: bool
    tuned_length: int
    base_length: int
    detail: str
    cluster: str


def in_both_orders(questions: Sequence[Question]) -> list[Question]:
    """What to ask about the rows whose two answers differ: each twice, ``model`` being that of the answer shown first.

    Args:
        questions: one a row and model, with both models for every row.
    """
    return [
        replace(first, other=second.answer)
        for tuned, base in _pairs(questions)
        if not _identical(tuned, base)
        for first, second in ((tuned, base), (base, tuned))
    ]


def settle(questions: Sequence[Question], verdicts: Sequence[Verdict]) -> list[PairVerdict]:
    """What each row comes to.

    Args:
        questions: as for `in_both_orders`.
        verdicts: those on what it gave.

    Returns:
        One a row, in the rows' order.
    """
    said = {(verdict.id, verdict.model): verdict for verdict in verdicts}
    found = []
    for tuned, base in _pairs(questions):
        about: dict[str, Any] = {
            "id": tuned.id,
            "identical": _identical(tuned, base),
            "tuned_length": len(tuned.answer),
            "base_length": len(base.answer),
            "cluster": tuned.cluster,
        }
        if not about["identical"]:
            about |= _settled(said[tuned.id, "tuned"], said[tuned.id, "base"])
        else:
            about |= {"status": "judged", "outcome": "tie", "tuned_first": None, "base_first": None}
            about |= {"detail": "identical answers; not asked"}
        found.append(PairVerdict(**about))
    return found


def summarise_pairs(pairs: Sequence[PairVerdict], *, resamples: int, seed: int) -> dict[str, Any]:
    """How often the tuned model's answer is the better one, and how far the judge can be believed in that.

    Args:
        pairs: one a row.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        JSON: ``rows`` = ``wins`` + ``ties`` + ``losses`` + ``invalid`` + ``failed``; of the ties, the ``identical`` and
        the ``inconsistent`` ones; ``clusters``, the different instructions among the rows with an outcome.
        ``consistency``: of the rows judged in both orders, the share with the same verdict in both;
        ``first_position_share``: of their verdicts that name an answer, the share that names the one shown first, 0.5
        where the place does not matter.
        ``win_rate``: its ``mean``, a tie counting half, from 0 to 1; ``interval``, which says in ``method`` how it was
        made or why there is none; ``bounds`` if all rows without an
        outcome were lost or won. ``length_controlled``: `length_control.length_controlled`. What cannot
        be computed is null.
    """
    outcomes = Counter(pair.outcome for pair in pairs)
    statuses = Counter(pair.status for pair in pairs)
    asked = [pair for pair in pairs if pair.status == "judged" and not pair.identical]
    same = sum(pair.tuned_first == pair.base_first for pair in asked)
    named = [place for pair in asked for place in _places(pair)]
    return {
        "rows": len(pairs),
        "wins": outcomes["win"],
        "ties": outcomes["tie"],
        "losses": outcomes["loss"],
        "invalid": statuses["invalid"],
        "failed": statuses["failed"],
        "identical": sum(pair.identical for pair in pairs),
        "inconsistent": len(asked) - same,
        "clusters": len({pair.cluster for pair in pairs if pair.outcome}),
        "consistency": _share(same, len(asked)),
        "first_position_share": _share(named.count("first"), len(named)),
        **_rates(pairs, resamples=resamples, seed=seed),
    }


def _rates(pairs: Sequence[PairVerdict], *, resamples: int, seed: int) -> dict[str, Any]:
    """``win_rate`` and ``length_controlled`` of `summarise_pairs`."""
    judged = [pair for pair in pairs if pair.outcome]
    values = np.array([WORTH[pair.outcome] for pair in judged if pair.outcome], dtype=np.float64)
    lengths = np.array([pair.tuned_length - pair.base_length for pair in judged], dtype=np.float64)
    clusters = [pair.cluster for pair in judged]
    found = mean_interval(values, clusters, bounds=(0, 1), resamples=resamples, seed=seed)
    won = float(values.sum())
    controlled = length_controlled(values, lengths, clusters, resamples=resamples, seed=seed)
    return {
        "win_rate": {
            "mean": _share(won, len(judged)),
            "interval": _interval(found),
            "bounds": {"low": _share(won, len(pairs)), "high": _share(won + len(pairs) - len(judged), len(pairs))},
        },
        "length_controlled": {
            "win_rate": _rounded(controlled["win_rate"]),
            "interval": _interval(controlled["interval"]),
            "length_effect": _rounded(controlled["length_effect"]),
            "mean_length_difference": _rounded(controlled["mean_length_difference"]),
        },
    }


def _pairs(questions: Sequence[Question]) -> Iterator[tuple[Question, Question]]:
    """The tuned and the base model's question of each row."""
    base = {question.id: question for question in questions if question.model == "base"}
    return ((question, base[question.id]) for question in questions if question.model == "tuned")


def _identical(tuned: Question, base: Question) -> bool:
    """White space around the answers does not count, as in `Question.is_exact`."""
    return tuned.answer.strip() == base.answer.strip()


def _settled(tuned_first: Verdict, base_first: Verdict) -> dict[str, Any]:
    """What two verdicts on one row come to, as fields of `PairVerdict`."""
    named = _preferred(tuned_first), _preferred(base_first)
    statuses = {tuned_first.status, base_first.status}
    status = next((one for one in ("failed", "invalid") if one in statuses), "judged")
    outcomes: dict[tuple[Preferred | None, Preferred | None], Outcome] = {
        ("tuned", "tuned"): "win",
        ("base", "base"): "loss",
    }
    return {
        "status": status,
        "outcome": outcomes.get(named, "tie") if status == "judged" else None,
        "tuned_first": named[0],
        "base_first": named[1],
        "detail": f"tuned first: {tuned_first.detail}; base first: {base_first.detail}",
    }


def _preferred(verdict: Verdict) -> Preferred | None:
    """Which answer a verdict names; its score is that of the one shown first, whose model is the verdict's."""
    if verdict.score is None:
        return None
    if verdict.score == 50:
        return "tie"
    other: dict[str, Preferred] = {"tuned": "base", "base": "tuned"}
    return verdict.model if verdict.score > 50 else other[verdict.model]


def _places(pair: PairVerdict) -> Iterator[str]:
    """The places, first or second, of the answers that the verdicts on one row name."""
    for first, named in (("tuned", pair.tuned_first), ("base", pair.base_first)):
        if named != "tie":
            yield "first" if named == first else "second"


def _interval(found: Interval) -> dict[str, Any]:
    return {"level": LEVEL, "low": _rounded(found.low), "high": _rounded(found.high), "method": found.method}


def _share(part: float, whole: int) -> float | None:
    return _rounded(part / whole) if whole else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
