"""The scores before and after fine-tuning with their intervals: over all rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from stages.common.html_page import Content, Html, element, joined, table
from stages.common.metrics.generate import AnswerMetrics
from stages.common.metrics.judge import Interval, JudgeMetrics, ModelScores
from stages.common.plurals import counted
from stages.common.records import ModelName
from stages.judge.report.drawings import strip
from stages.judge.report.facts import Facts, Missing
from stages.judge.report.parts import (
    NAMES,
    definitions,
    figure,
    in_percent,
    note,
    number,
    paragraph,
    section,
    wide,
)
from stages.judge.scores.statistics import SCALE
from stages.running.summary_parts.lines import percent


def scores(facts: Facts) -> Html:
    """The figures of both models, and the measures that need no judge."""
    return section("scores", "Scores", *_scores(facts))


def _scores(facts: Facts) -> Iterator[Html]:
    judged = facts.judged
    if isinstance(judged, Missing):
        yield paragraph(judged.why)
        return
    yield wide(_before_and_after(judged), "scores before and after fine-tuning")
    tuned = judged.tuned
    counts = f"{tuned.scored:,} scored, {tuned.invalid:,} invalid, {tuned.failed:,} failed"
    if tuned.open:
        counts += f"; {counted(tuned.open, 'row')} with many right answers, which this judge cannot score, in no figure"
    yield note(
        f"Of {counted(tuned.n, 'answer')} of the fine-tuned model: {counts}. In brackets: 95 % intervals, for which "
        "rows that share an instruction count together."
    )
    further = list(_further(judged))
    if further:
        yield definitions(further)
    if not isinstance(facts.answered, Missing):
        yield element("h3", "Without a judge")
        yield _measures(facts.answered.by_model())


def _before_and_after(judged: JudgeMetrics) -> Html:
    models = judged.by_model()
    rows: list[Sequence[Content]] = []
    if judged.tuned.right is not None:
        change = judged.right_difference
        rows.append(
            (
                "right answers, %",
                *_cells(models, _share),
                "" if change is None else figure(change.difference, change.interval, 100, sign="+"),
                strip([(name, *_percent(one)) for name, one in models.items()], *SCALE),
            )
        )
    change_of_mean = judged.difference
    rows.append(
        (
            "mean score, points of 100",
            *_cells(models, lambda one: figure(one.mean, one.interval)),
            "" if change_of_mean is None else figure(change_of_mean.mean, change_of_mean.interval, sign="+"),
            strip([(model, one.mean, one.interval) for model, one in models.items()], *SCALE),
        )
    )
    return table(
        ["figure", NAMES["base"], NAMES["tuned"], "change", "0 to 100"], rows, most=len(rows), figures=(1, 2, 3)
    )


def _cells(
    models: Mapping[ModelName, ModelScores], shown: Callable[[ModelScores], Html | None]
) -> tuple[Content, Content]:
    """The cells of both models; a dash for one that did not answer."""
    base, tuned = ((shown(models[name]) or "–") if name in models else "–" for name in NAMES)
    return base, tuned


def _share(found: ModelScores) -> Html | None:
    """The share of right answers in percent, with its interval."""
    return None if found.right is None else figure(found.right.share, found.right.interval, 100)


def _percent(found: ModelScores) -> tuple[float | None, Interval | None]:
    """The same as numbers."""
    return (None, None) if found.right is None else (100 * found.right.share, in_percent(found.right.interval))


def _further(judged: JudgeMetrics) -> Iterator[tuple[str, Content]]:
    """What else the judge and people have said."""
    tuned = judged.tuned
    hard = tuned.not_equal_to_reference
    if hard.mean is not None and hard.scored < tuned.scored:
        yield f"on the {counted(hard.scored, 'answer')} not equal to the reference", figure(hard.mean, hard.interval)
    alone = tuned.without_twin_in_train
    if alone.mean is not None and alone.n < tuned.n:
        yield f"on {counted(alone.scored, 'row')} whose prompt is not in train", figure(alone.mean, alone.interval)
    if (pairs := judged.pairwise) is not None:
        won = figure(pairs.win_rate.mean, pairs.win_rate.interval, 100)
        counts = [counted(pairs.wins, "win"), counted(pairs.ties, "tie"), counted(pairs.losses, "loss", "losses")]
        yield "side by side with before, % won", joined([won, f"({', '.join(counts)})"], " ")
    if (panel := judged.panel) is not None:
        median = figure(panel.tuned.median.mean, panel.tuned.median.interval)
        yield (
            f"median of {len(panel.names)} judges",
            joined([median, f"Krippendorff’s alpha {number(panel.tuned.alpha, 2)}"], " "),
        )
    found = None if judged.calibration is None else judged.calibration.means.get("tuned")
    if found is not None and found.calibrated is not None:
        by = f"by {counted(found.graded.n, 'human label')}"
        yield "calibrated mean", joined([figure(found.calibrated, found.interval), by], " ")


def _measures(models: Mapping[ModelName, AnswerMetrics]) -> Html:
    kinds: list[tuple[str, Callable[[AnswerMetrics], str]]] = [
        ("equal to the reference, %", lambda one: percent(one.exact_match, 1)),
        ("token F1, of 1", lambda one: number(one.token_f1, 2)),
        ("chrF, of 100", lambda one: number(one.chrf)),
        ("ended by themselves, %", lambda one: percent(one.end_of_text_rate)),
        ("cut at the longest answer, %", lambda one: percent(one.cap_hit_rate)),
        ("with parts of the prompt’s template, %", lambda one: percent(one.template_leaks)),
        ("length beside the reference’s", lambda one: number(one.length_ratio, 2)),
    ]
    rows = [(name, *(shown(models[m]) if m in models else "–" for m in NAMES)) for name, shown in kinds]
    return table(["measure", *NAMES.values()], rows, most=len(rows), figures=(1, 2))
