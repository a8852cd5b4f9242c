"""Whole results of stages for tests that care about a few of their figures; the others are zero or empty."""

from __future__ import annotations

from typing import Any

from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.metrics.generate import AnswerMetrics
from stages.common.metrics.judge import (
    Agreement,
    Agreements,
    Bounds,
    CalibratedDifference,
    CalibratedMean,
    CalibrationMetrics,
    CategoryMean,
    CrossValidation,
    FaultCount,
    Interval,
    JudgeIdentity,
    JudgeMetrics,
    LengthControlled,
    Mean,
    ModelScores,
    PairSelfTest,
    PairwiseMetrics,
    Quartiles,
    Right,
    ScoredMean,
    SelfTest,
    WinRate,
)
from stages.common.metrics.split import Repeated, RepeatedPrompts, SplitMetrics
from stages.common.records import ModelName
from stages.running.costs import TrainingCosts


def split_metrics(**rows: int) -> SplitMetrics:
    return SplitMetrics(
        rows=rows,
        repeated_rows=Repeated(groups=0, rows_beyond_first=0),
        repeated_prompts=RepeatedPrompts(groups=0, rows_beyond_first=0, groups_with_different_outputs=0),
        prompts_also_in_train={},
        within_splits={},
        characters={},
        categories={},
    )


def finetune_metrics(**changes: Any) -> FinetuneMetrics:
    counts = {"parameters": 1, "precision": "fp32", "rows_train": 1, "rows_val": 1, "steps": 1, "epochs": 1}
    losses = dict.fromkeys(("val_loss_before", "val_loss", "last_val_loss", "best_val_loss"), 0.0)
    kept = {"tokens_seen": 0, "train_loss": None, "best_step": 1, "kept_step": 1}
    return FinetuneMetrics.model_validate(counts | losses | kept | changes)


def answer_metrics(**changes: Any) -> AnswerMetrics:
    counts = ("rows", "tokens", "end_of_text", "max_new_tokens", "context", "empty", "no_room")
    shares = ("exact_match", "token_f1", "chrf", "template_leaks", "length_ratio", "end_of_text_rate", "cap_hit_rate")
    return AnswerMetrics.model_validate(dict.fromkeys(counts, 0) | dict.fromkeys(shares, 0.0) | changes)


def interval(low: float | None, high: float | None) -> Interval:
    return Interval(level=0.95, low=low, high=high)


def model_scores(
    mean: float | None,
    *,
    scored: int,
    n: int,
    categories: dict[str, float | None] | None = None,
    faults: dict[str, float] | None = None,
    right: Right | None = None,
    open: int | None = None,
) -> ModelScores:
    """Scores whose interval is the mean plus and minus 5; categories by their means, faults by the points lost."""
    around = interval(None, None) if mean is None else interval(mean - 5, mean + 5)
    nothing = ScoredMean(n=0, scored=0, mean=None, interval=interval(None, None))
    return ModelScores(
        n=n,
        scored=scored,
        invalid=n - scored,
        failed=0,
        right=right,
        open=open,
        exact_matches=0,
        mean=mean,
        interval=around,
        mean_bounds=Bounds(low=None, high=None),
        median=mean,
        quartiles=Quartiles(lower=None, upper=None),
        share_80_or_more=None,
        not_equal_to_reference=nothing,
        without_twin_in_train=nothing,
        categories={name: CategoryMean(n=1, scored=1, mean=found) for name, found in (categories or {}).items()},
        faults={
            name: FaultCount(n=2, mean=10.0, points_lost=lost, examples=[]) for name, lost in (faults or {}).items()
        },
    )


def identity(**more: str) -> JudgeIdentity:
    own = {} if "model" in more else {"measure": "likeness"}
    return JudgeIdentity.model_validate({"fingerprint": "ab12", "backend": "reference"} | own | more)


def judge_metrics(judge: JudgeIdentity, tuned: ModelScores, **parts: Any) -> JudgeMetrics:
    return JudgeMetrics(judge=judge, self_test=passed(), tuned=tuned, **parts)


def passed(**changes: Any) -> SelfTest:
    """The self-test of a judge that can be believed, but for the changes."""
    test = SelfTest(
        separation=90.0,
        separations={},
        smallest="",
        right_above_near=1.0,
        cannot_tell=False,
        kinds={},
        scores={},
        without_score=0,
        unstable=0.0,
        weak_on=[],
    )
    return test.model_copy(update=changes)


def pairwise_metrics(
    mean: float | None, around: Interval, controlled: float | None, controlled_around: Interval, **changes: Any
) -> PairwiseMetrics:
    """Two wins, a tie and a row without a verdict, but for the changes."""
    counts = {"rows": 4, "wins": 2, "ties": 1, "losses": 0, "invalid": 1, "failed": 0, "identical": 0}
    more = {"inconsistent": 0, "clusters": 3, "consistency": 2 / 3, "first_position_share": 0.5}
    return PairwiseMetrics(
        judge=identity(),
        self_test=PairSelfTest(named_right=1.0, named_right_of={}, first_position_share=None, without_verdict=0),
        win_rate=WinRate(mean=mean, interval=around, bounds=Bounds(low=None, high=None)),
        length_controlled=LengthControlled(
            win_rate=controlled, interval=controlled_around, length_effect=None, mean_length_difference=None
        ),
        **counts | more | changes,
    )


def calibration_metrics(
    means: dict[ModelName, CalibratedMean],
    *,
    matched: int = 0,
    stale: int = 0,
    hard: Agreement | None = None,
    difference: Interval | None = None,
) -> CalibrationMetrics:
    """The judge beside human labels.

    Args:
        means: mean of each model.
        matched: labels of answers that were scored.
        stale: labels of other answers.
        hard: agreement on the answers not equal to their reference.
        difference: interval of a difference of -17.5 points; None where there is none.
    """
    return CalibrationMetrics(
        sha256="0" * 64,
        rows=matched + stale,
        stale=stale,
        matched=matched,
        agreement=Agreements(all=agreement(0, None), not_equal_to_reference=hard or agreement(0, None)),
        means=means,
        difference=None if difference is None else CalibratedDifference(mean=-17.5, interval=difference),
    )


def calibrated(
    raw: float | None, mean: float | None, around: Interval | None, *, n: int, helps: bool = True
) -> CalibratedMean:
    """A mean corrected by ``n`` human labels; ``helps``: whether the judge's scores predict labels."""
    found = CrossValidation(graded=20.0, judged=10.0 if helps else 30.0, judge_helps=helps)
    return CalibratedMean(
        raw=raw,
        graded=Mean(n=n, mean=mean, interval=around or interval(None, None)),
        calibrated=mean,
        interval=around,
        weight=None if mean is None else float(helps),
        cross_validation=None if mean is None else found,
    )


def agreement(n: int, pearson: float | None) -> Agreement:
    others = ("spearman", "kendall", "weighted_kappa", "mean_difference", "mean_absolute_difference")
    return Agreement(n=n, pearson=pearson, **dict.fromkeys(others))


def training_costs(**changes: Any) -> TrainingCosts:
    counts = ("steps", "evaluations", "useful_tokens", "computed_tokens", "padded_tokens", "evaluation_tokens")
    work = ("training_tflop", "plain_training_tflop", "evaluation_tflop", "peak_tflop_per_second")
    seconds = ("seconds", "evaluation_seconds", "checkpoint_seconds")
    unknown = ("hfu", "tokens_per_second", "estimated_seconds", "seconds_to_first_step")
    values = {"history": "0" * 64, "device": "cpu", "precision": "fp32"}
    values |= dict.fromkeys((*counts, "peak_memory_bytes", "estimated_memory_bytes"), 0)
    values |= dict.fromkeys((*work, *seconds), 0.0) | dict.fromkeys(unknown)
    return TrainingCosts.model_validate(values | changes)
