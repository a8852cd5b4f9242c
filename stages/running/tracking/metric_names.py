"""The names of metrics in MLflow, and the figures behind them: those by which runs are compared.

Everything else that the stages measured, and what they cost, is in the run as files: among a hundred metrics nobody
finds the loss curves. MLflow shows metrics by the part of their name before the slash, in the order of the alphabet.
The names are such that loss and score come first, and the ends of an interval follow what it is of, the lower one
first.
"""

from __future__ import annotations

from collections.abc import Mapping

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
from stages.common.results.finetune import StepRecord

#: Figures by their names in MLflow; None where there is nothing to log.
Figures = dict[str, float | None]

#: The figures that a table of runs shows: the mean score with the ends of its 95 % interval, the right answers and of
#: how many, and the validation loss of the weights that are kept.
SCORE, SCORE_LOWER, SCORE_UPPER = "score/mean", "score/mean_ci95_lower", "score/mean_ci95_upper"
RIGHT_N, RIGHT_OF = "score/right_n", "score/right_of"
KEPT_LOSS = "loss/val_kept"
#: The figures of a group of trainings, in its run: their number, and the mean of their scores with the ends of its 95 %
#: interval, which is over seeds and instructions.
SEEDS, SEEDS_SCORE = "seeds/trainings", "seeds/score_mean"
SEEDS_SCORE_LOWER, SEEDS_SCORE_UPPER = "seeds/score_mean_ci95_lower", "seeds/score_mean_ci95_upper"
#: The curves.
TRAIN_LOSS, VAL_LOSS = "loss/train", "loss/val"

#: The names of these figures in runs that version 0.2 has recorded.
_OF_0_2 = {
    "judge/score_mean": SCORE,
    "judge/ci95_low": SCORE_LOWER,
    "judge/ci95_high": SCORE_UPPER,
    "judge/n_right": RIGHT_N,
    "judge/right_of": RIGHT_OF,
    KEPT_LOSS: KEPT_LOSS,
    "val/loss": VAL_LOSS,
    "train/loss": TRAIN_LOSS,
}
#: The names that the mean score has had.
SCORES = (SCORE, "judge/score_mean")


def of_any_version(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a run of MLflow; those that a table of runs shows by the names that they have here."""
    return {_OF_0_2.get(name, name): value for name, value in metrics.items()}


def of_run(
    trained: FinetuneMetrics | None, answered: GenerateMetrics | None, judged: JudgeMetrics | None
) -> dict[str, float]:
    """The figures of a run, by metric; None for a stage that has left no metrics."""
    figures: Figures = {}
    if trained is not None:
        figures |= _of_training(trained)
    if judged is not None:
        figures |= _of_scores(judged)
    if answered is not None:
        figures |= _of_answers(answered)
    return _without_gaps(figures)


def of_step(row: StepRecord) -> dict[str, float]:
    """The points of the curves at one step, by metric."""
    points: Figures = {
        TRAIN_LOSS: row.train_loss,
        VAL_LOSS: row.val_loss,
        "train/learning_rate": row.learning_rate,
        "train/grad_norm": row.grad_norm,
        "train/tokens_seen": row.tokens_seen,
    }
    return _without_gaps(points)


def _of_training(found: FinetuneMetrics) -> Figures:
    """The losses of the weights kept and of the best step."""
    return {
        KEPT_LOSS: found.val_loss,
        "loss/val_kept_step": found.kept_step,
        "loss/val_best": found.best_val_loss,
        "loss/val_best_step": found.best_step,
    }


def _of_answers(found: GenerateMetrics) -> Figures:
    """The measures that need no judge: ``text/...`` of the tuned model, ``text_base/...`` of the base model."""
    figures: Figures = {}
    if found.tuned is not None:
        figures |= _measures("text", found.tuned)
    if found.base is not None:
        figures |= _measures("text_base", found.base)
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
    """The scores: ``score/...`` of the tuned model, ``score_base/...`` of the base model.

    ``score/vs_base`` is the mean of tuned minus base, ``calibrated_mean`` a mean corrected by human labels,
    ``graded_mean`` that of the labels alone, and
    ``right`` the share of right answers from 0 to 1 where the judge says which are.
    ``score_pairwise/...`` is about the answers side by side, with rates from 0 to 1, and ``score_panel/...`` about the
    scores of several judges.
    """
    figures = _scores("score", found.tuned)
    if found.base is not None:
        figures |= _scores("score_base", found.base)
    if found.difference is not None:
        figures["score/vs_base"] = found.difference.mean
        figures |= _ends("score/vs_base", found.difference.interval)
    if found.right_difference is not None:
        figures["score/right_vs_base"] = found.right_difference.difference
        figures |= _ends("score/right_vs_base", found.right_difference.interval)
    if found.calibration is not None:
        figures |= _calibrated(found.calibration)
    if found.pairwise is not None:
        figures |= _pairwise(found.pairwise)
    if found.panel is not None:
        figures |= _panel("score_panel", found.panel.tuned)
        if found.panel.base is not None:
            figures |= _panel("score_panel_base", found.panel.base)
    return figures


def _panel(name: str, found: PanelScores) -> Figures:
    """The scores of several judges: the mean of their median, Krippendorff's alpha, the right answers by majority."""
    return {
        f"{name}/median": found.median.mean,
        **_ends(f"{name}/median", found.median.interval),
        f"{name}/n_scored": found.n,
        f"{name}/alpha": found.alpha,
        **_ends(f"{name}/alpha", found.alpha_interval),
        **_right(name, found.right),
    }


def _scores(name: str, found: ModelScores) -> Figures:
    return {
        f"{name}/mean": found.mean,
        f"{name}/n_scored": found.scored,
        f"{name}/n_invalid": found.invalid,
        f"{name}/n_failed": found.failed,
        f"{name}/n_open": found.open,
        **_ends(f"{name}/mean", found.interval),
        **_right(name, found.right),
    }


def _right(name: str, found: Right | None) -> Figures:
    """The right answers: their number, and their share from 0 to 1."""
    if found is None:
        return {}
    figures: Figures = {f"{name}/right_n": found.right, f"{name}/right_of": found.n, f"{name}/right": found.share}
    return figures | _ends(f"{name}/right", found.interval)


def _calibrated(found: CalibrationMetrics) -> Figures:
    figures: Figures = {}
    for model, mean in found.means.items():
        name = "score" if model == "tuned" else "score_base"
        figures[f"{name}/calibrated_mean"] = mean.calibrated
        figures |= _ends(f"{name}/calibrated_mean", mean.interval)
        figures[f"{name}/graded_mean"] = mean.graded.mean
        figures[f"{name}/n_graded"] = mean.graded.n
    if found.difference is not None:
        figures["score/calibrated_vs_base"] = found.difference.mean
        figures |= _ends("score/calibrated_vs_base", found.difference.interval)
    return figures


def _pairwise(found: PairwiseMetrics) -> Figures:
    name = "score_pairwise"
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
        **_ends(f"{name}/win_rate", found.win_rate.interval),
        f"{name}/lc_win_rate": found.length_controlled.win_rate,
        **_ends(f"{name}/lc_win_rate", found.length_controlled.interval),
    }


def _ends(name: str, interval: Interval | None) -> Figures:
    """The ends of the 95 % interval of a figure."""
    return {} if interval is None else {f"{name}_ci95_lower": interval.low, f"{name}_ci95_upper": interval.high}


def _without_gaps(figures: Figures) -> dict[str, float]:
    """The figures that there are, as floats."""
    return {name: float(value) for name, value in figures.items() if value is not None}
