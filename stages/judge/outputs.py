"""What the stage writes: the verdicts, their statistics, and the scores as a table and as a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.common.files import atomic_file
from stages.common.metrics.judge import (
    JudgeIdentity,
    JudgeMetrics,
    ModelScores,
    PairSelfTest,
    PairwiseMetrics,
    PanelMetrics,
    SelfTest,
)
from stages.common.records import ModelName, write_metrics, write_records
from stages.common.results.judge import (
    JUDGE_METRICS,
    PAIRWISE,
    SCORES,
    SCORES_CSV,
    SCORES_PLOT,
    VERDICTS,
    PairVerdict,
    Verdict,
)
from stages.judge.answers import Answers
from stages.judge.scores.calibration import calibrate
from stages.judge.scores.headlines import headlines
from stages.judge.scores.pairwise import summarise_pairs
from stages.judge.scores.plot import plot_scores
from stages.judge.scores.right import right_difference
from stages.judge.scores.several_judges import names_of, summarise_panel
from stages.judge.scores.statistics import difference, summarise
from stages.params.judge import Judge


@dataclass(frozen=True)
class Scored:
    """The answers, scored.

    Attributes:
        judge: the judge that scored.
        self_test: its scores of answers whose quality is known.
        verdicts: one verdict an answer, in the order of the questions.
    """

    judge: JudgeIdentity
    self_test: SelfTest
    verdicts: Sequence[Verdict]

    def by_model(self) -> dict[ModelName, list[Verdict]]:
        """The verdicts on each model's answers, the tuned model first."""
        models = sorted({verdict.model for verdict in self.verdicts}, reverse=True)
        return {model: [verdict for verdict in self.verdicts if verdict.model == model] for model in models}


@dataclass(frozen=True)
class Compared:
    """The two models' answers, compared row by row.

    Attributes:
        judge: the judge that compared.
        self_test: its verdicts on pairs whose better answer is known.
        pairs: one verdict a row.
    """

    judge: JudgeIdentity
    self_test: PairSelfTest
    pairs: Sequence[PairVerdict]


def write(
    answers: Answers, scored: Scored, compared: Compared | None, settings: Judge, further: Sequence[Scored] = ()
) -> None:
    """Write all files of the stage, each whole or not at all.

    Args:
        answers: the answers.
        scored: their scores by the first judge.
        compared: both models' answers side by side; None in the mode score, and before they are compared.
        settings: settings; those of the statistics are used.
        further: scores by the further judges of a panel.
    """
    by_model = scored.by_model()
    metrics = metrics_of(answers, scored, compared, settings, further)
    write_records(VERDICTS, scored.verdicts)
    _write_pairs(compared)
    write_metrics(JUDGE_METRICS, metrics)
    write_metrics(SCORES, headlines(metrics))
    _write_table(answers.categories, by_model, _by_judge([scored, *further]))
    plot_scores(SCORES_PLOT, scored.verdicts, metrics)


def metrics_of(
    answers: Answers, scored: Scored, compared: Compared | None, settings: Judge, further: Sequence[Scored] = ()
) -> JudgeMetrics:
    """All figures of the stage; arguments as of `write`."""
    resamples, seed = settings.bootstrap_resamples, settings.seed
    by_model = scored.by_model()
    tuned, base = by_model["tuned"], by_model.get("base")

    def scores(model: ModelName) -> ModelScores:
        texts, duplicates = answers.texts(model), answers.duplicates
        found = by_model[model]
        return summarise(
            found,
            answers.categories,
            texts,
            duplicates=duplicates,
            sources=answers.sources or None,
            resamples=resamples,
            seed=seed,
        )

    def pairwise(found: Compared) -> PairwiseMetrics:
        return summarise_pairs(found.pairs, found.judge, found.self_test, resamples=resamples, seed=seed)

    return JudgeMetrics(
        judge=scored.judge,
        self_test=scored.self_test,
        tuned=scores("tuned"),
        base=scores("base") if base else None,
        difference=difference(tuned, base, resamples=resamples, seed=seed) if base else None,
        right_difference=right_difference(tuned, base) if base else None,
        calibration=calibrate(scored.verdicts, answers.labels, resamples=resamples, seed=seed)
        if answers.labels
        else None,
        pairwise=pairwise(compared) if compared else None,
        panel=_panel([scored, *further], settings) if further else None,
    )


def _panel(scored: Sequence[Scored], settings: Judge) -> PanelMetrics:
    judges, verdicts = [one.judge for one in scored], [one.by_model() for one in scored]
    return summarise_panel(judges, verdicts, resamples=settings.bootstrap_resamples, seed=settings.seed)


def _by_judge(scored: Sequence[Scored]) -> dict[str, list[float | None]]:
    """The scores of the further judges by the name of a column of the table."""
    names = names_of([one.judge for one in scored])
    return {
        f"{model}_by_{name}": [verdict.score for verdict in verdicts]
        for name, one in list(zip(names, scored, strict=True))[1:]
        for model, verdicts in one.by_model().items()
    }


def _write_pairs(compared: Compared | None) -> None:
    if compared is not None and compared.pairs:
        write_records(PAIRWISE, compared.pairs)
        return
    with atomic_file(PAIRWISE) as stream:
        stream.write("\n")  # DVC warns of an output that is empty


def _write_table(
    categories: Mapping[str, str],
    by_model: Mapping[ModelName, Sequence[Verdict]],
    further: Mapping[str, Sequence[float | None]],
) -> None:
    """Write the scores of each row as CSV, for `dvc plots`; those of further judges stand last."""
    with atomic_file(SCORES_CSV) as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["id", "category", *by_model, *(f"{model}_right" for model in by_model), *further])
        columns: list[Sequence[float | None]] = [[verdict.score for verdict in found] for found in by_model.values()]
        columns += [[None if v.right is None else int(v.right) for v in found] for found in by_model.values()]
        columns += further.values()
        table.writerows(zip(categories.keys(), categories.values(), *columns, strict=True))
