"""When a judge is refused by its self-test, and which of its results say that it cannot tell right from wrong."""

from __future__ import annotations

from stages.common.errors import ConfigError
from stages.common.metrics.judge import PairSelfTest, SelfTest
from stages.common.plurals import counted, word
from stages.judge.judges.remedies import of_verdict
from stages.judge.probes import CLAIM, COLON, NEAR, NEGATED, ORDER, OTHER, PARAPHRASE, REWORDED, RIGHT
from stages.params.judge import Judge

#: The part of judge.min_separation that counts for one kind of wrong answers.
EACH_KIND = 0.5
#: Kinds of which no more than so many of six answers may come nearer to the right ones than that.
ATTACKS, MOST_FOOLED = ("empty", COLON, CLAIM, ORDER), 1
#: Kinds that need only be below the right ones.
HARD = ("echo of the prompt", NEGATED)
#: The largest share of probes that may get another score when asked for again.
MOST_UNSTABLE = 0.5
#: The least share of pairs of a right answer in other words and a near miss in which the right one scores more. There
#: are 72 pairs in twelve rows; of a judge that does not read half of them do.
LEAST_ABOVE = 0.75
#: The least share of verdicts on pairs that must name the reference. A judge with nothing but a position bias gets 0.5;
#: with 48 verdicts one that answers at random reaches 0.75 once in three thousand times.
LEAST_NAMED = 0.75
#: The least number of twelve verdicts that must name the reference beside nothing at all, and beside an order.
LEAST_NAMED_OF_KIND = {"empty": 10, ORDER: 10}
_FIX = "choose another judge.model or judge.rubric in params.yaml"
_FIX_PAIRS = "choose another judge.model in params.yaml, or judge.mode: score"


class Refused(ConfigError):
    """A judge cannot judge, by its self-test."""


def require(result: SelfTest, settings: Judge) -> None:
    """Refuse a judge whose scores mean nothing.

    Raises:
        Refused: right and wrong answers are too near each other, together or of one kind, or the same request
            gives other scores.
    """
    count = sum(map(len, result.scores.values()))
    if result.without_score == count:
        raise without_scores(result, count)
    if found := problem(result, settings):
        raise Refused(f"this judge cannot judge: {found}; {_found(result)}", _fix(result.first_without_score, _FIX))
    if result.unstable > MOST_UNSTABLE:
        raise Refused(
            f"this judge cannot judge: asked again in the same words, with the same seed and at the same temperature, "
            f"it gave {100 * result.unstable:.0f} % of the probes another score, as servers do that ignore one of "
            "the two",
            "update the judge's server, or choose another; at judge.temperature 0 the seed does not matter",
        )


def problem(result: SelfTest, settings: Judge) -> str | None:
    """What is wrong with the scores of a judge, in words; None if they tell right answers from wrong ones."""
    least = EACH_KIND * settings.min_separation
    return (
        _too_near(result, settings.min_separation)
        or _fooled(result, least)
        or _kinds_too_near(result, least)
        or _paraphrases_too_near(result, least)
    )


def certain(so_far: SelfTest, at_best: SelfTest, settings: Judge, *, asked: int, of: int) -> Refused | None:
    """The refusal of a judge that no later score can avert; None while one can.

    Args:
        so_far: the probes that have been asked.
        at_best: the same, with the best scores for all others.
        settings: settings; ``min_separation`` is used.
        asked: number of probes asked.
        of: number of all probes.
    """
    found = problem(at_best, settings)
    if found is None:
        return None
    if so_far.without_score == asked:
        return without_scores(so_far, asked)
    return Refused(
        f"this judge cannot judge, which is certain after {asked} of {of} probes: even if it got all others right, "
        f"{found}; {_found(so_far)}",
        _fix(so_far.first_without_score, _FIX),
    )


def without_scores(result: SelfTest, count: int) -> Refused:
    """The refusal of a judge without any score among its ``count`` replies."""
    first = result.first_without_score
    return Refused(
        f"this judge cannot judge: none of its {count} replies was a score; the first: {first}",
        _fix(first, _FIX, all_without=True),
    )


def weaknesses(result: SelfTest, settings: Judge) -> list[str]:
    """The kinds of answers that the judge hardly tells from those that deserve the contrary.

    Wrong answers of `HARD` and `NEAR` belong to them where they are less than half of ``min_separation`` below the
    reference, and right answers in other words where they are less than that above near misses.
    """
    least = EACH_KIND * settings.min_separation
    wrong = [kind for kind in (*HARD, *NEAR) if result.separations[kind] < least]
    near = max(result.kinds[kind] for kind in NEAR)
    return wrong + [kind for kind in REWORDED if result.kinds[kind] - near < least]


def require_named(result: PairSelfTest) -> None:
    """Refuse a judge that does not see which of two answers is the right one.

    Raises:
        Refused: too few of its verdicts name the reference, of all or of those on one kind of wrong answers.
    """
    if result.named_right < LEAST_NAMED:
        first = result.first_position_share
        first_without = f" ({result.first_without_verdict})" if result.first_without_verdict else ""
        bias = "" if first is None else f"; of the answers that it names {100 * first:.0f} % were shown first"
        raise Refused(
            "this judge cannot compare: of a right and a wrong answer it named the right one in "
            f"{100 * result.named_right:.0f} % of the probes, and {100 * LEAST_NAMED:.0f} % is the least"
            f"{bias}; probes without a verdict: {result.without_verdict}{first_without}",
            _fix(result.first_without_verdict, _FIX_PAIRS),
        )
    named = result.named_right_of
    if fooled := {kind: named[kind] for kind, least in LEAST_NAMED_OF_KIND.items() if named[kind] < least}:
        kinds = ", ".join(
            f"{kind!r} {counted(times, 'time')} of 12, and {LEAST_NAMED_OF_KIND[kind]} is the least"
            for kind, times in fooled.items()
        )
        said = result.first_without_verdict
        without = f"; probes without a verdict: {result.without_verdict} ({said})" if said else ""
        what = f"this judge cannot compare: it named the right answer beside one of the kind {kinds}{without}"
        raise Refused(what, _fix(said, _FIX_PAIRS))


def _found(result: SelfTest) -> str:
    """The scores behind a refusal."""
    without = result.without_score and f"{result.without_score} ({result.first_without_score})"
    means = ", ".join(f"{kind} {mean:g}" for kind, mean in result.kinds.items())
    return f"probes without a score: {without}; mean scores: {means}"


def _fix(first: str | None, fix: str, *, all_without: bool = False) -> str:
    """What to change: an option where replies without a score come of it, else the judge.

    Args:
        first: what was wrong with the first of these replies; None if there is none.
        fix: how to change the judge.
        all_without: whether no reply had a score, so that nothing is known of the judge itself.
    """
    option = of_verdict(first) if first else None
    return fix if option is None else option if all_without else f"{option}; if that does not help, {fix}"


def _too_near(result: SelfTest, least: float) -> str | None:
    """Whether right and wrong answers as a whole are less than ``least`` points apart, in words."""
    if result.separation >= least:
        return None
    return (
        f"right answers score {result.separation:g} {word(result.separation, 'point')} more than wrong ones, and "
        f"judge.min_separation asks for {least:g}"
    )


def _fooled(result: SelfTest, least: float) -> str | None:
    """Which attacks come within ``least`` points of the right answers too often, in words."""
    near = {kind: sum(score > result.kinds[RIGHT] - least for score in result.scores[kind]) for kind in ATTACKS}
    if not (most := {kind: times for kind, times in near.items() if times > MOST_FOOLED}):
        return None
    kinds = ", ".join(f"{kind!r} ({times} of {len(result.scores[kind])})" for kind, times in most.items())
    return (
        f"it is fooled by answers of the kind {kinds}: more than {MOST_FOOLED} of a kind scored less than {least:g} "
        "points, half of judge.min_separation, below right answers"
    )


def _kinds_too_near(result: SelfTest, least: float) -> str | None:
    """Which other kinds of wrong answers are too near the right ones in their mean, in words."""
    apart = {kind: points for kind, points in result.separations.items() if kind not in (*ATTACKS, *NEAR)}
    near = {kind: points for kind, points in apart.items() if points <= 0 or (kind not in HARD and points < least)}
    if not near:
        return None
    kinds = ", ".join(f"{kind!r} ({points:g})" for kind, points in near.items())
    return (
        f"right answers score hardly more points than those of the kind {kinds}; other rows' references must be "
        f"{least:g} below, half of judge.min_separation, and all kinds lower"
    )


def _paraphrases_too_near(result: SelfTest, least: float) -> str | None:
    """Whether right answers in other words are too near other rows' references, in words."""
    points = round(result.kinds[PARAPHRASE] - result.kinds[OTHER], 2)
    if points >= least:
        return None
    return (
        f"answers that are right in other words score {points:g} {word(points, 'point')} more than other rows' "
        f"references, and {least:g}, half of judge.min_separation, is the least"
    )
