"""The clock of a fine-tuning run, and how fast the machine under it multiplies matrices."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from stages.gpt2.runtime import Compute
from stages.running import machine

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds that measuring the rate of matrix products may take, and the width of the square ones that are multiplied:
#: only large ones keep a GPU busy.
RATE_SECONDS = 0.25
RATE_SIZES = {"cpu": 1024, "cuda": 4096}
#: Products that are timed at least, however slow the machine; the first is not counted.
RATE_TIMES = 3


def matmul_rate(compute: Compute, seconds: float = RATE_SECONDS) -> float:
    """Operations a second of matrix products on a device, in a dtype: the peak that HFU refers to.

    It is that of the fastest product made within ``seconds``. On a machine where other programs are at work all that
    time it is too low.
    """
    device = compute.device
    size = RATE_SIZES[device.type]
    # With a generator of its own, so that no other random number changes.
    generator = torch.Generator(device).manual_seed(0)
    a, b = (torch.randn(size, size, device=device, generator=generator).to(compute.dtype) for _ in range(2))
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
    return machine.since_start()


class Clock:
    """Takes the time of a run's steps, and apart from them that of evaluations and checkpoints.

    It draws no random number and touches no tensor of the run: a run with it ends with the same bits as one without.

    Args:
        device: the device of the run; on a GPU, times taken apart wait for its work to be done.
        now: the time in seconds.
    """

    def __init__(self, device: torch.device, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._cuda = device.type == "cuda"
        #: Seconds taken apart, by what they were spent on.
        self.apart: dict[str, float] = {}
        #: How often each was done.
        self.times: dict[str, int] = {}
        #: When each step done here ended, by its number; what was taken apart is left out.
        self.steps: dict[int, float] = {}
        #: Seconds from the process's beginning to the end of its first step.
        self.first_step_at: float | None = None

    def timed(self, what: str, function: Callable[P, T]) -> Callable[P, T]:
        """The function, with its time taken under a name such as "evaluation", left out of that of the steps."""

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
        """Note that step ``number`` is done."""
        if self.first_step_at is None:
            self.first_step_at = since_start()
        self.steps[number] = self._now() - sum(self.apart.values())

    @property
    def steady(self) -> list[int]:
        """The steps done here but for the first, which makes things that later steps use again."""
        return list(self.steps)[1:]

    @property
    def steady_seconds(self) -> float:
        """The seconds that the steady steps took together."""
        ends = list(self.steps.values())
        return ends[-1] - ends[0] if ends else 0.0

    def _wait(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()
