"""What the stage generate tells of its answers: how many there are, how fast they come, and what they are like."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from stages.common.metrics.generate import AnswerMetrics
from stages.common.plurals import counted, word
from stages.common.records import ModelName
from stages.running.console import progress, say, time_left

#: Seconds between two lines on the progress.
REPORT_SECONDS = 30.0


class AnswerProgress:
    """A progress bar over the answers of one model, and a line now and then. Used in a ``with`` block.

    Args:
        name: name of the model.
        count: number of rows.
        done: how many of them an earlier run has answered.
        clock: function that returns the time in seconds.
    """

    def __init__(self, name: ModelName, count: int, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._count, self._done, self._clock = name, count, done, clock
        self._new = self._tokens = 0
        self._began = self._said = clock()
        self._bar = progress(total=count, done=done, unit="row", what=f"generate, {name} model")

    def __enter__(self) -> Self:
        """Show the bar."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bar."""
        self._bar.close()

    def answered(self, tokens: int) -> None:
        """One more row is answered, with so many tokens."""
        self._done, self._new, self._tokens = self._done + 1, self._new + 1, self._tokens + tokens
        self._bar.update()
        self._bar.set_postfix_str(self.speed, refresh=False)
        now = self._clock()
        if now - self._said > REPORT_SECONDS:
            self._said = now
            left = time_left((self._count - self._done) * (now - self._began) / self._new, ", {} left")
            say(f"{self._name} model: {self._done:,} of {counted(self._count, 'row')}, {self.speed}{left}")

    @property
    def speed(self) -> str:
        """Tokens a second since this run began."""
        return f"{self._tokens / max(self._clock() - self._began, 1e-9):,.0f} tokens/s"


def say_kept(name: ModelName, kept: int, count: int) -> None:
    """Say how many of a model's answers an earlier run has left, if any."""
    if kept == count:
        there = word(count, "its answer is", f"all {count:,} answers are")
        say(f"{name} model: {there} there from an earlier run")
    elif kept:
        say(f"{name} model: going on after {counted(kept, 'answer')} of a run that was stopped")


def describe(metrics: AnswerMetrics) -> str:
    """One line about a model's answers."""
    stopped = (
        ("end_of_text", metrics.end_of_text),
        ("max_new_tokens", metrics.max_new_tokens),
        ("context", metrics.context),
    )
    reasons = ", ".join(f"{name} {count}" for name, count in stopped if count)
    line = f"{counted(metrics.rows, 'answer')}, {counted(metrics.tokens, 'token')}, ended by {reasons}"
    if blocked := metrics.no_room:
        line += f"; {counted(blocked, 'prompt leaves', 'prompts leave')} no room for an answer"
    if metrics.bf16_changed is not None:
        compared = counted(metrics.bf16_compared or 0, "answer")
        line += f"; bf16 changes {metrics.bf16_changed:.0%} of the first {compared}"
    return line
