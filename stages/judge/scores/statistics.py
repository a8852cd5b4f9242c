"""What a list of verdicts comes to. A mean is never given without the numbers of those it leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from stages.common.results.judge import Verdict
from stages.judge.scores.bootstrap import LEVEL, mean_interval

#: The lowest and the highest score.
SCALE = (0.0, 100.0)
#: A score from here on counts as a good answer.
GOOD = 80.0
#: Digits after the point in metrics.json: the same on machines whose sums differ in the last bit.
DIGITS = 3


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
        computed without a score is null. Every ``interval`` draws whole instructions, and says in ``method`` how.
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
        "interval": _score_interval(verdicts, resamples=resamples, seed=seed),
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
    interval = _score_interval(verdicts, resamples=resamples, seed=seed)
    return {"n": len(verdicts), "scored": len(scores), "mean": _mean(scores), "interval": interval}


def _score_interval(verdicts: Sequence[Verdict], *, resamples: int, seed: int) -> dict[str, Any]:
    clusters = [verdict.cluster or verdict.id for verdict in verdicts if verdict.score is not None]
    return _interval(_scores(verdicts), clusters, SCALE, resamples=resamples, seed=seed)


def difference(tuned: Sequence[Verdict], base: Sequence[Verdict], *, resamples: int, seed: int) -> dict[str, Any]:
    """How much better the tuned model's answers are than the base model's to the same prompts.

    Returns:
        JSON: ``n``, the rows scored in both; the ``mean`` of tuned minus base on these; its ``interval``, in whose
        resamples each row's two scores stay together.
    """
    theirs = {verdict.id: verdict.score for verdict in base if verdict.score is not None}
    pairs = [(v.score - theirs[v.id], v.cluster or v.id) for v in tuned if v.score is not None and v.id in theirs]
    differences = np.array([better for better, _ in pairs], dtype=np.float64)
    widest = (SCALE[0] - SCALE[1], SCALE[1] - SCALE[0])
    return {
        "n": len(differences),
        "mean": _mean(differences),
        "interval": _interval(differences, [name for _, name in pairs], widest, resamples=resamples, seed=seed),
    }


def _interval(
    values: np.ndarray, clusters: Sequence[str], bounds: tuple[float, float], *, resamples: int, seed: int
) -> dict[str, Any]:
    """`stages.judge.scores.bootstrap.mean_interval` as JSON: ``level``, ``low``, ``high`` and ``method``."""
    found = mean_interval(values, clusters, bounds=bounds, resamples=resamples, seed=seed)
    ends = {name: None if end is None else _rounded(end) for name, end in (("low", found.low), ("high", found.high))}
    return {"level": LEVEL, **ends, "method": found.method}


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
