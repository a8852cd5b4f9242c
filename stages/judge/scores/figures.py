"""What figures of several kinds share: which scores they are made of, and how they are rounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.common.records import Metrics, MetricsT
from stages.common.results.judge import Verdict

#: Decimal places of points and of shares: few enough that machines whose sums differ in the last bit agree.
POINTS, SHARES = 3, 4


def scores_of(verdicts: Sequence[Verdict]) -> np.ndarray:
    """The scores of the verdicts that have one, float64 [scored]."""
    return np.array([verdict.score for verdict in verdicts if verdict.score is not None], dtype=np.float64)


def cluster_of(verdict: Verdict) -> str:
    """What a resample draws a verdict's row with: its instruction, or the row alone where that is not known."""
    return verdict.cluster or verdict.id


def clusters_of(verdicts: Sequence[Verdict]) -> list[str]:
    """The clusters of the verdicts that have a score, [scored]."""
    return [cluster_of(verdict) for verdict in verdicts if verdict.score is not None]


def mean(values: np.ndarray) -> float | None:
    """The mean in `POINTS` decimal places; None of nothing."""
    return round(float(values.mean()), POINTS) + 0.0 if len(values) else None


def quantile(values: np.ndarray, share: float) -> float | None:
    """A quantile in `POINTS` decimal places; None of nothing."""
    return round(float(np.quantile(values, share)), POINTS) if len(values) else None


def share(part: float, whole: int) -> float | None:
    """A part of a whole in `SHARES` decimal places; None of nothing."""
    return round(part / whole, SHARES) if whole else None


def rounded(found: MetricsT, places: int) -> MetricsT:
    """A copy of metrics with all their numbers, also those within their fields, in so many decimal places."""
    return found.model_copy(update={name: _rounded(getattr(found, name), places) for name in found.model_fields_set})


def _rounded(value: Any, places: int) -> Any:
    if isinstance(value, Metrics):
        return rounded(value, places)
    return round(value, places) + 0.0 if isinstance(value, float) else value  # -0.0 + 0.0 is 0.0
