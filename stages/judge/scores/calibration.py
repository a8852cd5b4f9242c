"""How far a judge can be believed: its scores beside those of people or a stronger judge, and a mean put right by them.

Agreement is also given without the answers that are equal to their reference: any judge sees those, and on the book's
example data they alone carry a correlation of 0.8 (0.65 without them). The calibrated mean passes each score through a
rising step function fitted to the pairs (isotonic regression), which mends leniency and a compressed scale but no
confusion; its error is measured on pairs that were left out of the fit.

A grade belongs to the text that was graded, not to its row: another training gives every row another answer, of which
the old grade says nothing. So each line of the file holds the answer; those on other answers are counted and left out.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from scipy import stats
from scipy.optimize import isotonic_regression

from stages.common.errors import ConfigError, DataError
from stages.common.paths import local_path
from stages.common.records import ModelName, Record, read_records
from stages.common.results.generate import RESPONSES
from stages.common.results.judge import Verdict
from stages.judge.judges.protocol import Question
from stages.params.judge import Calibration

KEY = "judge.calibration"
#: Fewer pairs than this fit anything.
LEAST = 10
FOLDS = 5
#: Scores are put into bands of so many points for kappa, which compares categories.
BAND = 10
LEVEL, RESAMPLES = 0.95, 500
DIGITS = 3


class Graded(Record):
    """A row of the calibration file: what a person or a stronger judge gives an answer, from 0 to 100.

    ``answer`` is the text that was graded; white space around it does not count. A line without a score has not been
    graded yet, and says nothing.
    """

    id: str
    model: ModelName = "tuned"
    answer: str
    score: Annotated[float, Field(ge=0, le=100)] | None


@dataclass(frozen=True)
class Grades:
    """What of a calibration file is about this run's answers.

    Attributes:
        scores: the better scores by id and model.
        rows: graded lines in the file.
        stale: lines on a test row to which the model now gives another answer.
    """

    scores: Mapping[tuple[str, str], float]
    rows: int
    stale: int


def read(settings: Calibration) -> list[Graded]:
    """The graded rows of the calibration file.

    Raises:
        ConfigError: the file is not there.
        DataError: it is not the one whose SHA-256 params.yaml names, a line is not a row, or two rows grade the same
            answer.
    """
    path = local_path(settings.source)
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{KEY}.source: {settings.source}: {error.strerror}", "correct params.yaml") from None
    if found != settings.sha256:
        raise DataError(
            f"{KEY}.sha256: {settings.source} has {found}, params.yaml says {settings.sha256}",
            f"set {KEY}.sha256 to {found} if the file is the one you mean",
        )
    fix = f"correct {settings.source}: each line needs id, answer (the text that was graded) and score"
    rows = [row for row in read_records(Path(path), Graded, made_by=fix) if row.score is not None]
    counts = Counter((row.id, row.model, row.answer.strip()) for row in rows)
    if twice := sorted(key for key, count in counts.items() if count > 1):
        raise DataError(
            f"{settings.source}: more than one score for one answer to {twice[0][0]} ({twice[0][1]})",
            "keep one of them",
        )
    return rows


def of_these_answers(graded: Sequence[Graded], questions: Sequence[Question], settings: Calibration) -> Grades:
    """Keep the grades of the answers that are judged now, by their text.

    Raises:
        DataError: they are fewer than `LEAST`.
    """
    answers = {(question.id, question.model): question.answer.strip() for question in questions}
    there = [row for row in graded if (row.id, row.model) in answers]
    fresh = [row for row in there if row.answer.strip() == answers[row.id, row.model]]
    stale = len(there) - len(fresh)
    if len(fresh) < LEAST:
        of_others = f", {stale} grade another answer than the model now gives to the row" if stale else ""
        raise DataError(
            f"{settings.source}: {len(fresh)} of its {len(graded)} rows grade a test answer{of_others}; "
            f"{LEAST} are needed",
            f"grade answers of {RESPONSES}, and put id, model, answer (its text) and score into the file",
        )
    scores: dict[tuple[str, str], float] = {(row.id, row.model): row.score for row in fresh if row.score is not None}
    return Grades(scores, len(graded), stale)


def calibrate(verdicts: Sequence[Verdict], grades: Grades, settings: Calibration, *, seed: int) -> dict[str, Any]:
    """Compare a judge with better scores, and put its means right by them.

    Args:
        verdicts: the judge's, on all models.
        grades: the better scores of some of the same answers.
        settings: where they come from.
        seed: of the bootstrap.

    Returns:
        JSON: ``sha256`` of the file, ``rows`` in it, ``stale`` ones on other answers than these, ``matched`` with a
        score of the judge; ``agreement`` on ``all`` of these and on those ``not_equal_to_reference``;
        ``cross_validation``, the mean absolute error in points on pairs left out of the fit, ``raw`` and
        ``calibrated``; ``means``, each model's ``raw`` and ``calibrated`` mean over all its scored answers and the
        latter's ``interval`` (`calibrated_mean`), which are null for a model of whose answers fewer than `LEAST` were
        graded: what other answers' grades say of them is not known.

    With fewer than `LEAST` pairs the last two are null.
    """
    pairs = [v for v in verdicts if v.score is not None and (v.id, v.model) in grades.scores]
    ours = _scores(pairs)
    better = np.array([grades.scores[verdict.id, verdict.model] for verdict in pairs], dtype=np.float64)
    hard = np.array([not verdict.exact for verdict in pairs], dtype=bool)
    models = sorted({verdict.model for verdict in verdicts}, reverse=True)
    enough = len(pairs) >= LEAST
    clusters = _clusters(pairs)

    def mean(model: str) -> dict[str, Any]:
        judged = [verdict for verdict in verdicts if verdict.model == model and verdict.score is not None]
        if sum(verdict.model == model for verdict in pairs) < LEAST:
            raw = _rounded(_scores(judged).mean()) if judged else None
            return {"raw": raw, "calibrated": None, "interval": None}
        return calibrated_mean(_scores(judged), _clusters(judged), ours, better, clusters, seed=seed)

    return {
        "sha256": settings.sha256,
        "rows": grades.rows,
        "stale": grades.stale,
        "matched": len(pairs),
        "agreement": {"all": agreement(ours, better), "not_equal_to_reference": agreement(ours[hard], better[hard])},
        "cross_validation": cross_validation(ours, better, clusters) if enough else None,
        "means": {model: mean(model) for model in models} if enough else None,
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

    1 - (mean squared distance of the pairs) / (the same if the pairs were drawn apart), and drawn apart it is the two
    variances and the square of the means' difference.
    """
    if len(ours) == 0:
        return None
    first, second = (np.minimum(scores // BAND, 100 // BAND - 1) for scores in (ours, better))
    apart = first.var() + second.var() + (first.mean() - second.mean()) ** 2
    return _rounded(1 - np.mean((first - second) ** 2) / apart) if apart else None


def fit(ours: np.ndarray, better: np.ndarray, weights: np.ndarray | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """The rising function of our scores that comes nearest to the better ones, straight between its steps.

    Args:
        ours: our scores, [pairs].
        better: the better ones, [pairs].
        weights: how often each pair counts, [pairs]; once unless said. At least one is not 0.
    """
    counted = np.ones(len(ours)) if weights is None else weights
    points, inverse = np.unique(ours[counted > 0], return_inverse=True)
    counts = np.bincount(inverse, weights=counted[counted > 0])
    means = np.bincount(inverse, weights=(counted * better)[counted > 0]) / counts
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


def calibrated_mean(
    scores: np.ndarray,
    clusters: Sequence[str],
    ours: np.ndarray,
    better: np.ndarray,
    pair_clusters: Sequence[str],
    *,
    seed: int,
) -> dict[str, Any]:
    """A model's mean, and the same put right by the pairs.

    Args:
        scores: our scores of all the model's answers, [answers].
        clusters: their instructions, [answers].
        ours: our scores of what was also graded, [pairs].
        better: the grades, [pairs].
        pair_clusters: the pairs' instructions, [pairs].
        seed: of the bootstrap.

    Returns:
        JSON: ``raw``, ``calibrated``, and the latter's ``interval``: percentile bootstrap of whole instructions, each
        with its answers and its pairs, as many of those with pairs and of those without as there are.
    """
    if len(scores) == 0:
        return {"raw": None, "calibrated": None, "interval": None}
    names, members = np.unique([*clusters, *pair_clusters], return_inverse=True)
    of_answers, of_pairs = members[: len(scores)], members[len(scores) :]
    graded = np.isin(np.arange(len(names)), of_pairs)
    strata = [np.flatnonzero(graded), np.flatnonzero(~graded)]
    random = np.random.default_rng(seed)
    means: list[float] = []
    while len(means) < RESAMPLES:
        drawn = np.concatenate([random.choice(stratum, len(stratum)) for stratum in strata if len(stratum)])
        times = np.bincount(drawn, minlength=len(names)).astype(np.float64)
        if times[of_answers].any():  # a few instructions may have pairs alone, of the other model's answers
            calibrated = fit(ours, better, times[of_pairs])(scores)
            means.append(float(np.average(calibrated, weights=times[of_answers])))
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "raw": _rounded(scores.mean()),
        "calibrated": _rounded(fit(ours, better)(scores).mean()),
        "interval": {"level": LEVEL, "low": _rounded(low), "high": _rounded(high)},
    }


def _clusters(verdicts: Sequence[Verdict]) -> list[str]:
    return [verdict.cluster or verdict.id for verdict in verdicts]


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
