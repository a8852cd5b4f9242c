"""What a fine-tuning run costs: estimated as soon as the first steps allow it, and measured at the end.

A run that is over too early has no estimate.
"""

from __future__ import annotations

from collections.abc import Callable

from stages.finetune.costs.clock import Clock, since_start
from stages.finetune.costs.work import Plan
from stages.running.console import duration, time_left
from stages.running.costs import TrainingCosts

#: The estimate waits for so many steps after the first one, and for so many seconds of them.
STEPS_BEFORE = 5
SECONDS_BEFORE = 2.0
TERA = 1e12


class Ledger:
    """The costs of a run.

    Args:
        plan: what the run computes.
        clock: the clock of its steps and of what is timed apart.
        measure: function that returns the operations a second that matrix products of its dtype reach on its device.
            It is called here and again for the costs, and the larger rate is the peak: other programs that are at work
            during one measurement make it too low.
        say: function that prints the estimate.
        since_start: function that returns the seconds since the program began.
    """

    def __init__(
        self,
        plan: Plan,
        clock: Clock,
        *,
        measure: Callable[[], float],
        say: Callable[[str], None],
        since_start: Callable[[], float] = since_start,
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._measure = measure
        self._peak = measure()
        self._say = say
        self._since_start = since_start
        #: The estimated seconds of the whole stage; None as long as nothing was said.
        self.estimated: float | None = None

    def step(self, number: int) -> None:
        """Note that step ``number`` is done. Once there is enough to go by, say how long the stage will take.

        Of a stage that is almost over it says nothing.
        """
        self._clock.step(number)
        steady = len(self._clock.steady)
        if self.estimated is None and steady >= STEPS_BEFORE and self._clock.steady_seconds >= SECONDS_BEFORE:
            left = self._plan.seconds_left(
                number, rate=self._rate() or 1.0, evaluation_seconds=self._each("evaluation")
            )
            if not (still := time_left(left, "{} from now")):  # it is over before the line is read
                return
            self.estimated = self._since_start() + left
            self._say(
                f"step {number}/{len(self._plan.steps)}: the stage will take about {duration(self.estimated)}, {still}"
            )

    def costs(
        self,
        *,
        history: str,
        device: str,
        precision: str,
        peak_memory_bytes: int,
        estimated_memory_bytes: int,
        steps_before: int = 0,
        seconds_before: float | None = None,
    ) -> TrainingCosts:
        """What the run has cost. What is counted and how, and the arguments, see `TrainingCosts`.

        Where training did more operations a second than either measurement, no peak is known, and so no HFU.
        """
        self._measure_again()
        clock, evaluation = self._clock, self._plan.evaluation
        done, steady = self._plan.of(clock.steps), self._plan.of(clock.steady)
        evaluations = clock.times.get("evaluation", 0)
        rate, seconds = self._rate(), clock.steady_seconds
        return TrainingCosts(
            history=history,
            device=device,
            precision=precision,
            steps=len(clock.steps),
            evaluations=evaluations,
            useful_tokens=done.tokens,
            computed_tokens=done.computed,
            padded_tokens=done.padding,
            evaluation_tokens=evaluations * evaluation.tokens,
            training_tflop=done.flop / TERA,
            plain_training_tflop=done.plain_flop / TERA,
            evaluation_tflop=evaluations * evaluation.flop / TERA,
            peak_tflop_per_second=self._peak / TERA,
            hfu=None if rate is None or rate > self._peak else rate / self._peak,
            tokens_per_second=steady.tokens / seconds if seconds else None,
            seconds=self._since_start(),
            steps_before=steps_before,
            seconds_before=seconds_before,
            estimated_seconds=self.estimated,
            seconds_to_first_step=clock.first_step_at,
            evaluation_seconds=clock.apart.get("evaluation", 0.0),
            checkpoint_seconds=clock.apart.get("checkpoints", 0.0),
            peak_memory_bytes=peak_memory_bytes,
            estimated_memory_bytes=estimated_memory_bytes,
        )

    def _measure_again(self) -> None:
        """Measure the peak after training, which fails no training: the model may leave too little memory for it."""
        try:
            self._peak = max(self._peak, self._measure())
        except (RuntimeError, MemoryError) as error:
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            self._say(
                f"HFU refers to the rate of matrix products before training; none was measured after it: {reason}"
            )

    def _rate(self) -> float | None:
        """Operations a second of the steady steps."""
        seconds = self._clock.steady_seconds
        return self._plan.of(self._clock.steady).flop / seconds if seconds else None

    def _each(self, what: str) -> float | None:
        times = self._clock.times.get(what, 0)
        return self._clock.apart[what] / times if times else None
