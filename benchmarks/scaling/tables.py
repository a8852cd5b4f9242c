"""What was measured as Markdown tables, each figure with its unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.report import head, line
from benchmarks.scaling.figures import Part, PartName, Point, grown

GIB, MIB = 2**30, 2**20
HEADINGS: Mapping[PartName, str] = {
    "processes": "Processes",
    "rows": "Rows",
    "context": "Context",
    "model": "Model size",
    "judging": "Judged answers",
}


def table(part: Part) -> list[str]:
    """The table of a part, and the sizes that were left out."""
    lines = _TABLES[part.name](part)
    return [*lines, *(f"\nNot measured: {reason}." for reason in part.left_out)]


def power(exponent: float | None) -> str:
    """An exponent of growth, or a dash for a first point: ``1.02``."""
    return "–" if exponent is None else f"{exponent + 0.0:.2f}"


def number(value: float) -> str:
    """A figure with three digits, and commas from thousands on: ``0.0123``, ``4.57``, ``12,346``."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _processes(part: Part) -> list[str]:
    lines = head(
        "processes", "threads", "tokens/s, all together", "of one process", "s a step", "memory of all, GiB", ""
    )
    first = next((point for point in part.points if point.series == "a thread each" and point.size == 1), None)
    for point in part.points:
        ratio = ""
        if first and first.tokens_per_second and point.tokens_per_second:
            ratio = f"{point.tokens_per_second / first.tokens_per_second:.2f}x"
        threads = "1 each" if point.series == "a thread each" else "all cores"
        lines.append(
            line(
                f"{point.size:.0f}",
                threads,
                number(point.tokens_per_second or 0.0),
                ratio,
                number(point.seconds),
                f"{point.peak_bytes / GIB:.2f}",
                point.note,
            )
        )
    return lines


def _stages(part: Part, what: str, sized: str, *, rate: str | None = None) -> list[str]:
    rates = () if rate is None else (rate,)
    lines = head(what, sized, "s", "power", *rates, "peak memory, MiB", "power")
    for points in part.series().values():
        for point, time_power, memory_power in grown(points):
            shown = () if rate is None else (number(point.size / point.seconds),)
            memory = f"{point.peak_bytes / MIB:,.0f}"
            seconds = number(point.seconds)
            size = f"{point.size:,.0f}"
            lines.append(line(point.series, size, seconds, power(time_power), *shown, memory, power(memory_power)))
    return lines


def _trainings(part: Part, sized: str) -> list[str]:
    lines = head(sized, "s a step", "power", "tokens/s", "peak memory, GiB", "power", "estimated, GiB", "")
    for points in part.series().values():
        for point, time_power, memory_power in grown(points):
            lines.append(
                line(
                    _size(point),
                    number(point.seconds),
                    power(time_power),
                    number(point.tokens_per_second or 0.0),
                    f"{point.peak_bytes / GIB:.2f}",
                    power(memory_power),
                    f"{(point.estimated_bytes or 0) / GIB:.2f}",
                    point.note,
                )
            )
    return lines


def _size(point: Point) -> str:
    return f"{point.label}, {point.size / 1e6:,.1f} M" if point.label else f"{point.size:,.0f}"


_TABLES: Mapping[PartName, Callable[[Part], list[str]]] = {
    "processes": _processes,
    "rows": lambda part: _stages(part, "stage", "rows"),
    "context": lambda part: _trainings(part, "tokens a row"),
    "model": lambda part: _trainings(part, "model, parameters"),
    "judging": lambda part: _stages(part, "judge", "answers", rate="answers/s"),
}
