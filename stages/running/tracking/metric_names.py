"""The names of metrics in MLflow, and the figures behind them: those by which runs are compared, and the costs.

Everything else that the stages measured is in the run as files: among a hundred metrics nobody finds the loss curves.
"""

from __future__ import annotations

from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.metrics.generate import AnswerMetrics, GenerateMetrics
from stages.common.metrics.judge import (
    CalibrationMetrics,
    Interval,
    JudgeMetrics,
    ModelScores,
    PairwiseMetrics,
    PanelScores,
    Right,
)
from stages.common.records import Metrics
from stages.common.results.finetune import StepRecord
from stages.running.costs import JudgingCosts, TrainingCosts

#: Figures by their names in MLflow; None where there is nothing to log.
Figures = dict[str, float | None]


def of_run(
    trained: FinetuneMetrics | None, answered: GenerateMetrics | None, judged: JudgeMetrics | None
) -> dict[str, float]:
    """The figures of a run, by metric; None for a stage that has left no metrics."""
    figures: Figures = {}
    if trained is not None:
        figures |= _of_training(trained)
    if answered is not None:
        figures |= _of_answers(answered)
    if judged is not None:
        figures |= _of_scores(judged)
    return _without_gaps(figures)


def of_step(row: StepRecord) -> dict[str, float]:
    """The points of the curves at one step, by metric."""
    points: Figures = {
        "train/loss": row.train_loss,
        "val/loss": row.val_loss,
        "train/learning_rate": row.learning_rate,
        "train/grad_norm": row.grad_norm,
        "train/tokens_seen": row.tokens_seen,
    }
    return _without_gaps(points)


def of_training_costs(costs: TrainingCosts) -> dict[str, float]:
    """What a training cost: ``cost/...``, the numbers alone."""
    return _costs("cost/", costs)


def of_judging_costs(costs: JudgingCosts) -> dict[str, float]:
    """What asking a judge cost: ``cost/judge_...``."""
    return _costs("cost/judge_", costs)


def _costs(prefix: str, costs: Metrics) -> dict[str, float]:
    known = costs.model_dump(exclude_unset=True)
    return {f"{prefix}{name}": value for name, value in known.items() if isinstance(value, int | float)}


def _of_training(found: FinetuneMetrics) -> Figures:
    """The losses of the weights kept and of the best step."""
    return {
        "val/kept_loss": found.val_loss,
        "val/kept_step": found.kept_step,
        "val/best_loss": found.best_val_loss,
        "val/best_step": found.best_step,
    }


def _of_answers(found: GenerateMetrics) -> Figures:
    """The measures that need no judge: ``generate/...`` of the tuned model, ``generate_base/...`` of the base model."""
    figures: Figures = {}
    if found.tuned is not None:
        figures |= _measures("generate", found.tuned)
    if found.base is not None:
        figures |= _measures("generate_base", found.base)
    return figures


def _measures(name: str, found: AnswerMetrics) -> Figures:
    return {
        f"{name}/exact_match": found.exact_match,
        f"{name}/token_f1": found.token_f1,
        f"{name}/chrf": found.chrf,
        f"{name}/length_ratio": found.length_ratio,
        f"{name}/end_of_text_rate": found.end_of_text_rate,
        f"{name}/cap_hit_rate": found.cap_hit_rate,
        f"{name}/template_leaks": found.template_leaks,
        f"{name}/bf16_changed": found.bf16_changed,
    }


def _of_scores(found: JudgeMetrics) -> Figures:
    """The scores: ``judge/...`` of the tuned model, ``judge_base/...`` of the base model.

    ``judge/difference`` is the mean of tuned minus base, ``calibrated_mean`` a mean corrected by human labels,
    ``graded_mean`` that of the labels alone, and
    ``right`` the share of right answers from 0 to 1 where the judge says which are.
    ``judge_pairwise/...`` is about the answers side by side, with rates from 0 to 1, and ``judge_panel/...`` about the
    scores of several judges.
    """
    figures = _scores("judge", found.tuned)
    if found.base is not None:
        figures |= _scores("judge_base", found.base)
    if found.difference is not None:
        figures["judge/difference"] = found.difference.mean
        figures |= _ends("judge/difference_ci95", found.difference.interval)
    if found.right_difference is not None:
        figures["judge/right_difference"] = found.right_difference.difference
        figures |= _ends("judge/right_difference_ci95", found.right_difference.interval)
    if found.calibration is not None:
        figures |= _calibrated(found.calibration)
    if found.pairwise is not None:
        figures |= _pairwise(found.pairwise)
    if found.panel is not None:
        figures |= _panel("judge_panel", found.panel.tuned)
        if found.panel.base is not None:
            figures |= _panel("judge_panel_base", found.panel.base)
    return figures


def _panel(name: str, found: PanelScores) -> Figures:
    """The scores of several judges: the mean of their median, Krippendorff's alpha, the right answers by majority."""
    return {
        f"{name}/median": found.median.mean,
        **_ends(f"{name}/median_ci95", found.median.interval),
        f"{name}/n_scored": found.n,
        f"{name}/alpha": found.alpha,
        **_ends(f"{name}/alpha_ci95", found.alpha_interval),
        **_right(name, found.right),
    }


def _scores(name: str, found: ModelScores) -> Figures:
    return {
        f"{name}/score_mean": found.mean,
        f"{name}/n_scored": found.scored,
        f"{name}/n_invalid": found.invalid,
        f"{name}/n_failed": found.failed,
        f"{name}/n_open": found.open,
        **_ends(f"{name}/ci95", found.interval),
        **_right(name, found.right),
    }


def _right(name: str, found: Right | None) -> Figures:
    """The right answers: their number, and their share from 0 to 1."""
    if found is None:
        return {}
    figures: Figures = {f"{name}/n_right": found.right, f"{name}/right_of": found.n, f"{name}/right": found.share}
    return figures | _ends(f"{name}/right_ci95", found.interval)


def _calibrated(found: CalibrationMetrics) -> Figures:
    figures: Figures = {}
    for model, mean in found.means.items():
        name = "judge" if model == "tuned" else "judge_base"
        figures[f"{name}/calibrated_mean"] = mean.calibrated
        figures |= _ends(f"{name}/calibrated_ci95", mean.interval)
        figures[f"{name}/graded_mean"] = mean.graded.mean
        figures[f"{name}/n_graded"] = mean.graded.n
    if found.difference is not None:
        figures["judge/calibrated_difference"] = found.difference.mean
        figures |= _ends("judge/calibrated_difference_ci95", found.difference.interval)
    return figures


def _pairwise(found: PairwiseMetrics) -> Figures:
    name = "judge_pairwise"
    return {
        f"{name}/n_wins": found.wins,
        f"{name}/n_ties": found.ties,
        f"{name}/n_losses": found.losses,
        f"{name}/n_invalid": found.invalid,
        f"{name}/n_failed": found.failed,
        f"{name}/n_open": found.open,
        f"{name}/consistency": found.consistency,
        f"{name}/first_position_share": found.first_position_share,
        f"{name}/win_rate": found.win_rate.mean,
        **_ends(f"{name}/win_rate_ci95", found.win_rate.interval),
        f"{name}/lc_win_rate": found.length_controlled.win_rate,
        **_ends(f"{name}/lc_win_rate_ci95", found.length_controlled.interval),
    }


def _ends(name: str, interval: Interval | None) -> Figures:
    return {} if interval is None else {f"{name}_low": interval.low, f"{name}_high": interval.high}


def _without_gaps(figures: Figures) -> dict[str, float]:
    """The figures that there are, as floats."""
    return {name: float(value) for name, value in figures.items() if value is not None}
