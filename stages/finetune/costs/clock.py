"""The clock of a fine-tuning run, and how fast the machine under it multiplies matrices."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import psutil
import torch

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds that measuring the rate of matrix products may take, and the width of the square ones it makes: a GPU is busy
#: with large ones alone.
RATE_SECONDS = 0.25
RATE_SIZES = {"cpu": 1024, "cuda": 4096}
#: Times that it multiplies at least, the first not counted, however slow the machine.
RATE_TIMES = 3


def matmul_rate(device: torch.device, dtype: torch.dtype, seconds: float = RATE_SECONDS) -> float:
    """The operations a second that matrix products of a dtype reach here, by the fastest of those made in the time."""
    size = RATE_SIZES[device.type]
    # Drawn apart, so that no other random number changes.
    generator = torch.Generator(device).manual_seed(0)
    a, b = (torch.randn(size, size, device=device, generator=generator).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while len(taken) <= RATE_TIMES or time.perf_counter() < until:
        started = time.perf_counter()
        torch.mm(a, b, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return 2 * size**3 / min(taken[1:])


def since_start() -> float:
    """Seconds since this process began."""
    return time.time() - psutil.Process().create_time()


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
        #: Seconds from the process's beginning to the end of its first step.
        self.first_step_at: float | None = None

    def timed(self, what: str, function: Callable[P, T]) -> Callable[P, T]:
        """The function, with its time taken under a name such as "evaluation" and left out of that of the steps."""

        @functools.wraps(function, updated=())
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

    def step(self, number: int) -> None:
        """Step ``number`` is done."""
        if self.first_step_at is None:
            self.first_step_at = since_start()
        self.steps[number] = self._now() - sum(self.apart.values())

    @property
    def steady(self) -> list[int]:
        """The steps done here but for the first, which makes what later ones find ready."""
        return list(self.steps)[1:]

    @property
    def steady_seconds(self) -> float:
        """The seconds that the steady steps took together."""
        ends = list(self.steps.values())
        return ends[-1] - ends[0] if ends else 0.0

    def _wait(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()
