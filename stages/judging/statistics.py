"""What a list of verdicts comes to. A mean is never given without the numbers of those it leaves out."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from stages.common.records import Verdict

#: The confidence of every interval.
LEVEL = 0.95
#: A score from here on counts as a good answer.
GOOD = 80.0
#: Digits after the point in metrics.json: the same on machines whose sums differ in the last bit.
DIGITS = 3
#: Numbers drawn at a time for the bootstrap, which bounds its memory (8 bytes each, a few times over).
_DRAWN_AT_A_TIME = 1 << 21


def summarise(
    verdicts: Sequence[Verdict],
    categories: Mapping[str, str],
    *,
    twins: Collection[str] = (),
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """The statistics of one model's verdicts.

    Args:
        verdicts: one a test row.
        categories: the category of each row, by id.
        twins: the ids of rows whose instruction and input also occur in train.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        JSON: ``n`` = ``scored`` + ``invalid`` + ``failed``; ``exact_matches``, the answers equal to their reference;
        ``mean``, ``interval``, ``median``, ``quartiles`` and ``share_80_or_more`` of the scored ones; ``mean_bounds``
        if all others had 0 or 100; ``not_equal_to_reference`` and ``without_twin_in_train``, the ``n``, ``scored``,
        ``mean`` and ``interval`` of these rows alone; ``mean_spread``, the mean standard deviation of a row's repeated
        judgements, where there are any; ``categories`` with each one's ``n``, ``scored`` and ``mean``. What cannot be
        computed without a score is null.
    """
    scores = _scores(verdicts)
    counts = Counter(verdict.status for verdict in verdicts)
    spreads = np.array([verdict.spread for verdict in verdicts if verdict.spread is not None], dtype=np.float64)

    def part(found: Sequence[Verdict]) -> dict[str, Any]:
        return _part(found, resamples=resamples, seed=seed)

    return {
        "n": len(verdicts),
        "scored": counts["scored"],
        "invalid": counts["invalid"],
        "failed": counts["failed"],
        "exact_matches": sum(verdict.exact for verdict in verdicts),
        "mean": _mean(scores),
        "interval": mean_interval(scores, resamples=resamples, seed=seed),
        "mean_bounds": _bounds(scores, len(verdicts)),
        "median": _quantile(scores, 0.5),
        "quartiles": {"lower": _quantile(scores, 0.25), "upper": _quantile(scores, 0.75)},
        "share_80_or_more": _mean(scores >= GOOD),
        "not_equal_to_reference": part([verdict for verdict in verdicts if not verdict.exact]),
        "without_twin_in_train": part([verdict for verdict in verdicts if verdict.id not in twins]),
        **({"mean_spread": _mean(spreads)} if len(spreads) else {}),
        "categories": _by_category(verdicts, categories),
    }


def _part(verdicts: Sequence[Verdict], *, resamples: int, seed: int) -> dict[str, Any]:
    scores = _scores(verdicts)
    interval = mean_interval(scores, resamples=resamples, seed=seed)
    return {"n": len(verdicts), "scored": len(scores), "mean": _mean(scores), "interval": interval}


def difference(tuned: Sequence[Verdict], base: Sequence[Verdict], *, resamples: int, seed: int) -> dict[str, Any]:
    """How much better the tuned model's answers are than the base model's to the same prompts.

    Returns:
        JSON: ``n``, the rows scored in both; the ``mean`` of tuned minus base on these; its ``interval``, whose
        resamples are rows, so that each row's two scores stay together.
    """
    theirs = {verdict.id: verdict.score for verdict in base if verdict.score is not None}
    pairs = [(v.score, theirs[v.id]) for v in tuned if v.score is not None and v.id in theirs]
    differences = np.array([ours - other for ours, other in pairs], dtype=np.float64)
    return {
        "n": len(differences),
        "mean": _mean(differences),
        "interval": mean_interval(differences, resamples=resamples, seed=seed),
    }


def mean_interval(values: np.ndarray, *, resamples: int, seed: int) -> dict[str, Any]:
    """A bootstrap confidence interval of the mean, bias-corrected and accelerated (BCa; Efron 1987).

    Returns:
        JSON: ``level``, ``low``, ``high`` and ``method``. With fewer than two values there is no interval, and with
        equal values it has no width: ``method`` says so.
    """
    if len(values) < 2:
        return _interval(None, None, f"none: {len(values)} of the 2 values that it takes")
    if np.all(values == values[0]):
        return _interval(values[0], values[0], f"none: all {len(values)} values are equal")
    with warnings.catch_warnings():
        # A degenerate bootstrap distribution gives NaN, which is told below.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=resamples,
            batch=max(1, _DRAWN_AT_A_TIME // len(values)),
            confidence_level=LEVEL,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    if not np.isfinite([found.low, found.high]).all():
        return _interval(None, None, "none: the bootstrap distribution is degenerate")
    return _interval(found.low, found.high, f"BCa bootstrap, {resamples} resamples, seed {seed}")


def _interval(low: float | None, high: float | None, method: str) -> dict[str, Any]:
    return {
        "level": LEVEL,
        "low": None if low is None else _rounded(low),
        "high": None if high is None else _rounded(high),
        "method": method,
    }


def _by_category(verdicts: Sequence[Verdict], categories: Mapping[str, str]) -> dict[str, Any]:
    names = sorted({categories[verdict.id] for verdict in verdicts})
    members = {name: [verdict for verdict in verdicts if categories[verdict.id] == name] for name in names}
    return {
        name: {"n": len(found), "scored": len(_scores(found)), "mean": _mean(_scores(found))}
        for name, found in members.items()
    }


def _scores(verdicts: Sequence[Verdict]) -> np.ndarray:
    return np.array([verdict.score for verdict in verdicts if verdict.score is not None], dtype=np.float64)


def _bounds(scores: np.ndarray, n: int) -> dict[str, float | None]:
    if n == 0:
        return {"low": None, "high": None}
    return {"low": _rounded(scores.sum() / n), "high": _rounded((scores.sum() + 100 * (n - len(scores))) / n)}


def _mean(values: np.ndarray) -> float | None:
    return _rounded(values.mean()) if len(values) else None


def _quantile(values: np.ndarray, share: float) -> float | None:
    return _rounded(np.quantile(values, share)) if len(values) else None


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)
