"""The few figures of the result that `dvc metrics` shows."""

from __future__ import annotations

from stages.common.metrics.judge import (
    DifferenceHeadline,
    Headline,
    Headlines,
    Interval,
    JudgeIdentity,
    JudgeMetrics,
    PairwiseHeadline,
    PairwiseMetrics,
    PanelHeadline,
    PanelMetrics,
    Right,
    RightChange,
    RightDifference,
    RightHeadline,
    TunedHeadline,
)
from stages.judge.scores.figures import SHARES

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
            open=tuned.open,
            right=_right(tuned.right),
        ),
        base=_base(metrics),
        difference=_difference(metrics),
        pairwise=_pairwise(metrics.pairwise) if metrics.pairwise else None,
        panel=_panel(metrics.judge, metrics.panel) if metrics.panel else None,
    )


def _base(metrics: JudgeMetrics) -> Headline | None:
    if (base := metrics.base) is None:
        return None
    low, high = base.interval.low, base.interval.high
    return Headline(score=base.mean, ci95_low=low, ci95_high=high, right=_right(base.right))


def _difference(metrics: JudgeMetrics) -> DifferenceHeadline | None:
    if (found := metrics.difference) is None:
        return None
    low, high = found.interval.low, found.interval.high
    return DifferenceHeadline(score=found.mean, ci95_low=low, ci95_high=high, right=_change(metrics.right_difference))


def _right(found: Right | None) -> RightHeadline | None:
    if found is None:
        return None
    low, high = _percent(found.interval)
    return RightHeadline(n=found.right, of=found.n, percent=percent(found.share), ci95_low=low, ci95_high=high)


def _change(found: RightDifference | None) -> RightChange | None:
    if found is None:
        return None
    low, high = _percent(found.interval)
    return RightChange(percent=percent(found.difference), ci95_low=low, ci95_high=high)


def _percent(interval: Interval) -> tuple[float | None, float | None]:
    """Both ends of the interval of a share, in percent."""
    if interval.low is None or interval.high is None:
        return None, None
    return percent(interval.low), percent(interval.high)


def percent(share: float) -> float:
    """A share in percent, with as many digits as it has."""
    return round(100 * share, SHARES - 2) + 0.0


def _pairwise(found: PairwiseMetrics) -> PairwiseHeadline:
    return PairwiseHeadline(
        judge=_short(found.judge),
        win_rate=found.win_rate.mean,
        ci95_low=found.win_rate.interval.low,
        ci95_high=found.win_rate.interval.high,
        length_controlled=found.length_controlled.win_rate,
        consistency=found.consistency,
    )


def _panel(first: JudgeIdentity, found: PanelMetrics) -> PanelHeadline:
    """The fine-tuned model's answers as all judges see them."""
    scores = found.tuned
    return PanelHeadline(
        judges="; ".join(map(_short, [first, *found.judges])),
        median=scores.median.mean,
        ci95_low=scores.median.interval.low,
        ci95_high=scores.median.interval.high,
        alpha=scores.alpha,
        right=_right(scores.right),
    )


def _short(judge: JudgeIdentity) -> str:
    return judge.marked(f"{judge.model or judge.backend} {judge.fingerprint[:FINGERPRINT]}")
