"""The scores of several judges on the same answers: their means, their median, how far they agree, and a majority."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stages.common.metrics.judge import JudgeIdentity, Mean, PanelMetrics, PanelScores
from stages.common.records import ModelName
from stages.common.results.judge import Verdict
from stages.judge.scores import figures
from stages.judge.scores.agreement import alpha, alpha_interval
from stages.judge.scores.bootstrap import mean_interval
from stages.judge.scores.figures import POINTS, SHARES, cluster_of
from stages.judge.scores.right import right_answers
from stages.judge.scores.statistics import GOOD, SCALE


def names_of(judges: Sequence[JudgeIdentity]) -> list[str]:
    """A name for each judge: its model, with its backend where two have the same."""
    names = [judge.name for judge in judges]
    return [
        f"{name} ({judge.backend})" if names.count(name) > 1 else name
        for name, judge in zip(names, judges, strict=True)
    ]


def summarise_panel(
    judges: Sequence[JudgeIdentity],
    verdicts: Sequence[Mapping[ModelName, Sequence[Verdict]]],
    *,
    resamples: int,
    seed: int,
) -> PanelMetrics:
    """The figures of a panel.

    Args:
        judges: the judges, the first one first.
        verdicts: each judge's verdicts on the answers of each model, one a test row.
        resamples: number of resamples of the bootstrap, which draws whole instructions.
        seed: seed of the bootstrap.
    """
    names = names_of(judges)

    def scores(model: ModelName) -> PanelScores:
        return _scores(names, [found[model] for found in verdicts], resamples=resamples, seed=seed)

    found = PanelMetrics(judges=list(judges[1:]), names=names, tuned=scores("tuned"))
    return found.model_copy(update={"base": scores("base")}) if "base" in verdicts[0] else found


def _scores(names: Sequence[str], verdicts: Sequence[Sequence[Verdict]], *, resamples: int, seed: int) -> PanelScores:
    by_id = [{verdict.id: verdict for verdict in found} for found in verdicts]
    rows = [[found[verdict.id] for found in by_id] for verdict in verdicts[0]]
    scored = [row for row in rows if all(verdict.score is not None for verdict in row)]
    scores = np.array([[verdict.score for verdict in row] for row in scored], dtype=np.float64)
    scores = scores.reshape(len(scored), len(names)).T
    clusters = [cluster_of(row[0]) for row in scored]
    medians = np.median(scores, axis=0) if len(scored) else np.zeros(0)
    interval = mean_interval(medians, clusters, bounds=SCALE, resamples=resamples, seed=seed)
    agreement = alpha(scores)
    return PanelScores(
        n=len(scored),
        left_out=len(rows) - len(scored),
        means={name: figures.mean(column) for name, column in zip(names, scores, strict=True)},
        median=Mean(n=len(scored), mean=figures.mean(medians), interval=figures.rounded(interval, POINTS)),
        right=right_answers([_by_majority(row) for row in scored]),
        alpha=None if agreement is None else round(agreement, SHARES) + 0.0,
        alpha_interval=figures.rounded(alpha_interval(scores, clusters, resamples=resamples, seed=seed), SHARES),
    )


def calls_right(verdict: Verdict) -> bool:
    """Whether a judge calls an answer right: where it does not say so itself, from `GOOD` points on."""
    return verdict.right if verdict.right is not None else (verdict.score or 0.0) >= GOOD


def _by_majority(row: Sequence[Verdict]) -> Verdict:
    """The verdict on an answer that more than half of the judges share; half of them are none."""
    return row[0].model_copy(update={"right": 2 * sum(map(calls_right, row)) > len(row)})
