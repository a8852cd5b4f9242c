"""Two models' answers side by side: which is better, asked once in each order.

Judges favour a position, most often the first, so much that the order alone can make a winner (arXiv 2305.17926). So
each pair is shown in both orders, as MT-bench does (arXiv 2306.05685). The same verdict twice is a win or a loss. Two
verdicts that contradict each other are a tie, and counted as inconsistent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from stages.common.metrics.judge import Bounds, JudgeIdentity, LengthControlled, PairSelfTest, PairwiseMetrics, WinRate
from stages.common.records import ModelName
from stages.common.results.judge import Outcome, PairVerdict, Preferred, Verdict, VerdictStatus
from stages.judge.judges.protocol import Question
from stages.judge.scores.bootstrap import mean_interval
from stages.judge.scores.figures import SHARES, rounded, share
from stages.judge.scores.length_control import length_controlled

#: What an outcome counts in the win rate.
WORTH: dict[Outcome, float] = {"win": 1.0, "tie": 0.5, "loss": 0.0}


def in_both_orders(questions: Sequence[Question], *, identical: bool = False) -> list[Question]:
    """What to ask about the rows whose two answers differ: each twice, ``model`` being that of the answer shown first.

    Args:
        questions: one question a row and model, with both models for every row.
        identical: ask about identical answers too, of a judge for whom the row may be open.
    """
    return [
        replace(first, other=second.answer)
        for tuned, base in _pairs(questions)
        if identical or not _identical(tuned, base)
        for first, second in ((tuned, base), (base, tuned))
    ]


def settle(questions: Sequence[Question], verdicts: Sequence[Verdict]) -> list[PairVerdict]:
    """The result of each row.

    Args:
        questions: the same questions as for `in_both_orders`.
        verdicts: the verdicts on the questions that it returned.

    Returns:
        One verdict a row, in the rows' order.
    """
    by_first = {(verdict.id, verdict.model): verdict for verdict in verdicts}
    return [
        _tie_unasked(tuned, base)
        if _identical(tuned, base) and not _is_open(by_first.get((tuned.id, "tuned")))
        else _settled(tuned, base, by_first[tuned.id, "tuned"], by_first[tuned.id, "base"])
        for tuned, base in _pairs(questions)
    ]


def _is_open(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.status == "open"


def summarise_pairs(
    pairs: Sequence[PairVerdict], judge: JudgeIdentity, self_test: PairSelfTest, *, resamples: int, seed: int
) -> PairwiseMetrics:
    """How often the tuned model's answer is the better one, and how far the judge can be believed in that.

    Args:
        pairs: one verdict a row.
        judge: the judge that compared.
        self_test: how it did on pairs whose better answer is known.
        resamples: number of resamples of the bootstrap, which draws whole instructions.
        seed: seed of the bootstrap.
    """
    return PairwiseMetrics(judge=judge, self_test=self_test, **summarise_figures(pairs, resamples=resamples, seed=seed))


def summarise_figures(pairs: Sequence[PairVerdict], *, resamples: int, seed: int) -> dict[str, Any]:
    """The fields of `SideBySide`; arguments as of `summarise_pairs`."""
    outcomes = Counter(pair.outcome for pair in pairs)
    statuses = Counter(pair.status for pair in pairs)
    asked = [pair for pair in pairs if pair.status == "judged" and not pair.identical]
    same = sum(pair.tuned_first == pair.base_first for pair in asked)
    positions = [position for pair in asked for position in _positions(pair)]
    return {
        "rows": len(pairs),
        "wins": outcomes["win"],
        "ties": outcomes["tie"],
        "losses": outcomes["loss"],
        "invalid": statuses["invalid"],
        "failed": statuses["failed"],
        "open": statuses["open"] or None,
        "identical": sum(pair.identical for pair in pairs),
        "inconsistent": len(asked) - same,
        "clusters": len({pair.cluster for pair in pairs if pair.outcome}),
        "consistency": share(same, len(asked)),
        "first_position_share": share(positions.count("first"), len(positions)),
        "win_rate": _win_rate(pairs, resamples=resamples, seed=seed),
        "length_controlled": _length_controlled(pairs, resamples=resamples, seed=seed),
    }


def _win_rate(pairs: Sequence[PairVerdict], *, resamples: int, seed: int) -> WinRate:
    values, clusters = worth_of(pairs), clusters_of_pairs(pairs)
    rows = sum(pair.status != "open" for pair in pairs)
    won, without = float(values.sum()), rows - len(values)
    interval = mean_interval(values, clusters, bounds=(0, 1), resamples=resamples, seed=seed)
    return WinRate(
        mean=share(won, len(values)),
        interval=rounded(interval, SHARES),
        bounds=Bounds(low=share(won, rows), high=share(won + without, rows)),
    )


def _length_controlled(pairs: Sequence[PairVerdict], *, resamples: int, seed: int) -> LengthControlled:
    lengths = np.array([pair.tuned_length - pair.base_length for pair in pairs if pair.outcome], dtype=np.float64)
    found = length_controlled(worth_of(pairs), lengths, clusters_of_pairs(pairs), resamples=resamples, seed=seed)
    return rounded(found, SHARES)


def worth_of(pairs: Sequence[PairVerdict]) -> np.ndarray:
    """What each row with an outcome counts in the win rate, float64 [outcomes]."""
    return np.array([WORTH[pair.outcome] for pair in pairs if pair.outcome], dtype=np.float64)


def clusters_of_pairs(pairs: Sequence[PairVerdict]) -> list[str]:
    """The instructions of the rows with an outcome, [outcomes]."""
    return [pair.cluster for pair in pairs if pair.outcome]


def _pairs(questions: Sequence[Question]) -> Iterator[tuple[Question, Question]]:
    """The tuned and the base model's question of each row."""
    base = {question.id: question for question in questions if question.model == "base"}
    return ((question, base[question.id]) for question in questions if question.model == "tuned")


def _identical(tuned: Question, base: Question) -> bool:
    """Whether two answers are equal; white space around them does not count, as in `Question.is_exact`."""
    return tuned.answer.strip() == base.answer.strip()


def _tie_unasked(tuned: Question, base: Question) -> PairVerdict:
    """The verdict on two identical answers."""
    return PairVerdict(
        id=tuned.id,
        status="judged",
        outcome="tie",
        tuned_first=None,
        base_first=None,
        identical=True,
        tuned_length=len(tuned.answer),
        base_length=len(base.answer),
        detail="identical answers; not asked",
        cluster=tuned.cluster,
    )


def _settled(tuned: Question, base: Question, tuned_first: Verdict, base_first: Verdict) -> PairVerdict:
    """The result of the two verdicts on one row."""
    status = _status({tuned_first.status, base_first.status})
    named = _preferred(tuned_first), _preferred(base_first)
    return PairVerdict(
        id=tuned.id,
        status=status,
        outcome=_outcome(*named) if status == "judged" else None,
        tuned_first=named[0],
        base_first=named[1],
        identical=False,
        tuned_length=len(tuned.answer),
        base_length=len(base.answer),
        detail=f"tuned first: {tuned_first.detail}; base first: {base_first.detail}",
        cluster=tuned.cluster,
    )


def _status(both: set[VerdictStatus]) -> Literal["judged", "invalid", "failed", "open"]:
    """The worse of two statuses: a failed order may bring a verdict when it is asked again."""
    if "failed" in both:
        return "failed"
    if "open" in both:
        return "open"
    return "invalid" if "invalid" in both else "judged"


def _outcome(tuned_first: Preferred | None, base_first: Preferred | None) -> Outcome:
    if tuned_first != base_first:
        return "tie"
    return "win" if tuned_first == "tuned" else "loss" if tuned_first == "base" else "tie"


def _preferred(verdict: Verdict) -> Preferred | None:
    """Which answer a verdict names; its score is that of the one shown first, whose model is the verdict's."""
    if verdict.score is None:
        return None
    if verdict.score == 50:
        return "tie"
    other: dict[ModelName, Preferred] = {"tuned": "base", "base": "tuned"}
    return verdict.model if verdict.score > 50 else other[verdict.model]


def _positions(pair: PairVerdict) -> Iterator[Literal["first", "second"]]:
    """The positions of the answers that the verdicts on one row name."""
    for first, named in (("tuned", pair.tuned_first), ("base", pair.base_first)):
        if named != "tie":
            yield "first" if named == first else "second"
