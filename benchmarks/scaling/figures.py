"""What is measured, as data, and the arithmetic of growth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

PartName = Literal["processes", "rows", "context", "model", "judging"]


@dataclass(frozen=True)
class Point:
    """What was measured at one size.

    Args:
        series: what was measured, such as a stage's name; points of one series are compared with one another.
        size: how much it was given, in the part's unit.
        seconds: seconds; of a training, those of a step.
        peak_bytes: peak memory in bytes, of all processes together.
        tokens_per_second: tokens of the rows a second, of all processes together; None where nothing is trained.
        estimated_bytes: the memory that the stage finetune estimates before it trains; None for other stages.
        label: the size in words, where its number alone does not say what it is.
        note: what else is to be known of the point.
    """

    series: str
    size: float
    seconds: float
    peak_bytes: int
    tokens_per_second: float | None = None
    estimated_bytes: int | None = None
    label: str = ""
    note: str = ""


@dataclass(frozen=True)
class Part:
    """The points that belong to one question.

    Args:
        name: name of the part, one of `PartName`.
        points: the points, those of a series in the order of their sizes.
        seconds: seconds that it took to measure all.
        others_cores: cores that other processes of the machine kept busy meanwhile, on average.
        left_out: sizes that were not measured, each with the reason.
    """

    name: PartName
    points: list[Point]
    seconds: float
    others_cores: float
    left_out: list[str]

    def series(self) -> dict[str, list[Point]]:
        """The points by series."""
        found: dict[str, list[Point]] = {}
        for point in self.points:
            found.setdefault(point.series, []).append(point)
        return found


@dataclass(frozen=True)
class Report:
    """All that was measured.

    Args:
        date: the day, such as 2026-11-28.
        machine: hardware and versions, in words.
        cores: cores that the processes could use.
        parts: the parts, in the order of the page.
        brief: whether the largest sizes were left out.
    """

    date: str
    machine: str
    cores: int
    parts: list[Part]
    brief: bool = False


def exponent(before: float, after: float, ratio: float) -> float | None:
    """The power of the size with which a figure grows between two points: 1 is linear, 0 is flat, 2 is quadratic.

    Args:
        before: figure at the smaller size.
        after: figure at the larger size.
        ratio: larger size over the smaller; None is returned where it is 1, or a figure is 0.
    """
    if min(before, after, ratio) <= 0 or ratio == 1:
        return None
    return math.log(after / before) / math.log(ratio)


def grown(points: Sequence[Point]) -> Iterator[tuple[Point, float | None, float | None]]:
    """The points of a series, each with the exponents of its seconds and memory; None for the first."""
    for number, point in enumerate(points):
        if number == 0:
            yield point, None, None
            continue
        before = points[number - 1]
        ratio = point.size / before.size
        yield (
            point,
            exponent(before.seconds, point.seconds, ratio),
            exponent(before.peak_bytes, point.peak_bytes, ratio),
        )
