"""The few figures of the result that `dvc metrics` shows."""

from __future__ import annotations

from stages.common.metrics.judge import (
    Headline,
    Headlines,
    Interval,
    JudgeIdentity,
    JudgeMetrics,
    PairwiseHeadline,
    PairwiseMetrics,
    TunedHeadline,
)

#: Digits of a fingerprint that are enough to tell judges apart.
FINGERPRINT = 12


def headlines(metrics: JudgeMetrics) -> Headlines:
    """The headlines of all figures."""
    tuned = metrics.tuned
    return Headlines(
        judge=_short(metrics.judge),
        tuned=TunedHeadline(
            score=tuned.mean,
            ci95_low=tuned.interval.low,
            ci95_high=tuned.interval.high,
            scored=tuned.scored,
            invalid=tuned.invalid,
            failed=tuned.failed,
        ),
        base=_headline(metrics.base.mean, metrics.base.interval) if metrics.base else None,
        difference=_headline(metrics.difference.mean, metrics.difference.interval) if metrics.difference else None,
        pairwise=_pairwise(metrics.pairwise) if metrics.pairwise else None,
    )


def _headline(mean: float | None, interval: Interval) -> Headline:
    return Headline(score=mean, ci95_low=interval.low, ci95_high=interval.high)


def _pairwise(found: PairwiseMetrics) -> PairwiseHeadline:
    return PairwiseHeadline(
        judge=_short(found.judge),
        win_rate=found.win_rate.mean,
        ci95_low=found.win_rate.interval.low,
        ci95_high=found.win_rate.interval.high,
        length_controlled=found.length_controlled.win_rate,
        consistency=found.consistency,
    )


def _short(judge: JudgeIdentity) -> str:
    return f"{judge.model or judge.backend} {judge.fingerprint[:FINGERPRINT]}"
