"""How far a judge can be believed: its scores beside those of people or a stronger judge, and a mean put right by them.

Agreement is also given without the answers that are equal to their reference: any judge sees those, and on the book's
example data they alone carry a correlation of 0.8 (0.65 without them). The calibrated mean passes each score through a
rising step function fitted to the pairs (isotonic regression), which mends leniency and a compressed scale but no
confusion; its error is measured on pairs that were left out of the fit.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from scipy import stats
from scipy.optimize import isotonic_regression

from stages.common.errors import ConfigError, DataError
from stages.common.params import Calibration
from stages.common.paths import local_path
from stages.common.records import ModelName, Record, Verdict, read_records
from stages.judging.judge import Question

KEY = "judge.calibration"
#: Fewer pairs than this fit anything.
LEAST = 10
FOLDS = 5
#: Scores are put into bands of so many points for kappa, which compares categories.
BAND = 10
LEVEL, RESAMPLES = 0.95, 500
DIGITS = 3


class Graded(Record):
    """A row of the calibration file: what a person or a stronger judge gives a model's answer, from 0 to 100."""

    id: str
    model: ModelName = "tuned"
    score: Annotated[float, Field(ge=0, le=100)]


def read(settings: Calibration) -> list[Graded]:
    """The rows of the calibration file.

    Raises:
        ConfigError: the file is not there, or not the one whose SHA-256 params.yaml names.
        DataError: a line is not a row, or two rows grade the same answer.
    """
    path = local_path(settings.source)
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{KEY}.source: {settings.source}: {error.strerror}", "correct params.yaml") from None
    if found != settings.sha256:
        raise ConfigError(
            f"{KEY}.sha256: {settings.source} has {found}, params.yaml says {settings.sha256}",
            f"set {KEY}.sha256 to {found} if the file is the one you mean",
        )
    rows = list(read_records(Path(path), Graded, made_by=f"correct {settings.source}"))
    keys = [(row.id, row.model) for row in rows]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise DataError(f"{settings.source}: more than one score for {twice[0][0]} ({twice[0][1]})", "keep one of them")
    return rows


def require_rows(graded: Sequence[Graded], questions: Sequence[Question], settings: Calibration) -> None:
    """Refuse, before anything is judged, a file that belongs to other answers.

    Raises:
        DataError: fewer than `LEAST` rows grade one of these.
    """
    answers = {(question.id, question.model) for question in questions}
    matched = sum((row.id, row.model) in answers for row in graded)
    if matched < LEAST:
        raise DataError(
            f"{settings.source}: {matched} of its {len(graded)} rows grade a test answer, and {LEAST} are needed",
            f"{KEY}.source: a file with ids of artifacts/split/test.jsonl",
        )


def calibrate(
    verdicts: Sequence[Verdict], graded: Sequence[Graded], settings: Calibration, *, seed: int
) -> dict[str, Any]:
    """Compare a judge with better scores, and put its means right by them.

    Args:
        verdicts: the judge's, on all models.
        graded: the better scores of some of the same answers.
        settings: where they come from.
        seed: of the bootstrap.

    Returns:
        JSON: ``sha256`` of the file, ``rows`` in it, ``matched`` with a score of the judge; ``agreement`` on ``all`` of
        these and on those ``not_equal_to_reference``; ``cross_validation``, the mean absolute error in points on pairs
        left out of the fit, ``raw`` and ``calibrated``; ``means``, each model's ``raw`` and ``calibrated`` mean over
        all its scored answers and the latter's ``interval`` (percentile bootstrap of both the pairs and the answers).

    With fewer than `LEAST` pairs the last two are null.
    """
    theirs = {(row.id, row.model): row.score for row in graded}
    pairs = [verdict for verdict in verdicts if verdict.score is not None and (verdict.id, verdict.model) in theirs]
    ours = _scores(pairs)
    better = np.array([theirs[verdict.id, verdict.model] for verdict in pairs], dtype=np.float64)
    hard = np.array([not verdict.exact for verdict in pairs])
    models = sorted({verdict.model for verdict in verdicts}, reverse=True)
    enough = len(pairs) >= LEAST
    clusters = [verdict.cluster or verdict.id for verdict in pairs]
    return {
        "sha256": settings.sha256,
        "rows": len(graded),
        "matched": len(pairs),
        "agreement": {"all": agreement(ours, better), "not_equal_to_reference": agreement(ours[hard], better[hard])},
        "cross_validation": cross_validation(ours, better, clusters) if enough else None,
        "means": {
            model: _means(_scores([verdict for verdict in verdicts if verdict.model == model]), ours, better, seed)
            for model in models
        }
        if enough
        else None,
    }


def agreement(ours: np.ndarray, better: np.ndarray) -> dict[str, Any]:
    """How two sets of scores of the same answers agree.

    Returns:
        JSON: ``n``; ``pearson``, ``spearman``, ``kendall`` (tau-b); ``weighted_kappa`` (quadratic weights, bands of 10
        points; Cohen 1968); ``mean_difference``, ours minus theirs; ``mean_absolute_difference``. Null where equal
        scores or too few leave nothing to correlate.
    """
    return {
        "n": len(ours),
        "pearson": _correlation(stats.pearsonr, ours, better),
        "spearman": _correlation(stats.spearmanr, ours, better),
        "kendall": _correlation(stats.kendalltau, ours, better),
        "weighted_kappa": weighted_kappa(ours, better),
        "mean_difference": _rounded((ours - better).mean()) if len(ours) else None,
        "mean_absolute_difference": _rounded(np.abs(ours - better).mean()) if len(ours) else None,
    }


def weighted_kappa(ours: np.ndarray, better: np.ndarray) -> float | None:
    """Cohen's kappa with quadratic weights over bands of `BAND` points, 100 in the last with 90 and more.

    1 - (mean squared distance of the pairs) / (the same if the pairs were drawn apart).
    """
    if len(ours) == 0:
        return None
    first, second = (np.minimum(scores // BAND, 100 // BAND - 1) for scores in (ours, better))
    apart = np.mean((first[:, None] - second[None, :]) ** 2)
    return _rounded(1 - np.mean((first - second) ** 2) / apart) if apart else None


def fit(ours: np.ndarray, better: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The rising function of our scores that comes nearest to the better ones, straight between its steps."""
    points, inverse, counts = np.unique(ours, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, weights=better) / counts
    levels = isotonic_regression(means, weights=counts).x
    return lambda scores: np.asarray(np.interp(scores, points, levels))


def cross_validation(ours: np.ndarray, better: np.ndarray, clusters: Sequence[str]) -> dict[str, Any]:
    """The mean absolute error on pairs that were left out of the fit, a fifth of the instructions at a time."""
    place = {name: number % FOLDS for number, name in enumerate(sorted(set(clusters)))}
    folds = np.array([place[name] for name in clusters])
    errors = np.full(len(ours), np.nan)
    for fold in range(FOLDS):
        left_out = folds == fold
        if left_out.any() and not left_out.all():
            calibrated = fit(ours[~left_out], better[~left_out])(ours[left_out])
            errors[left_out] = np.abs(calibrated - better[left_out])
    known = ~np.isnan(errors)
    return {
        "raw": _rounded(np.abs(ours - better)[known].mean()) if known.any() else None,
        "calibrated": _rounded(errors[known].mean()) if known.any() else None,
    }


def _means(scores: np.ndarray, ours: np.ndarray, better: np.ndarray, seed: int) -> dict[str, Any]:
    if len(scores) == 0:
        return {"raw": None, "calibrated": None, "interval": None}
    random = np.random.default_rng(seed)
    means = []
    for _ in range(RESAMPLES):
        pairs = random.integers(0, len(ours), len(ours))
        answers = random.integers(0, len(scores), len(scores))
        means.append(fit(ours[pairs], better[pairs])(scores[answers]).mean())
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "raw": _rounded(scores.mean()),
        "calibrated": _rounded(fit(ours, better)(scores).mean()),
        "interval": {"level": LEVEL, "low": _rounded(low), "high": _rounded(high)},
    }


def _scores(verdicts: Sequence[Verdict]) -> np.ndarray:
    return np.array([verdict.score for verdict in verdicts if verdict.score is not None], dtype=np.float64)


def _correlation(measure: Callable[..., Any], ours: np.ndarray, better: np.ndarray) -> float | None:
    if len(ours) < 2:
        return None
    with warnings.catch_warnings():
        # Equal scores on one side give NaN, which is told as null.
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        found = float(measure(ours, better).statistic)
    return _rounded(found) if np.isfinite(found) else None


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)
