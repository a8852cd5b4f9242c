"""Puts many answers to a judge, several at a time, and loses none."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

from stages.common.errors import ConfigError, PipelineError, ServiceUnavailable
from stages.common.plurals import counted, word
from stages.common.results.judge import Verdict
from stages.judge.cache import VerdictCache
from stages.judge.judges.protocol import TRIAL, JudgeBackend, JudgeChanged, Judgement, Question
from stages.running import console

#: After so many failures in a row the judge is asked `TRIAL`: either it is gone, and all others would fail too, slowly,
#: one by one, or it fails on these answers alone.
FAILURES_IN_A_ROW = 5
#: The shortest time between two checks that the judge is still the same, in seconds.
CHECK_SECONDS = 5.0
#: Seconds that a last such check may take where the run is stopped.
LAST_CHECK_SECONDS = 1.0
#: The longest wait without a look for signals, in seconds. One that comes just before a wait is seen after it.
HEED_SECONDS = 1.0
#: Judgements queued or under way for each that the judge makes at a time, so that no thread waits.
AHEAD = 2
#: Questions that may be read ahead of the first without a verdict, so that memory does not grow with their number. The
#: judge waits only if it is done with so many others while it spends its whole deadline on one.
MOST_WAITING = 10_000

#: A question with the keys of its judgements.
_Waiting = tuple[Question, Sequence[str]]


class Progress(Protocol):
    """What `judge_each` reports its progress to, such as `stages.running.console.Forecast`."""

    def start(self, total: int) -> None:
        """Judging begins, with ``total`` judgements."""
        ...

    def known(self, count: int) -> None:
        """``count`` of them need not be asked for: they are in the cache, or asked for already."""
        ...

    def made(self, count: int) -> None:
        """``count`` of them have just come."""
        ...


class _Silent:
    def start(self, total: int) -> None: ...

    def known(self, count: int) -> None: ...

    def made(self, count: int) -> None: ...


SILENT = _Silent()


@dataclass(frozen=True)
class Asking:
    """How answers are put to a judge.

    With a cache, memory holds what is under way, and 130 bytes a verdict in the cache's index.

    Args:
        parallel: number of answers that are judged at a time.
        repeats: number of judgements of each answer; the score is their mean. If one has no score, there is none.
        skip_exact: whether answers that are equal to their reference get 100 without being judged.
        cache: cache that keeps verdicts as they come.
        check_seconds: seconds as in `CHECK_SECONDS`.
    """

    parallel: int = 1
    repeats: int = 1
    skip_exact: bool = False
    cache: VerdictCache | None = None
    check_seconds: float = CHECK_SECONDS

    def judgements(self, question: Question) -> int:
        """Number of judgements that the answer needs."""
        return 0 if self.skip_exact and question.is_exact else self.repeats

    def keys(self, judge: JudgeBackend, question: Question) -> list[str]:
        """Keys of these judgements."""
        return [judge.key(question, repeat) for repeat in range(self.judgements(question))]


def judge_with_progress_bar(
    judge: JudgeBackend,
    questions: Sequence[Question],
    asking: Asking,
    *,
    what: str,
    until: Callable[[Sequence[Verdict]], bool] | None = None,
) -> list[Verdict]:
    """All that `judge_each` yields, with a progress bar or, without a terminal, a line that estimates the rest.

    Where ``until`` says so of the verdicts so far, these are returned, and the judge is checked and closed.

    Raises:
        ServiceUnavailable, ConfigError: as in `judge_each`, also where ``until`` ends it.
    """
    found: list[Verdict] = []
    with console.progress(total=len(questions), unit="verdict", what=what) as bar:
        forecast = console.Forecast(bar, unit="verdicts", what=what, at_a_time=asking.parallel)
        enough = None if until is None else lambda: until(found)
        with contextlib.closing(judge_each(judge, questions, asking, forecast, enough)) as verdicts:
            # No list(...): `enough` reads what has been found so far.
            for verdict in verdicts:
                found.append(verdict)
    return found


def judge_each(
    judge: JudgeBackend,
    questions: Sequence[Question],
    asking: Asking,
    progress: Progress = SILENT,
    enough: Callable[[], bool] | None = None,
) -> Generator[Verdict]:
    """Judge every answer.

    Where it is stopped, as by Ctrl-C, the judge is checked once more: the cache keeps what came before, and not what
    another judge may have said. A kill leaves no time for that, and keeps the replies of `CHECK_SECONDS` unchecked.

    Args:
        judge: the judge. Questions with equal keys are put to it once, and those in the cache not at all.
        questions: the answers.
        asking: how they are put to the judge.
        progress: receiver of the number of judgements, and of each when it is there.
        enough: asked when a verdict has been taken. Where it says so, no more are made: the judge is checked and
            closed, and replies that came behind this check are not kept.

    Yields:
        One verdict a question, in the order of the questions, up to where there are enough.
        Use them only when all have come: until then it may turn out that the judge has changed.

    Raises:
        ServiceUnavailable: the judge is gone, or fails on every question. Earlier verdicts are in the cache.
        JudgeChanged: it became another in the middle. What the other may have said is not in the cache.
        ConfigError: the judge's model is gone. Earlier verdicts are in the cache.
    """
    progress.start(sum(map(asking.judgements, questions)))
    cache = asking.cache
    watch = _Watch(judge, cache, asking.check_seconds)
    stopped = False
    waiting = ((question, asking.keys(judge, question)) for question in questions)
    try:
        with contextlib.closing(_in_order(judge, waiting, asking.parallel, _Kept(cache), watch, progress)) as made:
            for verdict in made:
                yield verdict
                stopped = enough is not None and enough()
                if stopped:
                    break
            watch.finish()
        if stopped and cache is not None:  # what was under way has come behind the check
            cache.forget_since(watch.seen)
    except JudgeChanged:
        if cache is not None:
            cache.forget_since(watch.seen)
        raise
    except (ServiceUnavailable, ConfigError) as error:
        if cache is None:
            raise
        wanted = {key for question in questions for key in asking.keys(judge, question)}
        kept = sum(key in cache for key in wanted)
        verdicts = f"{kept} of {counted(len(wanted), 'verdict')} {word(kept, 'is', 'are')}"
        so_far = f"{verdicts} kept in {cache.path}; the next run goes on from there"
        raise type(error)(f"{error.what}\n  {so_far}", error.fix) from error
    except BaseException as error:
        if cache is not None and not isinstance(error, Exception):  # it is stopped
            cache.forget_since(watch.seen)
        raise


def _verdict(question: Question, judgements: Sequence[Judgement]) -> Verdict:
    """The verdict on one question: the one judgement, the mean of several, or the first without a score.

    Without judgements it is 100: the answer is equal to the reference, and was not put to the judge.
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


class _Kept:
    """Judgements by key: in the cache, and here those that it does not keep."""

    def __init__(self, cache: VerdictCache | None) -> None:
        self._cache = cache
        self._others: dict[str, Judgement] = {}

    def get(self, key: str) -> Judgement | None:
        return self._others.get(key) or (None if self._cache is None else self._cache.get(key))

    def all(self, keys: Sequence[str]) -> list[Judgement] | None:
        """The judgements with these keys; None if one is not there yet."""
        found = [judgement for key in keys if (judgement := self.get(key)) is not None]
        return found if len(found) == len(keys) else None

    def put(self, key: str, judgement: Judgement) -> None:
        """Called in the judge's threads: when a verdict is there, so is its line in the cache."""
        if self._cache is None or not self._cache.put(key, judgement):
            self._others[key] = judgement


class _Watch:
    """Makes sure that the judge is there and is still the same.

    Attributes:
        seen: end of the cache when the judge was last seen to be the same.
        asked: whether it was asked anything.
    """

    def __init__(self, judge: JudgeBackend, cache: VerdictCache | None, seconds: float) -> None:
        self._judge, self._cache, self._seconds = judge, cache, seconds
        self.seen = self._end()
        self._checked = time.monotonic()
        self._failures, self._unchecked = 0, False
        self.asked = False

    def note(self, judgement: Judgement, pool: ThreadPoolExecutor) -> None:
        """A judgement has come, from one of the pool's threads."""
        self._unchecked = True
        self._failures = self._failures + 1 if judgement.status == "failed" else 0
        if self._failures == FAILURES_IN_A_ROW:
            _require_alive(self._judge, judgement, pool)
            self._failures = 0
        if time.monotonic() - self._checked > self._seconds:
            self._check()

    def finish(self) -> None:
        """All that are used have come, of which some may not have been noted yet."""
        if self._unchecked or self._end() != self.seen or (self._cache is None and self.asked):
            self._check()

    def last(self) -> None:
        """It is stopped: check once more, for `LAST_CHECK_SECONDS` at most. What is not checked will be forgotten."""
        if self._cache is None or self._end() == self.seen:
            return
        pool = ThreadPoolExecutor(1, thread_name_prefix="judge-check")
        try:
            pool.submit(self._check).result(LAST_CHECK_SECONDS)
        except (PipelineError, TimeoutError) as error:
            why = error.what if isinstance(error, PipelineError) else "the judge's server does not answer at once"
            console.say(f"the last verdicts are not kept, as it is not known whether the judge is the same: {why}")
        finally:
            pool.shutdown(wait=False)

    def _check(self) -> None:
        end = self._end()
        self._judge.check()
        self.seen, self._checked, self._unchecked = end, time.monotonic(), False

    def _end(self) -> int:
        return 0 if self._cache is None else self._cache.mark()


def _require_alive(judge: JudgeBackend, last: Judgement, pool: ThreadPoolExecutor) -> None:
    """Ask the judge a question that any judge answers, in the pool's queue.

    Outside the pool it would be one question more than the server takes at a time, and would wait there while its
    deadline runs.

    Raises:
        ServiceUnavailable: it does not.
    """
    trial = pool.submit(judge.judge, TRIAL)
    while not wait([trial], HEED_SECONDS).done:
        pass
    if trial.result().status == "failed":
        raise ServiceUnavailable(
            f"the judge failed on {FAILURES_IN_A_ROW} answers in a row, the last time with: {last.detail}; "
            "and it does not answer a simple question either",
            "see what the judge's server logs, then run the same command again",
        )


def _in_order(
    judge: JudgeBackend,
    questions: Iterator[_Waiting],
    parallel: int,
    kept: _Kept,
    watch: _Watch,
    progress: Progress,
) -> Generator[Verdict]:
    """Yield the verdicts in the questions' order. However this ends, no thread is left behind."""

    def ask(question: Question, repeat: int, key: str) -> Judgement:
        watch.asked = True
        judgement = judge.judge(question, repeat)
        kept.put(key, judgement)
        return judgement

    waiting: deque[_Waiting] = deque()
    under_way: dict[str, Future[Judgement]] = {}
    pool = ThreadPoolExecutor(parallel, thread_name_prefix="judge")
    try:
        while True:
            while len(under_way) < AHEAD * parallel and len(waiting) < MOST_WAITING:
                if (read := next(questions, None)) is None:
                    break
                waiting.append(read)
                question, keys = read
                fresh = {key: repeat for repeat, key in enumerate(keys) if key not in under_way and not kept.get(key)}
                under_way |= {key: pool.submit(ask, question, repeat, key) for key, repeat in fresh.items()}
                progress.known(len(keys) - len(fresh))
            while waiting and (judged := kept.all(waiting[0][1])) is not None:
                yield _verdict(waiting.popleft()[0], judged)
            if under_way:
                wait(under_way.values(), HEED_SECONDS, return_when=FIRST_COMPLETED)
            elif not waiting:
                break
            for key in [key for key, future in under_way.items() if future.done()]:
                judgement = under_way.pop(key).result()
                progress.made(1)
                watch.note(judgement, pool)
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        try:
            if not isinstance(error, Exception):  # it is stopped, and nothing is wrong
                watch.last()
        finally:
            judge.close()
        raise
    finally:
        pool.shutdown()
