"""What is measured of a contender while it trains."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import psutil
import torch

from benchmarks.results import Timing
from benchmarks.task import Task
from stages.running.machine import peak_resident

#: How often a contender evaluates after its steps: the first time makes what later ones find ready, and does not count.
EVALUATIONS = 2


class Clock:
    """Takes the time of every step, of evaluations apart from it, and notes losses and tokens.

    On a GPU it waits for the work to be done only where the measured steps begin and end, so that a contender that
    does not wait between steps is not made to.

    Args:
        task: the task, which says how many steps come before those that are measured.
        device: "cpu" or "cuda".
    """

    def __init__(self, task: Task, device: str) -> None:
        self._task = task
        self._cuda = device == "cuda"
        self._apart = 0.0
        self._stamps: list[float] = []
        self._losses: list[float | torch.Tensor] = []
        self._tokens: list[int | torch.Tensor] = []
        self._evaluations: list[float] = []
        self._setup = 0.0
        self._busy: list[tuple[float, float]] = []

    def begin(self) -> None:
        """Training begins: model, optimiser and rows are ready."""
        self._setup = time.time() - psutil.Process().create_time() - self._apart
        self._stamp()

    def step(self, loss: float | torch.Tensor, tokens: int | torch.Tensor) -> None:
        """A step is done. Numbers may be tensors, which are read at the end.

        Args:
            loss: mean over the step's target tokens, before the update.
            tokens: number of target tokens in the step.
        """
        self._stamp()
        self._losses.append(loss)
        self._tokens.append(tokens)

    @contextlib.contextmanager
    def evaluation(self) -> Iterator[None]:
        """Time an evaluation; its time counts for no step."""
        self._wait()
        started = time.perf_counter()
        yield
        self._wait()
        self._evaluations.append(time.perf_counter() - started)
        self._apart += self._evaluations[-1]

    def result(self) -> Timing:
        """What was measured.

        Raises:
            RuntimeError: the contender made another number of steps.
        """
        warmup, every = self._task.warmup, self._task.warmup + self._task.steps
        if len(self._losses) != every:
            raise RuntimeError(f"expected {every} steps, found {len(self._losses)}")
        seconds = [after - before for before, after in zip(self._stamps, self._stamps[1:], strict=False)]
        return Timing(
            setup_s=self._setup,
            warmup_s=seconds[:warmup],
            step_s=seconds[warmup:],
            window_s=self._stamps[-1] - self._stamps[warmup],
            cores_of_others=self._cores_of_others(),
            tokens=[int(count) for count in self._tokens],
            losses=[float(loss) for loss in self._losses],
            # The first evaluation also makes what later ones find ready.
            evaluation_s=self._evaluations[1:] or self._evaluations,
            peak_memory_bytes=torch.cuda.max_memory_reserved() if self._cuda else peak_resident(),
        )

    def _cores_of_others(self) -> float:
        """Cores that other processes kept busy, on average, while the clock ran."""
        (started, before), (ended, after) = self._busy
        return max(0.0, (after - before) / (ended - started))

    def _stamp(self) -> None:
        if len(self._stamps) in (self._task.warmup, self._task.warmup + self._task.steps):
            self._wait()
            self._busy.append((time.perf_counter(), busy_elsewhere()))
        self._stamps.append(time.perf_counter() - self._apart)

    def _wait(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()


def busy_elsewhere() -> float:
    """CPU seconds that all processes but this one have used since the machine was started."""
    machine, own = psutil.cpu_times(), psutil.Process().cpu_times()
    # Linux counts the time of processes of low priority apart.
    return float(machine.user + getattr(machine, "nice", 0.0) + machine.system - own.user - own.system)
