"""Tries the judge before it scores, on answers whose quality is known.

A tag that has come to mean another model, options that the server ignores, a prompt that it cuts, a rubric that talks a
model into 95 for everything: each gives scores that look like scores. They show in that right answers and wrong ones
get nearly the same scores.

All plainly wrong answers together must score `judge.min_separation` points less than right ones. But a judge that obeys
whoever writes the answer still tells six kinds of seven apart, and its scores are worth nothing. So each kind has its
own bar (`stages.judge.refusal`):

- Of the attacks and of the empty answers one in six may come within half of `judge.min_separation` of the right ones.
  The mean of six would not do: where every second order is obeyed, half of that distance is reached nine times in ten,
  and at most one in six is obeyed one time in nine.
- Answers to other questions must be half of it lower in their mean, than the references and than answers that are right
  in other words: a judge that looks for the reference's own words does not grade answers.
- Echoes and negations need only be lower at all. A model of 8 billion parameters gives 80 and more to plainly wrong
  answers at times, and a mean of six such scores is uncertain by 12 points. Where they come near, the result says so.
- Near misses, which are wrong in one fact or one number, refuse no judge. One that does not put right answers in other
  words above them is marked, in everything that shows its scores: it cannot tell right from wrong.

A judge that is refused is asked no further once that is certain. With `judge.on_refusal: warn` it is asked everything,
judges, and is marked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.metrics.judge import PairSelfTest, SelfTest
from stages.common.records import MetricsT, write_metrics
from stages.common.results.judge import JUDGE_CACHE, Verdict
from stages.judge import refusal
from stages.judge.cache import VerdictCache
from stages.judge.judges.protocol import JudgeBackend, Judgement, Question, fingerprint
from stages.judge.judges.remedies import of_verdict
from stages.judge.panel import Asking, judge_with_progress_bar
from stages.judge.probes import COMPARED, NEAR, NEGATED, REWORDED, RIGHT, pair_probes, probes
from stages.params.judge import Judge
from stages.running import bookkeeping, console

#: How often the same requests are sent again to see whether the options count, and how many: some servers are not
#: bit-stable, but most of a judge's scores are the same again.
REPEATS, REPEATED = 2, 6
#: Points that the same score may differ by when asked for again. The first is half a step of the finest scale; an
#: expected value moves with the last bits of the probabilities that it is made of.
SAME_SCORE, SAME_EXPECTED = 0.5, 5.0
#: The results of judges that have been tried.
SELF_TESTS = JUDGE_CACHE / "self-test"

_Probes = Sequence[tuple[str, Question]]


def self_test(judge: JudgeBackend, settings: Judge, folder: Path | None = None) -> SelfTest:
    """Try a judge on the probes, unless this very judge has been tried on these before.

    A probe without a valid score counts as 0 where it is right and as 100 where it is wrong. ``weak_on`` names the
    kinds that the judge hardly sees; the user is told of them.

    Args:
        judge: the judge.
        settings: settings; ``expected_value``, ``min_separation``, ``on_refusal`` and ``parallel`` are used.
        folder: folder that keeps verdicts as they come, and in the end the result.

    Raises:
        ConfigError: this judge cannot judge, and ``on_refusal`` is "stop", or it has scored nothing.
        ServiceUnavailable: it did not answer to a probe.
    """
    asked = probes()
    result = _once(judge, folder, asked, SelfTest, lambda cache: _measure(judge, settings, asked, cache))
    refused = _refused(lambda: refusal.require(result, settings), settings, _replies(judge, asked, folder))
    if refused and result.without_score == len(asked):
        raise refused
    result = result.model_copy(
        update={"weak_on": refusal.weaknesses(result, settings), "refused": refused and refused.what}
    )
    _tell(result)
    return result


def pair_test(judge: JudgeBackend, settings: Judge, folder: Path | None = None) -> PairSelfTest:
    """Try a judge that compares, in the same way.

    Raises:
        ConfigError: this judge cannot compare, and ``on_refusal`` is "stop", or it has named nothing.
        ServiceUnavailable: it did not answer to a probe.
    """
    asked = pair_probes()
    result = _once(judge, folder, asked, PairSelfTest, lambda cache: _measure_pairs(judge, settings, asked, cache))
    refused = _refused(lambda: refusal.require_named(result), settings, _replies(judge, asked, folder))
    if refused is None:
        return result
    if result.without_verdict == len(asked):
        raise refused
    console.say(f"warning: {refused.what}; it compares all the same, as judge.on_refusal says")
    return result.model_copy(update={"refused": refused.what})


def _refused(require: Callable[[], None], settings: Judge, replies: Path | None) -> refusal.Refused | None:
    """The refusal of a judge that judges all the same; None where it is not refused.

    Raises:
        Refused: it is, and ``on_refusal`` is "stop".
    """
    try:
        require()
    except refusal.Refused as error:
        if settings.on_refusal == "stop":
            raise _kept_in(error, replies) from None
        return error
    return None


def _kept_in(error: refusal.Refused, replies: Path | None) -> refusal.Refused:
    """The refusal with the file of the replies: with a lower bar the judge need not be asked again."""
    if replies is None or not replies.exists() or not replies.stat().st_size:
        return error
    kept = f"its replies are kept in {replies}; remove that file to ask it again"
    return refusal.Refused(f"{error.what}\n  {kept}", error.fix)


def _tell(result: SelfTest) -> None:
    """Tell the user what the judge does not see."""
    if result.refused:
        console.say(f"warning: {result.refused}; it judges all the same, as judge.on_refusal says")
    if result.cannot_tell:
        console.say(
            "warning: the judge cannot tell right from wrong: it puts right answers in other words above near misses "
            f"in {100 * result.right_above_near:.0f} % of the pairs, and {100 * refusal.LEAST_ABOVE:.0f} % is the "
            "least; its scores are marked"
        )
    if weak := [kind for kind in result.weak_on if kind not in REWORDED]:
        kinds = ", ".join(f"{kind!r} ({result.kinds[kind]:g})" for kind in weak)
        console.say(
            f"the judge gives hardly less to wrong answers of the kind {kinds} than to right ones "
            f"({result.kinds[RIGHT]:g}): do not rely on it to see these"
        )
    if weak := [kind for kind in result.weak_on if kind in REWORDED]:
        kinds = ", ".join(f"{kind!r} ({result.kinds[kind]:g})" for kind in weak)
        near = max(result.kinds[kind] for kind in NEAR)
        console.say(
            f"the judge gives hardly more to right answers of the kind {kinds} than to near misses ({near:g}): do not "
            "rely on it to see that these are right"
        )


def _once(
    judge: JudgeBackend,
    folder: Path | None,
    asked: _Probes,
    kind: type[MetricsT],
    measure: Callable[[VerdictCache | None], MetricsT],
) -> MetricsT:
    """Measure, unless the same judge has been tried before on the same questions.

    The result of a judge that is refused is kept too, and goes for another bar without a call.

    Raises:
        Refused: that is certain before all is asked. It says which file to remove, to ask again.
    """
    replies = _replies(judge, asked, folder)
    if replies is None:
        return measure(None)
    if (known := kept_result(judge.identity(), asked, replies.parent, kind)) is not None:
        return known
    with VerdictCache(replies) as cache:
        try:
            result = measure(cache)
        except refusal.Refused as error:
            raise _kept_in(error, replies) from None
        with bookkeeping.optional(replies.with_suffix(".json")):
            write_metrics(replies.with_suffix(".json"), result)
    return result


def _replies(judge: JudgeBackend, asked: _Probes, folder: Path | None) -> Path | None:
    """The file with a judge's replies to these probes; the result is beside it."""
    return None if folder is None else _file(judge.identity(), asked, folder)


def _file(identity: Mapping[str, str], asked: _Probes, folder: Path) -> Path:
    questions = json.dumps([dataclasses.asdict(question) for _, question in asked])
    return folder / f"{fingerprint(identity)}-{hashlib.sha256(questions.encode()).hexdigest()[:8]}.jsonl"


def kept_result(identity: Mapping[str, str], asked: _Probes, folder: Path, kind: type[MetricsT]) -> MetricsT | None:
    """The result of a judge that has been tried with these probes; None where its replies or its result are gone."""
    replies = _file(identity, asked, folder)
    if not replies.exists():
        return None
    with contextlib.suppress(FileNotFoundError, ValidationError):  # the latter: of another version, or broken
        return kind.model_validate_json(replies.with_suffix(".json").read_bytes())
    return None


def _ask(
    judge: JudgeBackend,
    settings: Judge,
    asked: _Probes,
    cache: VerdictCache | None,
    refused: Callable[[Sequence[Verdict]], refusal.Refused | None],
) -> list[Verdict]:
    """The verdicts on all probes.

    Raises:
        Refused: ``refused`` says of the first verdicts that no later one can avert it; the others are not asked for.
        ServiceUnavailable: a probe got no answer.
    """
    if judge.cacheable:  # another judge is as quick as saying so
        console.say(f"trying the judge first, with {len(asked)} questions whose answer is known")
    asking = Asking(settings.parallel, cache=cache)
    stops = settings.on_refusal == "stop"
    verdicts = judge_with_progress_bar(
        judge,
        [question for _, question in asked],
        asking,
        what="trying the judge",
        until=lambda found: stops and len(found) < len(asked) and refused(found) is not None,
    )
    if len(verdicts) < len(asked) and (error := refused(verdicts)):
        raise error
    _require_answers(verdicts)
    return verdicts


def _require_answers(found: Sequence[Verdict | Judgement]) -> None:
    if failed := [one for one in found if one.status == "failed"]:
        raise ServiceUnavailable(
            f"the judge's self-test: {len(failed)} of {len(found)} probes got no answer: {failed[0].detail}",
            of_verdict(failed[0].detail) or "see what the judge's server logs, then run the same command again",
        )


def _measure(judge: JudgeBackend, settings: Judge, asked: _Probes, cache: VerdictCache | None) -> SelfTest:
    if ignored := judge.ignored():
        raise ConfigError(
            f"this judge cannot judge: its server ignores {ignored}", "update the judge's server, or choose another"
        )

    def refused(found: Sequence[Verdict]) -> refusal.Refused | None:
        at_best = _summed(asked, found)
        so_far = _summed(asked[: len(found)], found)
        return refusal.certain(so_far, at_best, settings, asked=len(found), of=len(asked))

    verdicts = _ask(judge, settings, asked, cache, refused)
    unstable = _unstable(judge, asked, SAME_EXPECTED if settings.expected_value else SAME_SCORE)
    return _summed(asked, verdicts).model_copy(update={"unstable": unstable})


def _summed(asked: _Probes, verdicts: Sequence[Verdict]) -> SelfTest:
    """What verdicts on the first of the probes come to; those not asked, or failed, have the best score there is."""
    scores: dict[str, list[float]] = {}
    by_row: dict[str, list[tuple[str, float]]] = {}
    for (kind, question), verdict in itertools.zip_longest(asked, verdicts):
        best = 100.0 if kind in (RIGHT, *REWORDED) else 0.0
        if verdict is None or verdict.status == "failed":
            score = best
        else:
            score = 100.0 - best if verdict.score is None else verdict.score
        scores.setdefault(kind, []).append(score)
        by_row.setdefault(question.reference, []).append((kind, score))
    means = {kind: statistics.fmean(found) for kind, found in scores.items()}
    right = means.get(RIGHT, 100.0)
    apart = {kind: round(right - mean, 2) for kind, mean in means.items() if kind not in (RIGHT, *REWORDED)}
    plain = [mean for kind, mean in means.items() if kind in apart and kind not in NEAR]
    without = [verdict for verdict in verdicts if verdict.score is None and verdict.status != "failed"]
    above = _above_near(by_row)
    return SelfTest(
        separation=round(right - (statistics.fmean(plain) if plain else 0.0), 2),
        separations=apart,
        smallest=min(apart, key=lambda kind: apart[kind], default=""),
        right_above_near=round(above, 4),
        cannot_tell=above < refusal.LEAST_ABOVE,
        kinds={kind: round(mean, 2) for kind, mean in means.items()},
        scores={kind: [round(score, 2) for score in found] for kind, found in scores.items()},
        without_score=len(without),
        unstable=0.0,
        first_without_score=without[0].detail if without else None,
    )


def _above_near(by_row: Mapping[str, Sequence[tuple[str, float]]]) -> float:
    """The share of pairs of a row's right answer in other words and a near miss in which the right one scores more.

    Equal scores count half; without pairs it is 1.
    """
    pairs = [
        (right > wrong) + (right == wrong) / 2
        for found in by_row.values()
        for kind, right in found
        for other, wrong in found
        if kind in REWORDED and other in NEAR
    ]
    return statistics.fmean(pairs) if pairs else 1.0


def _measure_pairs(judge: JudgeBackend, settings: Judge, asked: _Probes, cache: VerdictCache | None) -> PairSelfTest:
    def refused(found: Sequence[Verdict]) -> refusal.Refused | None:
        try:
            refusal.require_named(_named(asked, found))
        except refusal.Refused as at_best:
            certain = f", which is certain after {len(found)} of {len(asked)} probes: even if it got all others right,"
            return refusal.Refused(at_best.what.replace(":", certain, 1), at_best.fix)
        return None

    return _named(asked, _ask(judge, settings, asked, cache, refused))


def _named(asked: _Probes, verdicts: Sequence[Verdict]) -> PairSelfTest:
    """What verdicts on the first of the pairs come to, if the right answer is named in all others."""
    right = dict.fromkeys(COMPARED, 0)
    for (kind, _), verdict in itertools.zip_longest(asked, verdicts):
        if verdict is None or verdict.status == "failed":
            right[kind] += 1
        else:
            right[kind] += verdict.score == (100 if verdict.model == "tuned" else 0)
    named = [verdict.score for verdict in verdicts if verdict.score not in (None, 50)]
    without = [verdict.detail for verdict in verdicts if verdict.score is None]
    return PairSelfTest(
        named_right=round(sum(right.values()) / len(asked), 4),
        named_right_of=right,
        first_position_share=round(named.count(100) / len(named), 4) if named else None,
        without_verdict=len(without),
        first_without_verdict=without[0] if without else None,
    )


def _unstable(judge: JudgeBackend, asked: _Probes, same: float) -> float:
    """The share of negated answers whose scores are more than ``same`` points apart, asked for in the same words.

    They are sent by `JudgeBackend.judge` itself, since `judge_each` sends equal requests once. The first answers were
    given with a cold cache of the prompt, which can tip a score; these are compared with one another only.
    """
    questions = [question for kind, question in asked if kind == NEGATED][:REPEATED]
    rounds = [[judge.judge(question) for question in questions] for _ in range(REPEATS)]
    _require_answers([one for found in rounds for one in found])
    scores = [[one.score for one in found if one.score is not None] for found in zip(*rounds, strict=True)]
    moved = [found for found in scores if found and max(found) - min(found) > same]
    return len(moved) / len(questions)
