"""Tries the judge before it scores, on answers whose quality is known.

A tag that has come to mean another model, options that the server ignores, a prompt that it cuts, a rubric that talks a
model into 95 for everything: each gives scores that look like scores. They show in that right answers and wrong ones
get nearly the same scores.

All wrong answers together must score `judge.min_separation` points less than right ones. But a judge that obeys whoever
writes the answer still tells six kinds of seven apart, and its scores are worth nothing. So each kind has its own bar:

- Of the attacks and of the empty answers one in six may come within half of `judge.min_separation` of the right ones.
  The mean of six would not do: where every second order is obeyed, half of that distance is reached nine times in ten,
  and at most one in six is obeyed one time in nine.
- Answers to other questions must be half of it lower in their mean, than the references and than answers that are right
  in other words: a judge that looks for the reference's own words does not grade answers.
- Echoes and negations need only be lower at all. A model of 8 billion parameters gives 80 and more to plainly wrong
  answers at times, and a mean of six such scores is uncertain by 12 points. Where they come near, the result says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.metrics.judge import PairSelfTest, SelfTest
from stages.common.plurals import counted, word
from stages.common.records import MetricsT, write_metrics
from stages.common.results.judge import JUDGE_CACHE, Verdict
from stages.judge.cache import VerdictCache
from stages.judge.judges.protocol import JudgeBackend, Judgement, Question, fingerprint
from stages.judge.judges.remedies import of_verdict
from stages.judge.panel import Asking, judge_with_progress_bar
from stages.judge.probes import CLAIM, COMPARED, ORDER, OTHER, PARAPHRASE, RIGHT, pair_probes, probes
from stages.params.judge import Judge
from stages.running import bookkeeping, console

#: The part of judge.min_separation that counts for one kind of wrong answers.
EACH_KIND = 0.5
#: Kinds of which no more than so many of six answers may come nearer to the right ones than that.
ATTACKS, MOST_FOOLED = ("empty", "colon", CLAIM, ORDER), 1
#: Kinds that need only be below the right ones.
HARD = ("echo of the prompt", "negated")
#: How often the same requests are sent again to see whether the options count, and the share of them that may come out
#: differently: some servers are not bit-stable, but most of a judge's scores are the same again.
REPEATS, MOST_UNSTABLE = 2, 0.5
#: Points that the same score may differ by when asked for again. The first is half a step of the finest scale; an
#: expected value moves with the last bits of the probabilities that it is made of.
SAME_SCORE, SAME_EXPECTED = 0.5, 5.0
#: The least share of verdicts on pairs that must name the reference. A judge with nothing but a position bias gets 0.5;
#: with 48 verdicts one that answers at random reaches 0.75 once in three thousand times.
LEAST_NAMED = 0.75
#: The least number of twelve verdicts that must name the reference beside nothing at all, and beside an order.
LEAST_NAMED_OF_KIND = {"empty": 10, ORDER: 10}
#: The results of judges that have passed.
SELF_TESTS = JUDGE_CACHE / "self-test"
_FIX = "choose another judge.model or judge.rubric in params.yaml"


def self_test(judge: JudgeBackend, settings: Judge, folder: Path | None = None) -> SelfTest:
    """Try a judge on the probes, unless this very judge has passed these before.

    A probe without a valid score counts as 0 where it is right and as 100 where it is wrong. ``weak_on`` names the
    kinds that are below the right ones by less than half of ``min_separation``, as far as that is allowed; the user is
    told of them.

    Args:
        judge: the judge.
        settings: settings; ``expected_value``, ``min_separation`` and ``parallel`` are used.
        folder: folder that keeps verdicts as they come, and in the end the result of a judge that has passed.

    Raises:
        ConfigError: this judge cannot judge.
        ServiceUnavailable: it did not answer to a probe.
    """
    asked = probes()
    result = _once(
        judge,
        folder,
        [question for _, question in asked],
        SelfTest,
        lambda cache: _measure(judge, settings, asked, cache),
        lambda result: require(result, settings),
    )
    weak = [kind for kind in HARD if result.separations[kind] < EACH_KIND * settings.min_separation]
    if weak and not judge.deterministic:  # what a fixed measure does not see is known, and the summary says it
        kinds = ", ".join(f"{kind!r} ({result.kinds[kind]:g})" for kind in weak)
        console.say(
            f"the judge gives hardly less to wrong answers of the kind {kinds} than to right ones "
            f"({result.kinds[RIGHT]:g}): do not rely on it to see these"
        )
    return result.model_copy(update={"weak_on": weak})


def pair_test(judge: JudgeBackend, settings: Judge, folder: Path | None = None) -> PairSelfTest:
    """Try a judge that compares, in the same way.

    Raises:
        ConfigError: this judge cannot compare.
        ServiceUnavailable: it did not answer to a probe.
    """
    asked = pair_probes()
    return _once(
        judge,
        folder,
        [question for _, question in asked],
        PairSelfTest,
        lambda cache: _measure_pairs(judge, settings, asked, cache),
        require_named,
    )


def require(result: SelfTest, settings: Judge) -> None:
    """Refuse a judge whose scores mean nothing.

    Raises:
        ConfigError: right and wrong answers are too near each other, together or of one kind, or the same request
            gives other scores.
    """
    count = sum(map(len, result.scores.values()))
    if result.without_score == count:
        raise ConfigError(
            f"this judge cannot judge: none of its {count} replies was a score; the first: "
            f"{result.first_without_score}",
            _fix(result.first_without_score, _FIX, all_without=True),
        )
    problem = (
        _too_near(result, settings.min_separation)
        or _fooled(result, EACH_KIND * settings.min_separation)
        or _kinds_too_near(result, EACH_KIND * settings.min_separation)
        or _paraphrases_too_near(result, EACH_KIND * settings.min_separation)
    )
    if problem:
        without = result.without_score and f"{result.without_score} ({result.first_without_score})"
        means = ", ".join(f"{kind} {mean:g}" for kind, mean in result.kinds.items())
        found = f"probes without a score: {without}; mean scores: {means}"
        raise ConfigError(f"this judge cannot judge: {problem}; {found}", _fix(result.first_without_score, _FIX))
    if result.unstable > MOST_UNSTABLE:
        raise ConfigError(
            f"this judge cannot judge: asked again in the same words, with the same seed and at the same temperature, "
            f"it gave {100 * result.unstable:.0f} % of the probes another score, as servers do that ignore one of "
            "the two",
            "update the judge's server, or choose another; at judge.temperature 0 the seed does not matter",
        )


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
    apart = {kind: points for kind, points in result.separations.items() if kind not in ATTACKS}
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


def require_named(result: PairSelfTest) -> None:
    """Refuse a judge that does not see which of two answers is the right one.

    Raises:
        ConfigError: too few of its verdicts name the reference, of all or of those on one kind of wrong answers.
    """
    fix = "choose another judge.model in params.yaml, or judge.mode: score"
    if result.named_right < LEAST_NAMED:
        first = result.first_position_share
        first_without = f" ({result.first_without_verdict})" if result.first_without_verdict else ""
        bias = "" if first is None else f"; of the answers that it names {100 * first:.0f} % were shown first"
        raise ConfigError(
            "this judge cannot compare: of a right and a wrong answer it named the right one in "
            f"{100 * result.named_right:.0f} % of the probes, and {100 * LEAST_NAMED:.0f} % is the least"
            f"{bias}; probes without a verdict: {result.without_verdict}{first_without}",
            _fix(result.first_without_verdict, fix),
        )
    named = result.named_right_of
    if fooled := {kind: named[kind] for kind, least in LEAST_NAMED_OF_KIND.items() if named[kind] < least}:
        kinds = ", ".join(
            f"{kind!r} {counted(times, 'time')} of 12, and {LEAST_NAMED_OF_KIND[kind]} is the least"
            for kind, times in fooled.items()
        )
        raise ConfigError(f"this judge cannot compare: it named the right answer beside one of the kind {kinds}", fix)


def _once(
    judge: JudgeBackend,
    folder: Path | None,
    asked: Sequence[Question],
    kind: type[MetricsT],
    measure: Callable[[VerdictCache | None], MetricsT],
    accept: Callable[[MetricsT], None],
) -> MetricsT:
    """Measure and accept, unless the same judge has been accepted before on the same questions.

    The verdicts of a judge that is not accepted are kept too: with a lower bar it need not be asked again.

    Raises:
        ConfigError: the judge is not accepted. It says which file to remove, to ask it again.
    """
    if folder is None:
        accept(result := measure(None))
        return result
    kept = kept_result(judge.identity(), asked, folder)
    with contextlib.suppress(FileNotFoundError, ValidationError):  # the latter: of another version, or broken
        known = kind.model_validate_json(kept.read_bytes())
        accept(known)
        return known
    with VerdictCache(kept.with_suffix(".jsonl")) as cache:
        result = measure(cache)
        try:
            accept(result)
        except ConfigError as error:
            if not len(cache):
                raise
            kept_in = f"its replies are kept in {cache.path}; remove that file to ask it again"
            raise ConfigError(f"{error.what}\n  {kept_in}", error.fix) from error
        with bookkeeping.optional(kept):
            write_metrics(kept, result)
    return result


def kept_result(identity: Mapping[str, str], asked: Sequence[Question], folder: Path) -> Path:
    """The file with the result of a judge that has passed the test with these questions."""
    questions = json.dumps([dataclasses.asdict(question) for question in asked])
    return folder / f"{fingerprint(identity)}-{hashlib.sha256(questions.encode()).hexdigest()[:8]}.json"


def _ask(judge: JudgeBackend, settings: Judge, asked: Sequence[Question], cache: VerdictCache | None) -> list[Verdict]:
    if judge.cacheable:  # another judge is as quick as saying so
        console.say(f"trying the judge first, with {len(asked)} questions whose answer is known")
    asking = Asking(settings.parallel, cache=cache)
    verdicts = judge_with_progress_bar(judge, asked, asking, what="trying the judge")
    _require_answers(verdicts)
    return verdicts


def _require_answers(found: Sequence[Verdict | Judgement]) -> None:
    if failed := [one for one in found if one.status == "failed"]:
        raise ServiceUnavailable(
            f"the judge's self-test: {len(failed)} of {len(found)} probes got no answer: {failed[0].detail}",
            "see what the judge's server logs, then run the same command again",
        )


def _measure(
    judge: JudgeBackend, settings: Judge, asked: Sequence[tuple[str, Question]], cache: VerdictCache | None
) -> SelfTest:
    if ignored := judge.ignored():
        raise ConfigError(
            f"this judge cannot judge: its server ignores {ignored}", "update the judge's server, or choose another"
        )
    verdicts = _ask(judge, settings, [question for _, question in asked], cache)
    scores: dict[str, list[float]] = {}
    for (kind, _), verdict in zip(asked, verdicts, strict=True):
        worst = 0.0 if kind in (RIGHT, PARAPHRASE) else 100.0
        scores.setdefault(kind, []).append(worst if verdict.score is None else verdict.score)
    right = statistics.fmean(scores[RIGHT])
    wrong = {kind: found for kind, found in scores.items() if kind not in (RIGHT, PARAPHRASE)}
    apart = {kind: round(right - statistics.fmean(found), 2) for kind, found in wrong.items()}
    without = [verdict for verdict in verdicts if verdict.score is None]
    return SelfTest(
        separation=round(right - statistics.fmean(score for found in wrong.values() for score in found), 2),
        separations=apart,
        smallest=min(apart, key=lambda kind: apart[kind]),
        kinds={kind: round(statistics.fmean(found), 2) for kind, found in scores.items()},
        scores={kind: [round(score, 2) for score in found] for kind, found in scores.items()},
        without_score=len(without),
        unstable=_unstable(judge, asked, SAME_EXPECTED if settings.expected_value else SAME_SCORE),
        first_without_score=without[0].detail if without else None,
    )


def _measure_pairs(
    judge: JudgeBackend, settings: Judge, asked: Sequence[tuple[str, Question]], cache: VerdictCache | None
) -> PairSelfTest:
    verdicts = _ask(judge, settings, [question for _, question in asked], cache)
    right = dict.fromkeys(COMPARED, 0)
    for (kind, _), verdict in zip(asked, verdicts, strict=True):
        right[kind] += verdict.score == (100 if verdict.model == "tuned" else 0)
    named = [verdict.score for verdict in verdicts if verdict.score not in (None, 50)]
    without = [verdict.detail for verdict in verdicts if verdict.score is None]
    return PairSelfTest(
        named_right=round(sum(right.values()) / len(verdicts), 4),
        named_right_of=right,
        first_position_share=round(named.count(100) / len(named), 4) if named else None,
        without_verdict=len(without),
        first_without_verdict=without[0] if without else None,
    )


def _unstable(judge: JudgeBackend, asked: Sequence[tuple[str, Question]], same: float) -> float:
    """The share of negated answers whose scores are more than ``same`` points apart, asked for in the same words.

    They are sent by `JudgeBackend.judge` itself, since `judge_each` sends equal requests once. The first answers were
    given with a cold cache of the prompt, which can tip a score; these are compared with one another only.
    """
    questions = [question for kind, question in asked if kind == "negated"]
    rounds = [[judge.judge(question) for question in questions] for _ in range(REPEATS)]
    _require_answers([one for found in rounds for one in found])
    scores = [[one.score for one in found if one.score is not None] for found in zip(*rounds, strict=True)]
    moved = [found for found in scores if found and max(found) - min(found) > same]
    return len(moved) / len(questions)
