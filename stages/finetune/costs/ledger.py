"""What a fine-tuning run costs: told beforehand as soon as the first steps show it, and afterwards as it was.

A run that is over before it has shown it is told nothing beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stages.finetune.costs.clock import Meter, since_start
from stages.finetune.costs.work import Plan, Work
from stages.running.console import duration

#: The prediction waits for so many steps after the first one, and for so many seconds of them.
STEPS_BEFORE = 5
SECONDS_BEFORE = 2.0


class Account:
    """The costs of a run.

    Args:
        plan: what it computes.
        clock: takes its time.
        peak: operations a second that matrix products of its dtype reach on its device.
        say: is told the prediction.
        since_start: the seconds since the program began.
    """

    def __init__(
        self,
        plan: Plan,
        clock: Meter,
        *,
        peak: float,
        say: Callable[[str], None],
        since_start: Callable[[], float] = since_start,
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._peak = peak
        self._say = say
        self._since_start = since_start
        #: Seconds that the stage was said to take, and after which step; None as long as nothing was said.
        self.predicted: float | None = None

    def step(self, number: int) -> None:
        """Step ``number`` is done. Once there is enough to go by, say how long the stage will take."""
        self._clock.step(number)
        steady = len(self._clock.steady)
        if self.predicted is None and steady >= STEPS_BEFORE and self._clock.steady_seconds >= SECONDS_BEFORE:
            left = self._plan.seconds_left(
                number, rate=self._rate() or 1.0, evaluation_seconds=self._each("evaluation")
            )
            self.predicted = self._since_start() + left
            self._say(
                f"step {number}/{len(self._plan.steps)}: the stage will take about {duration(self.predicted)}, "
                f"{duration(left)} from now"
            )

    def entry(self, **more: int) -> dict[str, Any]:
        """What the run has cost: counts, operations in TFLOP, seconds; None for what it was too short to tell.

        Steps, tokens and operations are those since this process began: of a run that went on from a checkpoint, what
        came after it. Of a team they are all processes' together. Tokens a second and the share of the peak are those
        after the first step, without evaluations, samples and checkpoints.

        Args:
            more: figures to put with them.
        """
        clock = self._clock
        done = self._plan.of(clock.steps)
        evaluations = clock.times.get("evaluation", 0)
        evaluated = self._plan.evaluation
        rate = self._rate()
        steady = self._plan.of(clock.steady)
        return {
            "steps": len(clock.steps),
            "evaluations": evaluations,
            "useful_tokens": done.tokens,
            "computed_tokens": done.computed,
            "padded_tokens": done.padding,
            "evaluation_tokens": evaluations * evaluated.tokens,
            "training_tflop": done.flop / 1e12,
            "plain_training_tflop": done.plain_flop / 1e12,
            "evaluation_tflop": evaluations * evaluated.flop / 1e12,
            "peak_tflop_per_second": self._peak / 1e12,
            "share_of_peak": None if rate is None else rate / self._peak,
            "tokens_per_second": _over(steady, clock.steady_seconds),
            "seconds": self._since_start(),
            "predicted_seconds": self.predicted,
            "seconds_to_first_step": clock.first_step_at,
            "evaluation_seconds": clock.apart.get("evaluation", 0.0),
            "sample_seconds": clock.apart.get("samples", 0.0),
            "checkpoint_seconds": clock.apart.get("checkpoints", 0.0),
            **more,
        }

    def _rate(self) -> float | None:
        """Operations a second of the steady steps."""
        seconds = self._clock.steady_seconds
        return self._plan.of(self._clock.steady).flop / seconds if seconds else None

    def _each(self, what: str) -> float | None:
        times = self._clock.times.get(what, 0)
        return self._clock.apart[what] / times if times else None


def _over(work: Work, seconds: float) -> float | None:
    return work.tokens / seconds if seconds else None
