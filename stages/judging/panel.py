"""Puts many answers to a judge, several at a time, and loses none."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.records import Verdict
from stages.judging.cache import VerdictCache
from stages.judging.judge import Judge, Judgement, Question

#: So many answers in a row without any word from the judge mean that the rest would fail too, slowly, one by one.
FAILURES_IN_A_ROW = 5


def judge_all(
    judge: Judge,
    questions: Sequence[Question],
    *,
    parallel: int = 1,
    cache: VerdictCache | None = None,
    on_progress: Callable[[int], object] = lambda _: None,
) -> list[Verdict]:
    """Judge every answer.

    Args:
        judge: who judges. Questions with equal keys are judged once, and those in ``cache`` not at all.
        questions: the answers.
        parallel: how many are judged at a time.
        cache: where scored verdicts are kept as they come.
        on_progress: called with the number of questions that have just got a verdict.

    Returns:
        One verdict a question, in their order, whatever the order in which the judge was done with them.

    Raises:
        ServiceUnavailable: the judge is gone, or `FAILURES_IN_A_ROW` answers in a row failed. What was judged before
            is in the cache.
        ConfigError: the judge's model is gone; the same holds.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, question in enumerate(questions):
        places[judge.key(question)].append(place)
    verdicts: dict[int, Verdict] = {}

    def keep(key: str, judgement: Judgement) -> None:
        verdicts.update((place, judgement.verdict(questions[place])) for place in places[key])
        on_progress(len(places[key]))

    waiting: dict[str, Question] = {}
    for key, [first, *_] in places.items():
        if cache is not None and (known := cache.get(key)) is not None:
            keep(key, known)
        else:
            waiting[key] = questions[first]
    try:
        with contextlib.closing(_judged(judge, waiting, parallel, cache)) as judged:
            for key, judgement in judged:
                keep(key, judgement)
    except (ServiceUnavailable, ConfigError) as error:
        if cache is None:
            raise
        kept = sum(len(found) for key, found in places.items() if cache.get(key) is not None)
        so_far = f"{kept} of {len(questions)} verdicts are kept in {cache.path}; the next run goes on from there"
        raise type(error)(f"{error.what}\n  {so_far}", error.fix) from error
    return [verdicts[place] for place in range(len(questions))]


def _judged(
    judge: Judge, waiting: dict[str, Question], parallel: int, cache: VerdictCache | None
) -> Generator[tuple[str, Judgement]]:
    """Yield (key, judgement) in the order in which they come. However this ends, no thread is left behind."""

    def ask(key: str, question: Question) -> tuple[str, Judgement]:
        judgement = judge.judge(question)
        if cache is not None:
            cache.put(key, judgement)
        return key, judgement

    failures = 0
    pool = ThreadPoolExecutor(parallel, thread_name_prefix="judge")
    try:
        futures: list[Future[tuple[str, Judgement]]] = [pool.submit(ask, *item) for item in waiting.items()]
        for future in as_completed(futures):
            key, judgement = future.result()
            yield key, judgement
            failures = failures + 1 if judgement.status == "failed" else 0
            if failures == FAILURES_IN_A_ROW:
                raise ServiceUnavailable(
                    f"the judge failed on {failures} answers in a row, the last time with: {judgement.detail}",
                    "see what the judge's server logs, then run the same command again",
                )
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        judge.close()
        raise
    finally:
        pool.shutdown()
