"""The figures of a judge card, and its Markdown: how far the judge of params.yaml can be believed."""

from __future__ import annotations

from collections.abc import Sequence

from stages.common.metrics.judge import Interval, JudgeIdentity, PairSelfTest, SelfTest
from stages.common.plurals import counted
from stages.common.records import Metrics
from stages.common.results.judge import Verdict
from stages.judge.probes import REWORDED, RIGHT
from stages.running.costs import JudgingCosts
from tools.label_agreement import LabelAgreement


class Consistency(Metrics):
    """How a judge's scores of one answer differ when it is asked several times, each time with the next seed.

    Args:
        answers: number of answers that were scored each time.
        repeats: how often each was asked for; 1 of a fixed measure, and at temperature 0.
        same: share of the answers with one and the same score; null where it was not measured.
        mean_spread: mean of their standard deviations, in points; null where it was not measured.
    """

    answers: int
    repeats: int
    same: float | None
    mean_spread: float | None


class Card(Metrics):
    """What is known of a judge.

    Args:
        judge: the judge.
        labels: path of the labels, and their SHA-256.
        self_test: its scores of answers whose quality is known.
        pairs: its verdicts on pairs whose better answer is known.
        pairs_refused: why it may not compare, where it named nothing; null else.
        all_rows: agreement on all labelled answers.
        not_equal_to_reference: the same without answers that are equal to their reference, which are easy.
        held_out: the same of the held-out half alone; null but for the built-in judge, some of whose rules were made
            with the other half in sight.
        consistency: how its scores differ from time to time.
        costs: what the verdicts of this check cost; null where they came from the cache, or cost nothing.
    """

    judge: JudgeIdentity
    labels: str
    labels_sha256: str
    self_test: SelfTest
    pairs: PairSelfTest | None
    pairs_refused: str | None
    all_rows: LabelAgreement
    not_equal_to_reference: LabelAgreement
    held_out: LabelAgreement | None
    consistency: Consistency
    costs: JudgingCosts | None


def consistency(verdicts: Sequence[Verdict], repeats: int, *, fixed: bool = True) -> Consistency:
    """How scores differ by the spreads of verdicts that are means of ``repeats`` scores.

    Args:
        verdicts: the verdicts.
        repeats: number of scores of each.
        fixed: whether the judge is a fixed measure: with one score of each, any other one was not measured.
    """
    if repeats == 1 and not fixed:
        return Consistency(answers=0, repeats=1, same=None, mean_spread=None)
    spreads = [0.0 if repeats == 1 else one.spread for one in verdicts if one.score is not None]
    known = [spread for spread in spreads if spread is not None]
    return Consistency(
        answers=len(known),
        repeats=repeats,
        same=round(sum(spread == 0 for spread in known) / len(known), 4) if known else None,
        mean_spread=_mean(known),
    )


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 2) if values else None


def markdown(card: Card) -> str:
    """The card for people."""
    judge = card.judge
    lines = [
        f"# Judge card: {judge.marked(judge.name)}",
        "",
        *_identity(judge),
        "",
        "## Self-test",
        "",
        *_self_test(card.self_test),
        "",
        "## Agreement with labels",
        "",
        *_agreement(card),
        "",
        "## Position bias",
        "",
        *_pairs(card),
        "",
        "## Self-consistency",
        "",
        _consistency(card.consistency),
        "",
        "## Cost",
        "",
        _costs(card),
    ]
    return "\n".join(lines) + "\n"


def _identity(judge: JudgeIdentity) -> list[str]:
    fields = {name: value for name, value in judge.model_dump().items() if value is not None}
    return ["| | |", "|---|---|", *(f"| {name} | {str(value).replace('|', '/')} |" for name, value in fields.items())]


def _self_test(test: SelfTest) -> list[str]:
    verdict = f"Refused: {test.refused}" if test.refused else "Passed."
    above = f"{100 * test.right_above_near:.0f} % of the pairs with a near miss are in the right order"
    high = (RIGHT, *REWORDED)
    rows = [
        f"| {kind} | {'high' if kind in high else 'low'} | {len(test.scores[kind])} | {mean:.1f} | "
        f"{min(test.scores[kind]):.0f} to {max(test.scores[kind]):.0f} |"
        for kind, mean in test.kinds.items()
    ]
    return [
        verdict,
        f"Right answers score {test.separation:.1f} points more than plainly wrong ones. {above}"
        f"{', so that it cannot tell right from wrong' if test.cannot_tell else ''}.",
        f"Weak on: {', '.join(test.weak_on) or 'nothing that was tried'}. "
        f"Without a score: {test.without_score}. Another score when asked again: {100 * test.unstable:.0f} %.",
        "",
        "| answers | deserve | number | mean score | lowest to highest |",
        "|---|---|---:|---:|---:|",
        *rows,
    ]


def _agreement(card: Card) -> list[str]:
    found = {"all": card.all_rows, "not equal to the reference": card.not_equal_to_reference}
    if card.held_out is not None:
        found["of these, the held-out half"] = card.held_out
    digits = {"pearson": 2, "auc": 3, "mean_score": 1, "mean_grade": 1, "mean_distance": 1}
    rows = []
    for name, one in found.items():
        figures = (_figure(getattr(one, key), places, one.intervals.get(key)) for key, places in digits.items())
        rows.append(f"| {name} | {one.answers} | {one.right} | {one.scored} | {' | '.join(figures)} |")
    sight = "Some rules of the built-in judge were made with the other half in sight: believe the held-out half."
    return [
        f"Labels: `{card.labels}`. In brackets: 95 % intervals over questions. There is none where all draws of "
        "questions give the same figure, or of fewer than ten questions.",
        *([sight] if card.held_out is not None else []),
        "",
        "| answers | number | right | scored | r | AUC | mean score | mean grade | mean distance |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *rows,
    ]


def _pairs(card: Card) -> list[str]:
    pairs = card.pairs
    if pairs is None:
        return [f"Not known: {card.pairs_refused}"]
    share = pairs.first_position_share
    first = (
        "It named no answer as the better one, so that its position bias is not known."
        if share is None
        else f"Of the answers that it named {100 * share:.0f} % were shown first; of a judge that is always right, and "
        "has no bias, it is 50 %."
    )
    return [
        f"It named the right one of two answers in {100 * pairs.named_right:.0f} % of the verdicts. {first}",
        *([f"Refused: {pairs.refused}"] if pairs.refused else []),
    ]


def _consistency(found: Consistency) -> str:
    if found.repeats == 1 and found.same is None:
        return "Temperature 0: not measured."
    if found.repeats == 1:
        return "A fixed measure: it says the same again."
    if found.same is None:
        return "Not known: no answer was scored each time."
    return (
        f"{counted(found.answers, 'answer')} scored {found.repeats} times, each time with the next seed: the same "
        f"score for {100 * found.same:.0f} %, and a mean standard deviation of {_figure(found.mean_spread, 1)} points."
    )


def _costs(card: Card) -> str:
    costs = card.costs
    if costs is None:
        of_server = "Not measured: all verdicts were known from an earlier check, so that it was not asked."
        return of_server if card.judge.measure is None else "Not measured: the built-in judge asks no server."
    each = [f"{costs.seconds / costs.replies:.2f} s"]
    for every, verb in ((costs.prompt_tokens, "read"), (costs.reply_tokens, "written")):
        if every is not None:
            each.append(f"{counted(round(every / costs.replies), 'token')} {verb}")
    return f"A verdict took {', '.join(each)}: the mean of {counted(costs.replies, 'reply', 'replies')}."


def _figure(value: float | None, digits: int, interval: Interval | None = None) -> str:
    if value is None:
        return "not known"
    if interval is None or interval.low is None or interval.high is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"
