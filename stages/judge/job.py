"""Scores every answer to the test prompts, compares the models' answers in pairwise mode, and writes the result."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.common.files import sha256
from stages.common.metrics.judge import JudgeIdentity
from stages.common.records import write_metrics
from stages.common.results.judge import JUDGE_CACHE, VERDICTS, PairVerdict, Verdict
from stages.judge.answers import Answers, read_answers
from stages.judge.cache import VerdictCache, cache_path
from stages.judge.judges.opening import open_judge
from stages.judge.judges.protocol import JudgeBackend, Question, fingerprint
from stages.judge.outputs import Compared, Scored, write
from stages.judge.panel import Asking, judge_with_progress_bar
from stages.judge.scores.faults import with_rightness
from stages.judge.scores.pairwise import in_both_orders, settle
from stages.judge.self_test import SELF_TESTS, pair_test, self_test
from stages.judge.thresholds import require_outcomes, require_scores
from stages.params.judge import Judge
from stages.running import bookkeeping, summary, writable
from stages.running.costs import JUDGING_COSTS, JudgingCosts
from stages.running.tracking import tracker


def judge_answers(settings: Judge) -> None:
    """Judge every answer, and write what the stage promises."""
    with contextlib.ExitStack() as at_end, tracker.stage("judge") as run:
        # What waits takes memory, which a language model may need.
        if all(one.backend == "reference" for one in _each(settings)):
            run.begin_report()
        answers = read_answers(settings)
        with open_judges(settings) as judges:
            try:
                scored, compared = judge_and_write(judges, answers, settings)
            except BaseException:
                keep_costs(costs_of(judges), finished=False)
                raise
            keep_costs(costs_of(judges), finished=True)
        run.publish()
        stands = False
        if not run.under_flow:
            # It tells whether MLflow has taken the run.
            at_end.callback(lambda: summary.tell(stands=stands, commit_tried=run.compared))
        require_enough(answers, scored, compared, settings)
        stands = True


def require_enough(answers: Answers, scored: Sequence[Scored], compared: Compared | None, settings: Judge) -> None:
    """Refuse a result in which too many answers have no score, or too many pairs no verdict.

    Args:
        answers: the answers.
        scored: the scores of each judge, the first one first.
        compared: both models' answers side by side; None in the mode score.
        settings: settings; ``max_invalid`` is used.

    Raises:
        ServiceUnavailable, ConfigError: as `stages.judge.thresholds`.
    """
    for number, one in enumerate(scored):
        verdicts = one.by_model()
        for model in answers.models:
            require_scores(verdicts[model], settings.max_invalid, by=one.judge.name if number else "")
    if compared is not None:
        require_outcomes(compared.pairs, settings.max_invalid)


@contextlib.contextmanager
def open_judges(settings: Judge) -> Iterator[list[JudgeBackend]]:
    """Open all judges, the first one first, and close them after the block; errors as `opening.open_judge`."""
    with contextlib.ExitStack() as opened:
        judges = [opened.enter_context(contextlib.closing(open_judge(one))) for one in _each(settings)]
        if any(judge.cacheable for judge in judges):
            writable.require(JUDGE_CACHE)
        yield judges


def _each(settings: Judge) -> list[Judge]:
    """The settings of each judge, the first one first."""
    return [settings, *settings.further()]


def costs_of(judges: Sequence[JudgeBackend]) -> JudgingCosts | None:
    """What all judges have cost together; None where nothing was asked."""
    found = [costs for judge in judges if (costs := judge.costs()) is not None]
    return functools.reduce(JudgingCosts.plus, found) if found else None


def judge_and_write(
    judges: Sequence[JudgeBackend], answers: Answers, settings: Judge
) -> tuple[list[Scored], Compared | None]:
    """Try the judges, score the answers, compare them in pairwise mode, and write the files of the stage.

    All tests of judges come first. The scores are written before the comparison, which can fail.

    Args:
        judges: the judges, the first one first.
        answers: the answers.
        settings: settings of the first.

    Returns:
        The scores of each judge, and the comparison by the first one.
    """
    judge = judges[0]
    comparing = judge.comparing() if settings.mode == "pairwise" else None
    tests = [self_test(one, own, kept_tests(one)) for one, own in zip(judges, _each(settings), strict=True)]
    pairs_tested = None if comparing is None else pair_test(comparing, settings, kept_tests(comparing))
    first, *further = (
        Scored(marked(identity_of_scores(one, own), tested.mark), tested, score_answers(one, answers, own))
        for one, own, tested in zip(judges, _each(settings), tests, strict=True)
    )
    write(answers, first, None, settings, further)
    if comparing is None or pairs_tested is None:
        return [first, *further], None
    identity = marked(identified(comparing.identity()), pairs_tested.mark)
    compared = Compared(identity, pairs_tested, compare_answers(comparing, answers.questions, settings))
    write(answers, first, compared, settings, further)
    return [first, *further], compared


def kept_tests(judge: JudgeBackend) -> Path | None:
    """The folder of the tests that judges have passed; None for a judge that is as quickly tested again."""
    return SELF_TESTS if judge.cacheable else None


def identity_of_scores(judge: JudgeBackend, settings: Judge) -> JudgeIdentity:
    """Who judges and how its scores are made: how often each is asked for, and whether exact answers are."""
    identity = judge.identity()
    if not judge.deterministic:
        identity |= {"repeats": str(settings.repeats), "exact_match": settings.exact_match}
    return identified(identity)


def identified(identity: dict[str, str]) -> JudgeIdentity:
    """An identity with its fingerprint."""
    return JudgeIdentity.model_validate({"fingerprint": fingerprint(identity), **identity})


def marked(identity: JudgeIdentity, mark: str | None) -> JudgeIdentity:
    """An identity with what the self-test has found, which goes wherever the scores go; its fingerprint stays."""
    return JudgeIdentity.model_validate(identity.model_dump() | ({"self_test": mark} if mark else {}))


def score_answers(judge: JudgeBackend, answers: Answers, settings: Judge) -> list[Verdict]:
    """A verdict on every answer, marked with the answer's faults."""
    repeats = 1 if judge.deterministic else settings.repeats
    # A fixed measure is asked of every answer: an exact one to an open row would have a score where others have none.
    skip_exact = settings.exact_match == "skip" and not judge.deterministic
    found = _judged(judge, answers.questions, settings, "judging", repeats=repeats, skip_exact=skip_exact)
    return [with_rightness(v.model_copy(update={"faults": list(answers.faults[v.id, v.model])})) for v in found]


def compare_answers(
    comparing: JudgeBackend, questions: Sequence[Question], settings: Judge, what: str = "comparing"
) -> list[PairVerdict]:
    """Two answers to each row, compared in both orders. Each is asked once: judge.repeats is for scores.

    Args:
        comparing: the judge.
        questions: one question a row and model, with both models for every row.
        settings: settings; ``parallel`` is used.
        what: what the progress bar calls it.
    """
    # A fixed measure is asked about identical answers too: those to an open row are no tie, as others to it are not.
    asked = in_both_orders(questions, identical=comparing.deterministic)
    return settle(questions, _judged(comparing, asked, settings, what))


def _judged(
    judge: JudgeBackend,
    questions: Sequence[Question],
    settings: Judge,
    what: str,
    *,
    repeats: int = 1,
    skip_exact: bool = False,
) -> list[Verdict]:
    with contextlib.ExitStack() as stack:
        cache = None
        if judge.cacheable:
            cache = stack.enter_context(VerdictCache(cache_path(judge.identity())))
        asking = Asking(settings.parallel, repeats, skip_exact, cache)
        return judge_with_progress_bar(judge, questions, asking, what=what)


def keep_costs(costs: JudgingCosts | None, *, finished: bool) -> None:
    """Keep what the judging has cost, outside the stage's results, which may not depend on it.

    Args:
        costs: the costs so far; None for a judge without costs.
        finished: whether the verdicts that these costs belong to are written; the summary then shows both.
    """
    if costs is None:
        return
    with bookkeeping.optional(JUDGING_COSTS):
        write_metrics(JUDGING_COSTS, costs.model_copy(update={"verdicts": sha256(VERDICTS)}) if finished else costs)
