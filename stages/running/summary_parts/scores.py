"""The summary of the judge's scores: means, comparison, human labels, categories, faults, and what a verdict cost."""

from __future__ import annotations

from collections.abc import Sequence

from stages.common.metrics.judge import (
    CalibrationMetrics,
    CategoryMean,
    FaultCount,
    Interval,
    JudgeMetrics,
    ModelScores,
    PairwiseMetrics,
    PanelMetrics,
)
from stages.common.plurals import counted, word
from stages.running.costs import JudgingCosts
from stages.running.summary_parts.lines import joined

_CATEGORIES = 4
_FAULTS = 3

#: Of a judge that is no language model.
REFERENCE_JUDGE = (
    "Right: with the key words of the reference, and nothing that contradicts them. The built-in judge knows words, "
    "not their meaning: docs/judge.md."
)


#: What is said of a mean without an interval, here and in the report.
FEW_ROWS = "a score of so few test rows says little: it has no interval, and of other rows it could be any other"


def score_lines(found: JudgeMetrics, costs: list[str]) -> list[str]:
    """The scores of both models and all that belongs to them.

    Args:
        found: the figures of the judge.
        costs: lines on what the verdicts cost.
    """
    judge = found.judge.model or f"the {found.judge.name}"
    lines = [f"mean of the answers with its 95 % interval, by {found.judge.marked(judge)}"]
    lines += _doubts(found)
    if found.base is not None:
        lines.append(_model("before", found.base))
    lines.append(_model("fine-tuned", found.tuned))
    if (difference := found.difference) is not None:
        mean = mean_of_100(difference.mean, difference.interval, sign="+")
        lines.append(f"difference {mean}   on {counted(difference.n, 'row')}")
    lines += _right(found)
    if found.panel is not None:
        lines += _panel(found.panel)
    if found.calibration is not None:
        lines += _calibration(found.calibration)
    if found.pairwise is not None:
        lines += _pairwise(found.pairwise)
    lines += (
        _categories(found.tuned.categories) + _sources(found.tuned.sources or {}) + _faults(found.tuned.faults) + costs
    )
    if found.judge.measure is not None:
        lines.append(REFERENCE_JUDGE)
    return lines


def _doubts(found: JudgeMetrics) -> list[str]:
    """Why the judge is not to be believed, and what it hardly sees."""
    test = found.self_test
    lines = []
    if test.refused:
        lines.append(f"WARNING    {test.refused}")
    if found.tuned.mean is not None and found.tuned.interval.low is None:
        lines.append(f"WARNING    {FEW_ROWS}")
    if test.cannot_tell:
        above = f"{100 * test.right_above_near:.0f} %"
        lines.append(f"WARNING    this judge cannot tell right from wrong: of pairs with a near miss {above} are right")
    if found.pairwise is not None and found.pairwise.self_test.refused:
        lines.append(f"WARNING    {found.pairwise.self_test.refused}")
    if test.weak_on:
        lines.append(joined("weak on:", test.weak_on))
    return lines


def _right(found: JudgeMetrics) -> list[str]:
    """How many answers are right before and after, where the judge says so, and the rows that are not for it."""
    lines = []
    if (tuned := found.tuned.right) is not None:
        before = "" if found.base is None or found.base.right is None else f"{found.base.right.right} → "
        share = f"{100 * tuned.share:.1f} %{_percent(tuned.interval)}"
        lines.append(f"{'right':<11}{before}{tuned.right} of {counted(tuned.n, 'answer')}, {share}")
    if (change := found.right_difference) is not None:
        gained = f"{change.gained} gained, {change.lost} lost"
        lines.append(f"{'':<11}{100 * change.difference:+z.1f} % points{_percent(change.interval, '+')}   {gained}")
    if found.tuned.open:
        count = counted(found.tuned.open, "row")
        lines.append(f"{'open':<11}{count} with many right answers: not for this judge, and in no figure")
    return lines


def _panel(found: PanelMetrics) -> list[str]:
    """The means of all judges, how far they agree, and the answers that most of them call right."""
    tuned, base = found.tuned, found.base
    means = [f"{name} {'no score' if mean is None else f'{mean:z.1f}'}" for name, mean in tuned.means.items()]
    lines = [joined("judges:", means)]
    marks = zip(found.names[1:], found.judges, strict=True)
    lines += [f"WARNING    {name}: {judge.mark.upper()}" for name, judge in marks if judge.mark]
    if tuned.n == 0:
        return [*lines, "           no answer was scored by all of them"]
    on = f"on the {counted(tuned.n, 'answer')} that all have scored"
    lines.append(f"{'median':<11}{mean_of_100(tuned.median.mean, tuned.median.interval)}   {on}")
    if (right := tuned.right) is not None:
        before = "" if base is None or base.right is None else f"{base.right.right} → "
        share = f"{100 * right.share:.1f} %{_percent(right.interval)}"
        lines.append(f"{'majority':<11}{before}{right.right} of {counted(right.n, 'answer')} right, {share}")
    ends = tuned.alpha_interval
    interval = "" if ends.low is None or ends.high is None else f" [{ends.low:z.2f}, {ends.high:z.2f}]"
    agree = "not known: all scores are the same" if tuned.alpha is None else f"{tuned.alpha:z.2f}{interval}"
    lines.append(f"{'agreement':<11}Krippendorff's alpha {agree}")
    return lines


def _percent(interval: Interval, sign: str = "") -> str:
    if interval.low is None or interval.high is None:
        return ", no interval"
    return f" [{100 * interval.low:{sign}z.1f}, {100 * interval.high:{sign}z.1f}]"


def _model(label: str, found: ModelScores) -> str:
    counts = f"{found.scored} scored, {found.invalid} invalid, {found.failed} failed"
    return f"{label:<11}{mean_of_100(found.mean, found.interval)}   {counts}"


def mean_of_100(mean: float | None, interval: Interval | None, sign: str = "") -> str:
    """A mean of scores with its interval; with a ``sign``, a difference of two means."""
    if mean is None:
        return "no score"
    points = f"{mean:>{sign}z6.1f} {'points' if sign else 'of 100 points'}"
    if interval is None or interval.low is None or interval.high is None:
        return f"{points}, no interval"
    return f"{points} [{interval.low:{sign}z.1f}, {interval.high:{sign}z.1f}]"


def _calibration(found: CalibrationMetrics) -> list[str]:
    """The means that human labels correct, and how far the judge agrees with the labels.

    Where the judge's scores predict no labels, the fine-tuned model's mean is that of the labels alone, and is called
    graded.
    """
    tuned = found.means.get("tuned")
    if tuned is None or tuned.calibrated is None or tuned.cross_validation is None:
        if tuned is not None and tuned.stale:
            return [f"calibrated  not: {(tuned.graded.interval.method or '').removeprefix('none: ')}"]
        count = 0 if tuned is None else tuned.graded.n
        return [f"calibrated  not: {counted(count, 'human label')} {word(count, 'is', 'are')} too few"]
    helps = tuned.cross_validation.judge_helps
    labels = f"by {counted(tuned.graded.n, 'human label')}"
    if found.stale:
        labels += f", {found.stale} of other answers left out"
    label = "calibrated" if helps else "graded"
    lines = [f"{label:<11}{mean_of_100(tuned.calibrated, tuned.interval)}   {labels}"]
    if found.difference is not None:
        mean = mean_of_100(found.difference.mean, found.difference.interval, sign="+")
        lines.append(f"{'':<11}{mean}   from before, by human labels")
    if not helps:
        lines.append(f"{'':<11}the judge's scores predict no labels, and are not used: believe this, not its means")
    hard = found.agreement.not_equal_to_reference
    if hard.pearson is not None:
        lines.append(
            f"{'':<11}r {hard.pearson:z.2f} with them on the {counted(hard.n, 'answer')} not equal to the reference"
        )
    return lines


def _pairwise(found: PairwiseMetrics) -> list[str]:
    """The fine-tuned answers beside the base model's: how often they won, and how far the orders agree."""
    mean, interval = found.win_rate.mean, found.win_rate.interval
    if mean is None:
        return [f"pairwise   no verdict on {counted(found.rows, 'row')}"]
    won = f"{100 * mean:.1f} %"
    if interval.low is not None and interval.high is not None:
        won += f" [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    won += " won"
    if (controlled := found.length_controlled.win_rate) is not None:
        won += f", {100 * controlled:.1f} % at equal length"
    counts = [counted(found.wins, "win"), counted(found.ties, "tie"), counted(found.losses, "loss", "losses")]
    if without := found.invalid + found.failed:
        counts.append(f"{without} unjudged")
    if found.open:
        counts.append(f"left out: {counted(found.open, 'open row')}, not for this judge")
    agree = "" if found.consistency is None else f"; the orders agree in {100 * found.consistency:.0f} %"
    return [f"pairwise   {won}", f"           {', '.join(counts)}{agree}"]


def _categories(found: dict[str, CategoryMean]) -> list[str]:
    """The best and the worst categories; with few of them, all in one line.

    Where the judge says which answers are right, by the share of these, else by means. Of equal ones those with more
    rows stand first, since they say more. A category without a point is never among the best.
    """
    if any(one.right is not None for one in found.values()):
        shares = {name: one.right / one.scored for name, one in found.items() if one.right is not None and one.scored}
        texts = {name: f"{name} {found[name].right} of {found[name].scored}" for name in shares}
        unit = " right"
    else:
        shares = {name: one.mean for name, one in found.items() if one.mean is not None}
        texts = {name: f"{name} {mean:z.0f}" for name, mean in shares.items()}
        unit = " of 100 points"
    ranked = sorted(shares, key=lambda name: (-shares[name], -found[name].scored, name))
    if len(ranked) < 2:
        return []
    if len(ranked) <= 2 * _CATEGORIES:
        return [_ranked("categories", [texts[name] for name in ranked], unit)]
    best = [name for name in ranked[:_CATEGORIES] if shares[name] > 0]
    others = sorted(set(ranked) - set(best), key=lambda name: (shares[name], -found[name].scored, name))
    more = sum(shares[name] == 0 for name in others[_CATEGORIES:])
    worst = [texts[name] for name in others[:_CATEGORIES]]
    return [
        *([_ranked("best", [texts[name] for name in best], unit)] if best else []),
        _ranked("worst", worst, unit, [f"and {more} more with 0{unit}"] if more else []),
    ]


def _sources(found: dict[str, CategoryMean]) -> list[str]:
    """Every source of a mix with its share of right answers, or its mean where the judge does not say which are."""
    texts = {
        name: f"{name} {one.right} of {one.scored}" if one.right is not None else f"{name} {one.mean:z.0f}"
        for name, one in found.items()
        if one.mean is not None
    }
    unit = " right" if any(one.right is not None for one in found.values()) else " of 100 points"
    return [_ranked("sources", list(texts.values()), unit)] if texts else []


def _ranked(label: str, ranked: list[str], unit: str, more: Sequence[str] = ()) -> str:
    """Categories with their figures, of which the first says what they are counted in, and what follows them."""
    return joined(f"{label}:", [f"{ranked[0]}{unit}", *ranked[1:], *more])


def _faults(found: dict[str, FaultCount]) -> list[str]:
    """The faults that take the most points from the mean; an answer may have several."""
    largest = [
        f"{name} {one.points_lost:z.1f} (in {one.n} answer{'' if one.n == 1 else 's'})"
        for name, one in list(found.items())[:_FAULTS]
        if one.points_lost >= 0.05
    ]
    return [joined("points lost:", largest)] if largest else []


def verdict_cost_lines(costs: JudgingCosts) -> list[str]:
    """The tokens and the seconds of a verdict, as far as the judge's server counts them."""
    tokens = [(costs.prompt_tokens, "read"), (costs.reply_tokens, "written")]
    parts = [f"{counted(round(every / costs.replies), 'token')} {verb}" for every, verb in tokens if every is not None]
    return [f"a verdict  {', '.join([*parts, f'{costs.seconds / costs.replies:.2f} s'])}"]
