"""The figures of a judge card, and its Markdown: how far the judge of params.yaml can be believed."""

from __future__ import annotations

from collections.abc import Sequence

from scipy import stats

from stages.common.metrics.judge import JudgeIdentity, PairSelfTest, SelfTest
from stages.common.plurals import counted
from stages.common.records import Metrics
from stages.common.results.judge import Verdict
from stages.running.costs import JudgingCosts
from tools.grades import Graded, auc


class LabelAgreement(Metrics):
    """How a judge's scores agree with labels of the same answers; null where there is nothing to compute.

    Args:
        answers: number of labelled answers.
        right: how many of them are right by their labels.
        scored: how many of them the judge has scored; the figures below are of these.
        pearson: Pearson's r of scores and grades.
        mean_score: mean of the judge's scores, from 0 to 100.
        mean_grade: mean of the grades, from 0 to 100.
        mean_distance: mean of the distances of a score from its grade, in points.
        auc: probability that a right answer scores higher than a wrong one, ties counting half.
    """

    answers: int
    right: int
    scored: int
    pearson: float | None
    mean_score: float | None
    mean_grade: float | None
    mean_distance: float | None
    auc: float | None


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
    consistency: Consistency
    costs: JudgingCosts | None


def agreement(graded: Sequence[Graded], verdicts: Sequence[Verdict]) -> LabelAgreement:
    """How a judge agrees with the labels of the answers that it was asked for, in their order."""
    scored = [(one, verdict.score) for one, verdict in zip(graded, verdicts, strict=True) if verdict.score is not None]
    scores, grades = [score for _, score in scored], [one.grade for one, _ in scored]
    varied = len(set(scores)) > 1 and len(set(grades)) > 1
    found = auc([score for one, score in scored if one.right], [score for one, score in scored if not one.right])
    return LabelAgreement(
        answers=len(graded),
        right=sum(one.right for one in graded),
        scored=len(scored),
        pearson=round(float(stats.pearsonr(scores, grades)[0]), 4) if varied else None,
        mean_score=_mean(scores),
        mean_grade=_mean(grades),
        mean_distance=_mean([abs(score - grade) for score, grade in zip(scores, grades, strict=True)]),
        auc=None if found is None else round(found, 4),
    )


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
        _costs(card.costs),
    ]
    return "\n".join(lines) + "\n"


def _identity(judge: JudgeIdentity) -> list[str]:
    fields = judge.model_dump()
    return ["| | |", "|---|---|", *(f"| {name} | {str(value).replace('|', '/')} |" for name, value in fields.items())]


def _self_test(test: SelfTest) -> list[str]:
    verdict = f"Refused: {test.refused}" if test.refused else "Passed."
    above = f"{100 * test.right_above_near:.0f} % of the pairs with a near miss are in the right order"
    rows = [f"| {kind} | {len(test.scores[kind])} | {mean:.1f} |" for kind, mean in test.kinds.items()]
    return [
        verdict,
        f"Right answers score {test.separation:.1f} points more than plainly wrong ones. {above}"
        f"{', so that it cannot tell right from wrong' if test.cannot_tell else ''}.",
        f"Weak on: {', '.join(test.weak_on) or 'nothing that was tried'}. "
        f"Without a score: {test.without_score}. Another score when asked again: {100 * test.unstable:.0f} %.",
        "",
        "| answers | number | mean score |",
        "|---|---:|---:|",
        *rows,
    ]


def _agreement(card: Card) -> list[str]:
    found = {"all": card.all_rows, "not equal to the reference": card.not_equal_to_reference}
    rows = [
        f"| {name} | {one.answers} | {one.right} | {one.scored} | {_figure(one.pearson, 2)} | {_figure(one.auc, 3)} | "
        f"{_figure(one.mean_score, 1)} | {_figure(one.mean_grade, 1)} | {_figure(one.mean_distance, 1)} |"
        for name, one in found.items()
    ]
    return [
        f"Labels: `{card.labels}`.",
        "",
        "| answers | number | right | scored | r | AUC | mean score | mean grade | mean distance |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *rows,
    ]


def _pairs(card: Card) -> list[str]:
    pairs = card.pairs
    if pairs is None:
        return [f"Not known: {card.pairs_refused}"]
    first = "none" if pairs.first_position_share is None else f"{100 * pairs.first_position_share:.0f} %"
    return [
        f"It named the right one of two answers in {100 * pairs.named_right:.0f} % of the verdicts. Of the answers "
        f"that it named {first} were shown first; without a bias it is 50 % of a judge that is always right.",
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


def _costs(costs: JudgingCosts | None) -> str:
    if costs is None:
        return "None: it was not asked, since all verdicts were known, or asking costs nothing."
    each = [f"{costs.seconds / costs.replies:.2f} s"]
    for every, verb in ((costs.prompt_tokens, "read"), (costs.reply_tokens, "written")):
        if every is not None:
            each.append(f"{counted(round(every / costs.replies), 'token')} {verb}")
    return f"A verdict took {', '.join(each)}: the mean of {counted(costs.replies, 'reply', 'replies')}."


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
