"""What the stage judge counts and measures: its metrics.json and its scores.json.

A metric whose default is None is absent from the file where it does not apply, and never null there.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from stages.common.records import Metrics, ModelName


def is_none(value: Any) -> bool:
    """Whether a field is left out of its file, where its default is None."""
    return value is None


class Interval(Metrics):
    """A confidence interval of ``level``: both ends, or neither; ``method`` says how it was made or why it is none."""

    level: float
    low: float | None
    high: float | None
    method: str | None = Field(default=None, exclude_if=is_none)


class Bounds(Metrics):
    """A figure if all rows without a score had the lowest, or the highest one."""

    low: float | None
    high: float | None


class Mean(Metrics):
    """A mean over ``n`` rows, with its interval."""

    n: int
    mean: float | None
    interval: Interval


class ScoredMean(Metrics):
    """A mean over the ``scored`` of ``n`` rows, with its interval."""

    n: int
    scored: int
    mean: float | None
    interval: Interval


class Right(Metrics):
    """The ``right`` ones of ``n`` answers of which the judge says whether they are, and their share from 0 to 1."""

    n: int
    right: int
    share: float
    interval: Interval


class RightDifference(Metrics):
    """How the share of right answers changed on ``n`` rows, of which some were ``gained`` and some ``lost``."""

    n: int
    gained: int
    lost: int
    difference: float
    interval: Interval


class Quartiles(Metrics):
    """The first and the third quartile."""

    lower: float | None
    upper: float | None


class CategoryMean(Metrics):
    """The mean score of a category or of a source, over the ``scored`` of its ``n`` rows, and its ``right`` answers.

    ``right`` is absent where the judge does not say which answers are.
    """

    n: int
    scored: int
    mean: float | None
    right: int | None = Field(default=None, exclude_if=is_none)


class FaultExample(Metrics):
    """An answer that has a fault."""

    id: str
    score: float
    answer: str


class FaultCount(Metrics):
    """The answers with one fault.

    Args:
        n: number of these answers.
        mean: mean of their scores.
        points_lost: what the model's mean would gain if all of them scored 100. An answer counts in each of its faults.
        examples: those with the lowest scores.
    """

    n: int
    mean: float
    points_lost: float
    examples: list[FaultExample]


class ModelScores(Metrics):
    """The statistics of one model's verdicts; ``n`` = ``scored`` + ``invalid`` + ``failed`` + ``open``.

    Args:
        n: answers.
        scored: answers with a score.
        invalid: answers to which the judge replied without a score.
        failed: answers to which no reply could be had.
        open: answers to rows with many right answers, of which this judge cannot say whether they are right; absent
            where there is none.
        right: the right answers; absent where the judge does not say which are.
        exact_matches: answers equal to their reference.
        mean: mean score.
        interval: interval of the mean, for which whole instructions are drawn.
        mean_bounds: the mean if all answers without a score had 0 or 100.
        median: median score.
        quartiles: quartiles of the scores.
        share_80_or_more: share of the scores that are 80 or more.
        not_equal_to_reference: mean over the answers that are not equal to their reference.
        without_twin_in_train: mean over the rows that are no duplicates of train: whose instruction and input do not
            occur there.
        mean_spread: mean standard deviation of a row's repeated judgements; absent where each was asked for once.
        categories: mean of each category.
        sources: mean of each source of a mix; absent where the dataset has one source.
        faults: answers by fault, the largest loss of points first.
    """

    n: int
    scored: int
    invalid: int
    failed: int
    open: int | None = Field(default=None, exclude_if=is_none)
    right: Right | None = Field(default=None, exclude_if=is_none)
    exact_matches: int
    mean: float | None
    interval: Interval
    mean_bounds: Bounds
    median: float | None
    quartiles: Quartiles
    share_80_or_more: float | None
    not_equal_to_reference: ScoredMean
    without_twin_in_train: ScoredMean
    mean_spread: float | None = Field(default=None, exclude_if=is_none)
    categories: dict[str, CategoryMean]
    sources: dict[str, CategoryMean] | None = Field(default=None, exclude_if=is_none)
    faults: dict[str, FaultCount]


#: The marks of a judge whose scores are not to be believed.
REFUSED, CANNOT_TELL = "refused by its self-test", "cannot tell right from wrong"


class JudgeIdentity(Metrics):
    """Who judged: scores are comparable where ``fingerprint`` is equal. Further fields are the judge's own, as text.

    ``self_test`` is its mark (`SelfTest.mark`), which is no part of the fingerprint; it is absent where there is none.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str] = Field(init=False)

    fingerprint: str
    backend: str

    @property
    def model(self) -> str | None:
        """The name of a judge that is a language model; None for one that is not."""
        return self._own("model")

    @property
    def measure(self) -> str | None:
        """What a judge computes that is a formula; None for a language model."""
        return self._own("measure")

    @property
    def name(self) -> str:
        """The judge's name for people."""
        return self.model or f"built-in {self.backend} judge"

    @property
    def mark(self) -> str | None:
        """What everything that shows its scores has to say of it; None for a judge that can be believed."""
        return self._own("self_test")

    def marked(self, name: str) -> str:
        """A name of the judge with its mark."""
        return f"{name} ({self.mark.upper()})" if self.mark else name

    def is_same(self, other: JudgeIdentity) -> bool:
        """Whether two judges are one, whatever bar their self-tests had to reach."""
        return self._unmarked() == other._unmarked()

    def differs_by_data_alone(self, other: JudgeIdentity) -> bool:
        """Whether two judges are one but for the train rows that they have read, which follow from the data."""
        a, b = self._unmarked(), other._unmarked()
        of_data = {"fingerprint", "train_rows"}
        alike = {key for key in a.keys() | b.keys() if a.get(key) == b.get(key)}
        return "train_rows" not in alike and a.keys() | b.keys() <= alike | of_data

    def _unmarked(self) -> dict[str, str]:
        return {name: value for name, value in self.model_dump().items() if name != "self_test"}

    def _own(self, field: str) -> str | None:
        return (self.__pydantic_extra__ or {}).get(field)


class SelfTest(Metrics):
    """What a judge made of answers whose quality is known (`stages.judge.self_test`).

    Args:
        separation: mean score of right answers minus mean score of wrong ones.
        separations: mean score of right answers minus that of each kind of wrong answers.
        smallest: the kind with the smallest separation.
        right_above_near: share of pairs of a right answer in other words and a near miss in which the right one scores
            more, ties counting half.
        cannot_tell: whether that share is so small that the judge cannot tell right from wrong.
        kinds: mean score of each kind of answers.
        scores: scores of each kind of answers.
        without_score: probes to which the judge gave no score.
        first_without_score: what was wrong with the first of these; absent where there is none.
        unstable: share of probes that got another score when asked for again in the same words.
        weak_on: kinds of answers that the judge hardly tells from those that deserve the contrary.
        refused: why the judge did not pass, where it judges all the same; absent where it passed.
    """

    separation: float
    separations: dict[str, float]
    smallest: str
    right_above_near: float
    cannot_tell: bool
    kinds: dict[str, float]
    scores: dict[str, list[float]]
    without_score: int
    first_without_score: str | None = Field(default=None, exclude_if=is_none)
    unstable: float
    weak_on: list[str] = Field(default_factory=list)
    refused: str | None = Field(default=None, exclude_if=is_none)

    @property
    def mark(self) -> str | None:
        """What everything that shows the judge's scores has to say of it; None for a judge that can be believed."""
        marks = [REFUSED] if self.refused else []
        return "; ".join([*marks, CANNOT_TELL] if self.cannot_tell else marks) or None


class PairSelfTest(Metrics):
    """What a judge made of pairs of a right and a wrong answer.

    Args:
        named_right: share of verdicts that name the right answer.
        named_right_of: their number, for each kind of wrong answers.
        first_position_share: share that names the answer shown first, of the verdicts that name one.
        without_verdict: pairs without a verdict.
        first_without_verdict: what was wrong with the first of these; absent where there is none.
        refused: why the judge did not pass, where it compares all the same; absent where it passed.
    """

    named_right: float
    named_right_of: dict[str, int]
    first_position_share: float | None
    without_verdict: int
    first_without_verdict: str | None = Field(default=None, exclude_if=is_none)
    refused: str | None = Field(default=None, exclude_if=is_none)

    @property
    def mark(self) -> str | None:
        """As of `SelfTest`."""
        return REFUSED if self.refused else None


class WinRate(Metrics):
    """How often the tuned model's answer is the better one, a tie counting half, from 0 to 1."""

    mean: float | None
    interval: Interval
    bounds: Bounds


class LengthControlled(Metrics):
    """The win rate that the tuned model would have if its answers were as long as the base model's.

    Args:
        win_rate: that win rate, from 0 to 1; null where the length cannot be told from the model.
        interval: interval of the win rate.
        length_effect: phi of the model (`stages.judge.scores.length_control`); above 0 if longer answers are preferred.
        mean_length_difference: mean of tuned minus base, in characters.
    """

    win_rate: float | None
    interval: Interval
    length_effect: float | None
    mean_length_difference: float | None


class SideBySide(Metrics):
    """Pairs of answers side by side: those of two models, or of two runs.

    ``rows`` = ``wins`` + ``ties`` + ``losses`` + ``invalid`` + ``failed`` + ``open``.

    Args:
        rows: rows that were compared.
        wins: rows whose second answer, the tuned model's or that of run B, is the better one in both orders.
        ties: rows without a winner.
        losses: rows whose first answer, the base model's or that of run A, is the better one in both orders.
        invalid: rows to which the judge replied without a verdict.
        failed: rows to which no reply could be had.
        open: rows with many right answers, which this judge cannot compare; in no other figure, and absent where there
            is none.
        identical: ties of answers that are equal; a language model was not asked.
        inconsistent: ties of answers on which the two orders do not agree.
        clusters: different instructions among the rows with an outcome.
        consistency: share with the same verdict in both orders, of the rows judged in both.
        first_position_share: share that names the answer shown first, of their verdicts that name one; 0.5 where the
            position does not matter.
        win_rate: how often the second answer is the better one, a tie counting half.
        length_controlled: that win rate if the second answers were as long as the first ones.
    """

    rows: int
    wins: int
    ties: int
    losses: int
    invalid: int
    failed: int
    open: int | None = Field(default=None, exclude_if=is_none)
    identical: int
    inconsistent: int
    clusters: int
    consistency: float | None
    first_position_share: float | None
    win_rate: WinRate
    length_controlled: LengthControlled


class _Comparing(Metrics):
    """A judge that compares.

    Args:
        judge: the judge that compared.
        self_test: its verdicts on pairs whose better answer is known.
    """

    judge: JudgeIdentity
    self_test: PairSelfTest


class PairwiseMetrics(SideBySide, _Comparing):
    """The two models' answers side by side. The file has the fields of the last base first: who compared."""


class Agreement(Metrics):
    """How a judge's scores agree with human labels of the same answers; null where there is nothing to correlate.

    Args:
        n: number of answers.
        pearson: Pearson's r.
        spearman: Spearman's rho.
        kendall: Kendall's tau-b.
        weighted_kappa: Cohen's kappa with quadratic weights over bands of 10 points (Cohen 1968).
        mean_difference: mean of score minus label, in points.
        mean_absolute_difference: mean distance of score and label, in points.
    """

    n: int
    pearson: float | None
    spearman: float | None
    kendall: float | None
    weighted_kappa: float | None
    mean_difference: float | None
    mean_absolute_difference: float | None


class Agreements(Metrics):
    """The agreement on all labelled answers, and on those not equal to their reference."""

    all: Agreement
    not_equal_to_reference: Agreement


class CrossValidation(Metrics):
    """How far a model's human labels are from what its other labels predict: root mean squared errors in points.

    Args:
        graded: error of the mean of the other labels; null where all labels are of one instruction.
        judged: error of that mean, moved by the judge's score; null as above.
        judge_helps: whether the second is smaller. Else the judge is not used.
    """

    graded: float | None
    judged: float | None
    judge_helps: bool


class CalibratedMean(Metrics):
    """A model's mean score, as judged, by human labels alone, and by both.

    Args:
        raw: mean as judged; null without scores.
        graded: mean of the human labels alone, with their number; its interval says why there is none.
        stale: labels of other answers than this model gives now; with one there is no mean from labels.
        calibrated: the mean to read, from 0 to 100: from labels and scores, or from labels alone where the judge does
            not help; null with too few labels, or with labels of other answers.
        interval: interval of that mean; null where it is.
        weight: points that the mean moves by for a point of score; 0 where the judge is not used, null as above.
        cross_validation: whether the judge helps; null as above.
    """

    raw: float | None
    graded: Mean
    stale: int = 0
    calibrated: float | None
    interval: Interval | None
    weight: float | None
    cross_validation: CrossValidation | None


class CalibratedDifference(Metrics):
    """The difference of both calibrated means, tuned minus base, with its interval.

    It is that of the means as they stand, each from 0 to 100, and its interval holds it.
    """

    mean: float
    interval: Interval


class CalibrationMetrics(Metrics):
    """The judge beside human labels.

    Args:
        sha256: SHA-256 of the file of labels.
        rows: labels in the file.
        stale: labels of other answers than these.
        matched: labels of answers that the judge scored.
        agreement: how the judge agrees with them.
        means: mean of each model.
        difference: difference of the means; absent where one of them is missing.
    """

    sha256: str
    rows: int
    stale: int
    matched: int
    agreement: Agreements
    means: dict[ModelName, CalibratedMean]
    difference: CalibratedDifference | None = Field(default=None, exclude_if=is_none)


class PanelScores(Metrics):
    """What several judges make of one model's answers, on the rows that all of them have scored.

    Args:
        n: these rows.
        left_out: rows that a judge has not scored, such as those that are open to the built-in judge.
        means: mean score of each judge, by its name.
        median: mean over the rows of the median of the judges' scores.
        right: answers that more than half of the judges call right, from 80 points on where a judge does not say so
            itself; absent without rows.
        alpha: Krippendorff's alpha for an interval scale (`stages.judge.scores.agreement`); null where all scores are
            the same.
        alpha_interval: interval of alpha, for which whole instructions are drawn.
    """

    n: int
    left_out: int
    means: dict[str, float | None]
    median: Mean
    right: Right | None = Field(default=None, exclude_if=is_none)
    alpha: float | None
    alpha_interval: Interval


class PanelMetrics(Metrics):
    """Several judges on the same answers.

    Args:
        judges: the further judges; the first one is that of the stage.
        names: names of all judges, the first one first.
        tuned: their scores of the fine-tuned model's answers.
        base: those of the base model's; absent where it did not answer.
    """

    judges: list[JudgeIdentity]
    names: list[str]
    tuned: PanelScores
    base: PanelScores | None = Field(default=None, exclude_if=is_none)


class JudgeMetrics(Metrics):
    """All figures of the stage judge.

    Args:
        judge: the judge that scored.
        self_test: its scores of answers whose quality is known.
        tuned: the fine-tuned model's scores.
        base: the base model's scores; absent where it did not answer.
        difference: tuned minus base, over the rows scored in both; absent where the base model did not answer.
        right_difference: the change of the share of right answers; absent where ``difference`` is, or where the judge
            does not say which answers are right.
        calibration: the scores beside human labels; absent without them.
        pairwise: the answers side by side; absent in the mode score.
        panel: the scores of all judges beside one another; absent with one judge.
    """

    judge: JudgeIdentity
    self_test: SelfTest
    tuned: ModelScores
    base: ModelScores | None = Field(default=None, exclude_if=is_none)
    difference: Mean | None = Field(default=None, exclude_if=is_none)
    right_difference: RightDifference | None = Field(default=None, exclude_if=is_none)
    calibration: CalibrationMetrics | None = Field(default=None, exclude_if=is_none)
    pairwise: PairwiseMetrics | None = Field(default=None, exclude_if=is_none)
    panel: PanelMetrics | None = Field(default=None, exclude_if=is_none)

    def by_model(self) -> dict[ModelName, ModelScores]:
        """The scores of the models that answered, the base model first."""
        found: dict[ModelName, ModelScores | None] = {"base": self.base, "tuned": self.tuned}
        return {name: scores for name, scores in found.items() if scores is not None}


class RightHeadline(Metrics):
    """The right answers of ``of``, and their share in percent with its 95 % interval."""

    n: int
    of: int
    percent: float
    ci95_low: float | None
    ci95_high: float | None


class RightChange(Metrics):
    """The change of the share of right answers, in percentage points, with its 95 % interval."""

    percent: float
    ci95_low: float | None
    ci95_high: float | None


class Headline(Metrics):
    """A mean in points, with its 95 % interval, and the right answers; those are absent where the judge counts none."""

    score: float | None
    ci95_low: float | None
    ci95_high: float | None
    right: RightHeadline | None = Field(default=None, exclude_if=is_none)


class DifferenceHeadline(Metrics):
    """A difference in points, with its 95 % interval, and that of the right answers where the judge counts them."""

    score: float | None
    ci95_low: float | None
    ci95_high: float | None
    right: RightChange | None = Field(default=None, exclude_if=is_none)


class TunedHeadline(Headline):
    """The fine-tuned model's mean, and how many of its answers are behind it; ``open`` is absent where none is."""

    scored: int
    invalid: int
    failed: int
    open: int | None = Field(default=None, exclude_if=is_none)


class PairwiseHeadline(Metrics):
    """The win rate with its 95 % interval, and what it is worth; ``judge`` is short for who compared."""

    judge: str
    win_rate: float | None
    ci95_low: float | None
    ci95_high: float | None
    length_controlled: float | None
    consistency: float | None


class PanelHeadline(Metrics):
    """The median of several judges with its 95 % interval, Krippendorff's alpha, and the right answers by majority."""

    judges: str
    median: float | None
    ci95_low: float | None
    ci95_high: float | None
    alpha: float | None
    right: RightHeadline | None = Field(default=None, exclude_if=is_none)


class Headlines(Metrics):
    """What `dvc metrics` shows of the result: few enough figures that they fit a screen.

    The judge is among them, as its name and the beginning of its fingerprint: `dvc metrics diff` would set two judges'
    scores beside one another and say nothing.
    """

    judge: str
    tuned: TunedHeadline
    base: Headline | None = Field(default=None, exclude_if=is_none)
    difference: DifferenceHeadline | None = Field(default=None, exclude_if=is_none)
    pairwise: PairwiseHeadline | None = Field(default=None, exclude_if=is_none)
    panel: PanelHeadline | None = Field(default=None, exclude_if=is_none)
