"""The clock of a fine-tuning run, and how fast the machine under it multiplies matrices."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds that measuring the rate of matrix products may take, and the width of the square ones it makes: a GPU is busy
#: with large ones alone.
RATE_SECONDS = 0.25
RATE_SIZES = {"cpu": 1024, "cuda": 4096}
#: Times that it multiplies at least, the first not counted, however slow the machine.
RATE_TIMES = 3


class Meter:
    """Takes the time of a run's steps, and apart from them that of evaluations, samples and checkpoints.

    It draws no random number and touches no tensor of the run, so that a run with it and one without end with the same
    bits.

    Args:
        device: of the run; on a GPU, times taken apart wait for its work to be done.
        now: the clock, in seconds.
    """

    def __init__(self, device: torch.device, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._cuda = device.type == "cuda"
        #: Seconds taken apart, by what they were spent on.
        self.apart: dict[str, float] = {}
        #: How often each was done.
        self.times: dict[str, int] = {}
        #: When each step done here ended, by its number. All of this clock leaves out what was taken apart.
        self.steps: dict[int, float] = {}
        self.begun = 0.0

    def timed(self, what: str, function: Callable[P, T]) -> Callable[P, T]:
        """The function, with its time taken under a name such as "evaluation" and left out of that of the steps."""

        @functools.wraps(function)
        def wrapped(*arguments: P.args, **named: P.kwargs) -> T:
            self._wait()
            started = self._now()
            try:
                return function(*arguments, **named)
            finally:
                self._wait()
                self.apart[what] = self.apart.get(what, 0.0) + self._now() - started
                self.times[what] = self.times.get(what, 0) + 1

        return wrapped

    def begin(self) -> None:
        """Training begins: model and rows are ready."""
        self.begun = self._stamp()

    def step(self, number: int) -> None:
        """Step ``number`` is done."""
        self.steps[number] = self._stamp()

    @property
    def steady(self) -> list[int]:
        """The steps done here but for the first, which makes what later ones find ready."""
        return list(self.steps)[1:]

    @property
    def steady_seconds(self) -> float:
        """The seconds that the steady steps took together."""
        ends = list(self.steps.values())
        return ends[-1] - ends[0] if ends else 0.0

    def _stamp(self) -> float:
        return self._now() - sum(self.apart.values())

    def _wait(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()
