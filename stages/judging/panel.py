"""Puts many answers to a judge, several at a time, and loses none."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.records import Verdict
from stages.judging.cache import VerdictCache
from stages.judging.judge import TRIAL, Judge, JudgeChanged, Judgement, Question

#: After so many answers in a row without any word from the judge it is asked `TRIAL`: either it is gone, and the rest
#: would fail too, slowly, one by one, or it is these answers that it fails on.
FAILURES_IN_A_ROW = 5
#: The least time between two looks at whether the judge is still the same, in seconds.
CHECK_SECONDS = 5.0
#: Answers handed out ahead of the judge, for each that it judges at a time: no thread waits, and 100,000 of them are
#: not held in as many futures.
AHEAD = 2

#: One question to the judge: an answer, and which judgement of it.
_Item = tuple[Question, int]


def judge_all(
    judge: Judge,
    questions: Sequence[Question],
    *,
    parallel: int = 1,
    repeats: int = 1,
    skip_exact: bool = False,
    cache: VerdictCache | None = None,
    on_start: Callable[[int], object] = lambda _: None,
    on_progress: Callable[[int], object] = lambda _: None,
    check_seconds: float = CHECK_SECONDS,
) -> list[Verdict]:
    """Judge every answer.

    Args:
        judge: who judges. Questions with equal keys are judged once, and those in ``cache`` not at all.
        questions: the answers.
        parallel: how many are judged at a time.
        repeats: how often each is judged; the score is the mean. One judgement without a score leaves it without.
        skip_exact: give answers that are equal to their reference 100 and do not ask.
        cache: where verdicts are kept as they come.
        on_start: called with the number of judgements that there will be.
        on_progress: called with the number of judgements that have just come.
        check_seconds: see `CHECK_SECONDS`.

    Returns:
        One verdict a question, in their order, whatever the order in which the judge was done with them.

    Raises:
        ServiceUnavailable: the judge is gone, or fails on every question by now. What was judged before is in the
            cache.
        JudgeChanged: it became another in the middle. What the other may have said is not in the cache.
        ConfigError: the judge's model is gone; the same holds.
    """
    keys = [
        [] if skip_exact and question.is_exact else [judge.key(question, repeat) for repeat in range(repeats)]
        for question in questions
    ]
    items = {
        key: (question, repeat)
        for question, found in zip(questions, keys, strict=True)
        for repeat, key in enumerate(found)
    }
    known = {} if cache is None else {key: found for key in items if (found := cache.get(key)) is not None}
    waiting = {key: item for key, item in items.items() if key not in known}
    on_start(len(items))
    on_progress(len(known))
    try:
        judgements = known | _ask_all(judge, waiting, parallel, cache, on_progress, check_seconds)
    except (ServiceUnavailable, ConfigError) as error:
        if cache is None:
            raise
        kept = sum(cache.get(key) is not None for key in items)
        so_far = f"{kept} of {len(items)} verdicts are kept in {cache.path}; the next run goes on from there"
        raise type(error)(f"{error.what}\n  {so_far}", error.fix) from error
    return [
        _verdict(question, [judgements[key] for key in found]) for question, found in zip(questions, keys, strict=True)
    ]


def _verdict(question: Question, judgements: Sequence[Judgement]) -> Verdict:
    """The verdict on one question: the one judgement, the mean of several, or the first that is no score; 100 if it was
    not asked, being equal to the reference.
    """
    if not judgements:
        return Judgement("scored", 100.0, "equal to the reference; not asked").verdict(question)
    without = [judgement for judgement in judgements if judgement.score is None]
    if len(judgements) == 1 or without:
        return (without or judgements)[0].verdict(question)
    scores = [judgement.score for judgement in judgements if judgement.score is not None]
    said = f"{len(scores)} judgements: {', '.join(f'{score:g}' for score in scores)}"
    mean, spread = round(statistics.fmean(scores), 2), round(statistics.stdev(scores), 2)
    return Judgement("scored", mean, said, spread).verdict(question)


def _ask_all(
    judge: Judge,
    waiting: Mapping[str, _Item],
    parallel: int,
    cache: VerdictCache | None,
    on_progress: Callable[[int], object],
    check_seconds: float,
) -> dict[str, Judgement]:
    """Every judgement by key. Those that came since the judge was last seen to be the same go if it has changed."""
    found: dict[str, Judgement] = {}
    seen = 0 if cache is None else cache.mark()
    checked = time.monotonic()
    failures = 0

    def check() -> None:
        nonlocal seen, checked
        end = 0 if cache is None else cache.mark()
        judge.check()
        seen, checked = end, time.monotonic()

    try:
        with contextlib.closing(_judged(judge, waiting, parallel, cache)) as judged:
            for key, judgement in judged:
                found[key] = judgement
                on_progress(1)
                failures = failures + 1 if judgement.status == "failed" else 0
                if failures == FAILURES_IN_A_ROW:
                    _require_alive(judge, judgement)
                    failures = 0
                if time.monotonic() - checked > check_seconds:
                    check()
        if waiting:
            check()
    except JudgeChanged:
        if cache is not None:
            cache.forget_since(seen)
        raise
    return found


def _require_alive(judge: Judge, last: Judgement) -> None:
    """Ask the judge what it can answer.

    Raises:
        ServiceUnavailable: it does not.
    """
    if judge.judge(TRIAL).status == "failed":
        raise ServiceUnavailable(
            f"the judge failed on {FAILURES_IN_A_ROW} answers in a row, the last time with: {last.detail}; "
            "and it does not answer a simple question either",
            "see what the judge's server logs, then run the same command again",
        )


def _judged(
    judge: Judge, waiting: Mapping[str, _Item], parallel: int, cache: VerdictCache | None
) -> Generator[tuple[str, Judgement]]:
    """Yield (key, judgement) in the order in which they come. However this ends, no thread is left behind."""

    def ask(key: str, item: _Item) -> tuple[str, Judgement]:
        judgement = judge.judge(*item)
        if cache is not None:
            cache.put(key, judgement)
        return key, judgement

    pool = ThreadPoolExecutor(parallel, thread_name_prefix="judge")
    remaining = iter(waiting.items())
    under_way: set[Future[tuple[str, Judgement]]] = set()
    try:
        while True:
            room = AHEAD * parallel - len(under_way)
            under_way |= {pool.submit(ask, *item) for item in islice(remaining, room)}
            if not under_way:
                break
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            yield from [future.result() for future in done]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        judge.close()
        raise
    finally:
        pool.shutdown()
