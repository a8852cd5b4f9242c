"""The scores by category, each with its rows and an interval, and by what is wrong with the answers."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from stages.common.html_page import Content, Html, element, joined, table
from stages.common.metrics.judge import CategoryMean, Interval, JudgeMetrics
from stages.common.results.judge import JUDGE_METRICS
from stages.judge.report.drawings import bar, strip
from stages.judge.report.facts import Facts, Missing
from stages.judge.report.parts import (
    LINES,
    NAMES,
    cut,
    figure,
    in_percent,
    note,
    number,
    of_two,
    paragraph,
    section,
    wide,
)
from stages.judge.report.rows import Row
from stages.judge.scores import figures
from stages.judge.scores.bootstrap import mean_interval
from stages.judge.scores.right import wilson
from stages.judge.scores.statistics import SCALE

#: Resamples where nobody knows how many the judge made.
_RESAMPLES = 10_000


def categories(facts: Facts) -> Html:
    """The scores by category, each with the number of its rows and an interval."""
    settings = facts.made("judge")
    ways = int(settings.get("bootstrap_resamples", _RESAMPLES)), int(settings.get("seed", 0))
    tell = functools.partial(_by_category, ways=ways)
    return section("categories", "By category", *of_two(facts.judged, facts.rows, tell))


def _by_category(judged: JudgeMetrics, rows: Sequence[Row], *, ways: tuple[int, int]) -> Iterator[Html]:
    by_right = judged.tuned.right is not None
    found = judged.tuned.categories
    ranked = sorted(found, key=lambda name: (_rank(found[name], by_right=by_right), name))
    lines = [_line(name, judged, rows, ways, by_right=by_right) for name in ranked[:LINES]]
    what = "right, %" if by_right else "mean score"
    header = ["category", "rows", f"{what}, 95 % interval", "0 to 100", NAMES["tuned"], NAMES["base"]]
    yield wide(
        table(header, lines, most=LINES, whole=str(JUDGE_METRICS), figures=(2, 4, 5), there=len(ranked)),
        "scores by category",
    )
    yield note("The best first. Few rows say little: read the interval, not the figure.")


def _rank(found: CategoryMean, *, by_right: bool) -> tuple[float, int]:
    """A key that puts the best category first, of equal ones that with more rows; one without a score last."""
    value = _value(found, by_right=by_right)
    return (1.0 if value is None else -value), -found.scored


def _line(
    name: str, judged: JudgeMetrics, rows: Sequence[Row], ways: tuple[int, int], *, by_right: bool
) -> list[Content]:
    tuned = judged.tuned.categories[name]
    base = judged.base.categories.get(name) if judged.base is not None else None
    value, interval = _of_category(name, rows, ways, by_right=by_right)
    before = None if base is None else _value(base, by_right=by_right)
    shown = [_count(one, by_right=by_right) if one is not None else "–" for one in (base, tuned)]
    around = "open" if not tuned.scored else figure(value, interval)
    if tuned.scored and (interval is None or interval.low is None):
        around = joined([around, element("span", "no interval", class_="ends")], " ")
    found = [("base", before, None), ("tuned", value, interval)]
    return [cut(name, 80), tuned.n, around, strip(found, *SCALE), *reversed(shown)]


def _count(found: CategoryMean, *, by_right: bool) -> str:
    if not found.scored:
        return "–"
    return f"{found.right:,} of {found.scored:,}" if by_right and found.right is not None else number(found.mean)


def _value(found: CategoryMean, *, by_right: bool) -> float | None:
    """The share of right answers in percent, or the mean score."""
    if by_right and found.right is not None:
        return 100 * found.right / found.scored if found.scored else None
    return found.mean


def _of_category(
    name: str, rows: Sequence[Row], ways: tuple[int, int], *, by_right: bool
) -> tuple[float | None, Interval | None]:
    """The figure of a category with its interval: of the share of right answers in percent, or of the mean score."""
    answers = [row.answers["tuned"] for row in rows if row.category == name and "tuned" in row.answers]
    if by_right:
        known = [(float(one.right), one.cluster) for one in answers if one.right is not None]
    else:
        known = [(one.score, one.cluster) for one in answers if one.score is not None]
    if not known:
        return None, None
    values = np.array([value for value, _ in known], dtype=np.float64)
    clusters = [cluster for _, cluster in known]
    if by_right:
        return 100 * float(values.mean()), in_percent(wilson(values, clusters))
    resamples, seed = ways
    found = mean_interval(values, clusters, bounds=SCALE, resamples=resamples, seed=seed)
    return float(values.mean()), figures.rounded(found, figures.POINTS)


def faults(facts: Facts) -> Html:
    """What is wrong with the answers, and the points that it costs."""
    return section("faults", "What is wrong with the answers", *_faults(facts))


def _faults(facts: Facts) -> Iterator[Html]:
    judged = facts.judged
    if isinstance(judged, Missing):
        yield paragraph(judged.why)
        return
    after, before = judged.tuned.faults, judged.base.faults if judged.base is not None else {}
    if not {*after, *before}:
        yield paragraph("Nothing that can be seen without a judge, and no wrong answer.")
        return
    names = [*after, *(name for name in before if name not in after)]
    rows: list[Sequence[Content]] = [
        (
            name,
            *(one.n if one is not None else 0 for one in (before.get(name), after.get(name))),
            number(after[name].points_lost if name in after else 0.0),
            bar(min(1.0, after[name].points_lost / 100) if name in after else 0.0),
        )
        for name in names
    ]
    header = ["fault", "answers before", "answers after", "points lost after", "0 to 100"]
    yield wide(table(header, rows, most=LINES, figures=(3,)), "faults of answers")
    yield note(
        "Points lost: what the mean would gain if all answers with the fault scored 100. An answer may have several "
        "faults. Wrong but fluent: a wrong answer in which nothing else is wrong to see."
    )
