"""The statistics of a list of verdicts. A mean is never given without the number of verdicts that it leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from stages.common.metrics.judge import Bounds, CategoryMean, Interval, Mean, ModelScores, Quartiles, ScoredMean
from stages.common.results.judge import Verdict
from stages.judge.scores import figures
from stages.judge.scores.bootstrap import mean_interval
from stages.judge.scores.faults import points_lost
from stages.judge.scores.figures import POINTS, cluster_of, clusters_of, scores_of
from stages.judge.scores.right import right_answers

#: The lowest and the highest score.
SCALE = (0.0, 100.0)
#: A score from here on counts as a good answer.
GOOD = 80.0


def summarise(
    verdicts: Sequence[Verdict],
    categories: Mapping[str, str],
    answers: Mapping[str, str],
    *,
    duplicates: Collection[str] = (),
    sources: Mapping[str, str] | None = None,
    resamples: int,
    seed: int,
) -> ModelScores:
    """The statistics of one model's verdicts.

    Args:
        verdicts: one verdict a test row.
        categories: the category of each row, by id.
        answers: the model's answers, by id; the examples of each fault show some.
        duplicates: ids of the rows whose instruction and input also occur in train.
        sources: the source of each row, by id; None where the dataset has one source.
        resamples: number of resamples of the bootstrap, which draws whole instructions.
        seed: seed of the bootstrap.
    """
    scores = scores_of(verdicts)
    counts = Counter(verdict.status for verdict in verdicts)
    spreads = np.array([verdict.spread for verdict in verdicts if verdict.spread is not None], dtype=np.float64)

    def part(found: Sequence[Verdict]) -> ScoredMean:
        return _part(found, resamples=resamples, seed=seed)

    return ModelScores(
        n=len(verdicts),
        scored=counts["scored"],
        invalid=counts["invalid"],
        failed=counts["failed"],
        open=counts["open"] or None,
        right=right_answers(verdicts),
        exact_matches=sum(verdict.exact for verdict in verdicts),
        mean=figures.mean(scores),
        interval=part(verdicts).interval,
        mean_bounds=_bounds(scores, len(verdicts) - counts["open"]),
        median=figures.quantile(scores, 0.5),
        quartiles=Quartiles(lower=figures.quantile(scores, 0.25), upper=figures.quantile(scores, 0.75)),
        share_80_or_more=figures.mean(scores >= GOOD),
        not_equal_to_reference=part([verdict for verdict in verdicts if not verdict.exact]),
        without_twin_in_train=part([verdict for verdict in verdicts if verdict.id not in duplicates]),
        mean_spread=figures.mean(spreads),
        categories=_by_label(verdicts, categories),
        sources=_by_label(verdicts, sources) if sources else None,
        faults=points_lost(verdicts, answers),
    )


def difference(tuned: Sequence[Verdict], base: Sequence[Verdict], *, resamples: int, seed: int) -> Mean:
    """How much better the tuned model's answers are than the base model's to the same prompts.

    Args:
        tuned: the tuned model's verdicts.
        base: the base model's verdicts.
        resamples: number of resamples of the bootstrap, in which each row's two scores stay together.
        seed: seed of the bootstrap.

    Returns:
        The mean of tuned minus base over the rows scored in both.
    """
    others = {verdict.id: verdict.score for verdict in base if verdict.score is not None}
    pairs = [(v.score - others[v.id], cluster_of(v)) for v in tuned if v.score is not None and v.id in others]
    differences = np.array([points for points, _ in pairs], dtype=np.float64)
    clusters = [cluster for _, cluster in pairs]
    widest = (SCALE[0] - SCALE[1], SCALE[1] - SCALE[0])
    return Mean(
        n=len(differences),
        mean=figures.mean(differences),
        interval=_interval(differences, clusters, widest, resamples=resamples, seed=seed),
    )


def _part(verdicts: Sequence[Verdict], *, resamples: int, seed: int) -> ScoredMean:
    scores = scores_of(verdicts)
    interval = _interval(scores, clusters_of(verdicts), SCALE, resamples=resamples, seed=seed)
    return ScoredMean(n=len(verdicts), scored=len(scores), mean=figures.mean(scores), interval=interval)


def _interval(
    values: np.ndarray, clusters: Sequence[str], bounds: tuple[float, float], *, resamples: int, seed: int
) -> Interval:
    return figures.rounded(mean_interval(values, clusters, bounds=bounds, resamples=resamples, seed=seed), POINTS)


def _by_label(verdicts: Sequence[Verdict], labels: Mapping[str, str]) -> dict[str, CategoryMean]:
    members: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        members.setdefault(labels[verdict.id], []).append(verdict)
    return {name: _category_mean(members[name]) for name in sorted(members)}


def _category_mean(verdicts: Sequence[Verdict]) -> CategoryMean:
    scores = scores_of(verdicts)
    known = [verdict.right for verdict in verdicts if verdict.right is not None]
    return CategoryMean(
        n=len(verdicts), scored=len(scores), mean=figures.mean(scores), right=sum(known) if known else None
    )


def _bounds(scores: np.ndarray, n: int) -> Bounds:
    """The mean if all verdicts without a score had the lowest, or the highest score; open rows are none of these."""
    if n == 0:
        return Bounds(low=None, high=None)
    low, high = (scores.sum() + score * (n - len(scores)) for score in SCALE)
    return Bounds(low=round(float(low / n), POINTS), high=round(float(high / n), POINTS))
