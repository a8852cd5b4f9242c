"""Drawings of the report as SVG within the page: the loss curves, and strips with intervals.

Their colours are those of the page's style, so that they are legible in light, in dark and on paper. What a drawing
shows is said in words beside it or in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from stages.common.html_page import Html, element
from stages.common.metrics.judge import Interval
from stages.common.plurals import counted
from stages.common.results.finetune import StepRecord
from stages.judge.report.parts import number
from stages.running.curves import SMOOTHING, running_mean

#: Size of the loss curves, and where their axes lie, in units of the drawing.
_WIDTH, _HEIGHT = 720, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 14, 48
#: Points of a curve at most: of more, the means of neighbours are drawn.
_POINTS = 600
#: The axis of losses is logarithmic where the largest is so many times the smallest.
_LOG_FROM = 4.0

#: What is seen of a strip: its scale from 0 to 100, and room for the dots at its ends.
_BOX = "-4 0 108 16"

Point = tuple[float, float]


def strip(found: Sequence[tuple[str, float | None, Interval | None]], low: float, high: float) -> Html:
    """Figures with their intervals on one scale, each as a dot on a line; the figures stand beside it as text.

    Args:
        found: the class of the colour, the figure and the interval of each.
        low: left end of the scale.
        high: right end of the scale.
    """

    def at(value: float) -> str:
        return f"{100 * (min(max(value, low), high) - low) / (high - low):.1f}"

    parts = [element("path", d="M0 8H100", class_="axis")]
    if low < 0 < high:
        parts.append(element("path", d=f"M{at(0)} 1V15", class_="axis"))
    for kind, _, interval in found:
        if interval is not None and interval.low is not None and interval.high is not None:
            parts.append(element("path", d=f"M{at(interval.low)} 8H{at(interval.high)}", class_=f"ci {kind}"))
    for kind, value, _ in found:
        if value is not None:
            parts.append(element("path", d=f"M{at(value)} 8h0", class_=f"dot {kind}"))
    return element("svg", *parts, class_="strip", viewBox=_BOX, preserveAspectRatio="none", aria_hidden="true")


def bar(share: float) -> Html:
    """A share from 0 to 1 as a bar; it stands beside it as text."""
    return element(
        "svg",
        element("path", d="M0 5H100V11H0z", class_="axis-fill"),
        element("path", d=f"M0 5H{100 * share:.1f}V11H0z", class_="fill"),
        class_="strip",
        viewBox=_BOX,
        preserveAspectRatio="none",
        aria_hidden="true",
    )


class _Axes:
    """The axes of the loss curves.

    Args:
        steps: the last step.
        losses: all losses that are drawn, at least one.
    """

    def __init__(self, steps: int, losses: Sequence[float]) -> None:
        self._steps = max(steps, 1)
        least, most = min(losses), max(losses)
        self.is_log = least > 0 and most / least >= _LOG_FROM
        self._low, self._high = (least / 1.08, most * 1.08) if self.is_log else (0.0, (most or 1.0) * 1.08)

    def x(self, step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / self._steps

    def y(self, loss: float) -> float:
        low, high, value = self._low, self._high, loss
        if self.is_log:
            low, high, value = math.log(low), math.log(high), math.log(loss)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * (value - low) / (high - low)

    def losses(self) -> list[float]:
        """The losses at which lines are drawn."""
        if not self.is_log:
            return _round_numbers(self._high)
        powers = range(math.floor(math.log10(self._low)), math.ceil(math.log10(self._high)) + 1)
        every = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        return [loss for loss in every if self._low <= loss <= self._high]

    def steps(self) -> list[float]:
        """The steps at which marks are drawn."""
        return [step for step in _round_numbers(self._steps) if step.is_integer()]


def _round_numbers(most: float) -> list[float]:
    """Four to eight round numbers from 0 up to ``most``.

    >>> _round_numbers(462)
    [0.0, 100.0, 200.0, 300.0, 400.0]
    """
    power = 10.0 ** math.floor(math.log10(most))
    width = next(share * power for share in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0) if most / (share * power) < 8)
    return [width * count for count in range(int(most / width) + 1)]


def losses(history: Sequence[StepRecord], kept: int, words: str) -> Html:
    """The losses over the steps, with a mark at the step whose weights are kept.

    Args:
        history: the steps of a training, with at least one loss.
        kept: the step whose weights are kept.
        words: what the drawing shows, for whoever does not see it.
    """
    trained = [(float(one.step), one.train_loss) for one in history if one.train_loss is not None]
    evaluated = [(float(one.step), one.val_loss) for one in history if one.val_loss is not None]
    smooth = list(
        zip([step for step, _ in trained], running_mean([loss for _, loss in trained], SMOOTHING), strict=True)
    )
    axes = _Axes(history[-1].step, [loss for _, loss in (*trained, *evaluated)])
    parts = [element("title", "Loss of the training"), element("desc", words), *_frame(axes)]
    parts += [
        element("path", d=_line(axes, trained), class_="line faint"),
        element("path", d=_line(axes, smooth), class_="line train"),
        element("path", d=_line(axes, evaluated), class_="line val"),
        *(
            element("circle", cx=f"{axes.x(step):.1f}", cy=f"{axes.y(loss):.1f}", r=3, class_="val")
            for step, loss in _thinned(evaluated)
        ),
        *_kept(axes, kept, dict(evaluated).get(float(kept))),
    ]
    return element("svg", *parts, class_="losses", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img")


def _frame(axes: _Axes) -> list[Html]:
    """The lines, marks and names of the axes."""
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for loss in axes.losses():
        y = f"{axes.y(loss):.1f}"
        parts.append(element("path", d=f"M{_LEFT} {y}H{right}", class_="axis"))
        parts.append(element("text", f"{loss:.10g}", x=_LEFT - 8, y=y, class_="mark y"))
    for step in axes.steps():
        x = f"{axes.x(step):.1f}"
        parts.append(element("path", d=f"M{x} {bottom}v5", class_="tick"))
        parts.append(element("text", f"{step:,.10g}", x=x, y=bottom + 18, class_="mark x"))
    parts.append(element("path", d=f"M{_LEFT} {bottom}H{right}", class_="tick"))
    parts.append(element("text", "optimiser step", x=f"{(_LEFT + right) / 2:.0f}", y=_HEIGHT - 8, class_="mark x"))
    return parts


def _kept(axes: _Axes, kept: int, loss: float | None) -> list[Html]:
    """A line at the kept step, and its name."""
    x = axes.x(kept)
    end = x > (_LEFT + _WIDTH) / 2
    said = f"kept: step {kept:,}" + ("" if loss is None else f", {number(loss, 3)}")
    return [
        element("path", d=f"M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}", class_="kept"),
        element(
            "text", said, x=f"{x - 7 if end else x + 7:.1f}", y=_TOP + 10, class_=f"mark {'end' if end else 'start'}"
        ),
    ]


def _line(axes: _Axes, points: Sequence[Point]) -> str:
    """The path through some points."""
    return "M" + "L".join(f"{axes.x(step):.1f} {axes.y(loss):.1f}" for step, loss in _thinned(points)) if points else ""


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most `_POINTS` points: where there are more, the means of as many groups of neighbours; the ends stay."""
    if len(points) <= _POINTS:
        return list(points)
    size = math.ceil((len(points) - 2) / (_POINTS - 2))
    groups = [points[start : start + size] for start in range(1, len(points) - 1, size)]
    means = [(sum(x for x, _ in one) / len(one), sum(y for _, y in one) / len(one)) for one in groups]
    return [points[0], *means, points[-1]]


def in_words(history: Sequence[StepRecord], kept: int) -> str:
    """What the drawing of the losses shows."""
    trained = [(one.step, one.train_loss) for one in history if one.train_loss is not None]
    evaluated = [(one.step, one.val_loss) for one in history if one.val_loss is not None]
    said = []
    if trained:
        first, last = trained[0], trained[-1]
        said.append(
            f"The training loss goes from {number(first[1], 3)} at step {first[0]:,} to {number(last[1], 3)} "
            f"at step {last[0]:,}."
        )
    if evaluated:
        lowest = min(evaluated, key=lambda point: point[1])
        said.append(
            f"The validation loss, of {counted(len(evaluated), 'evaluation')}, goes from {number(evaluated[0][1], 3)} "
            f"to {number(evaluated[-1][1], 3)}; the lowest is {number(lowest[1], 3)}, at step {lowest[0]:,}."
        )
    return " ".join([*said, f"The weights of step {kept:,} are kept."])
