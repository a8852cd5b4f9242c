"""The plot: both axes logarithmic, so that what grows linearly has the slope of the dotted line.

Its background is white in any theme, and every line has a marker of its own besides its colour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.scaling.figures import Part, PartName, Point
from benchmarks.scaling.tables import GIB, HEADINGS
from stages.common.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _GRID = "#2b2f33", "#dfe3e7"
#: Colours that stay apart for the colour-blind (Okabe and Ito 2008), and markers.
_LINES = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#8a3f6f", "D"))
_SIZES: dict[PartName, str] = {
    "processes": "processes",
    "rows": "rows",
    "context": "tokens a row",
    "model": "model, by its parameters",
    "judging": "answers",
}
#: The least ratio of the largest to the smallest figure of a plot, and the room beside them, as a factor.
LEAST_SPAN, _MARGIN = 10.0, 1.4
#: Parts whose seconds are those of a training step; of the others they are those of a stage.
_OF_STEPS: tuple[PartName, ...] = ("context", "model")


def draw(path: Path, parts: Sequence[Part]) -> None:
    """Draw a column a part: above tokens a second or seconds, below peak memory, in GiB.

    Args:
        path: the PNG to write.
        parts: the parts, one at least.
    """
    # Here, so that the process that starts the measured ones stays small.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(parts), 6.6), layout="constrained")
    axes = figure.subplots(2, len(parts), squeeze=False)
    for column, part in enumerate(parts):
        above, below = axes[0][column], axes[1][column]
        if part.name == "processes":
            _lines(above, part, "tokens/s, all together", lambda point: point.tokens_per_second)
        else:
            _lines(above, part, "s a step" if part.name in _OF_STEPS else "s a stage", lambda point: point.seconds)
        _lines(below, part, "peak memory, GiB", lambda point: point.peak_bytes / GIB, estimated=True)
        above.set_title(HEADINGS[part.name], color=_INK, fontsize=12, fontweight="bold")
    with atomic_file(path, "wb") as stream:
        FigureCanvasAgg(figure)
        figure.savefig(stream, format="png", dpi=110, facecolor="white", metadata={"Software": None})


def _lines(
    axes: Axes, part: Part, label: str, value: Callable[[Point], float | None], *, estimated: bool = False
) -> None:
    """A line for each series, and one of slope 1 from the first point of the steepest."""
    lines: list[tuple[tuple[float, ...], ...]] = []
    for (name, points), (colour, marker) in zip(part.series().items(), _LINES, strict=False):
        shown = [(point.size, found) for point in points if (found := value(point))]
        if not shown:
            continue
        lines.append(tuple(zip(*shown, strict=True)))
        axes.plot(*lines[-1], color=colour, marker=marker, markersize=5, linewidth=1.6, label=name)
        expected = [(point.size, point.estimated_bytes / GIB) for point in points if point.estimated_bytes]
        if estimated and expected and part.name in _OF_STEPS:
            lines.append(tuple(zip(*expected, strict=True)))
            axes.plot(*lines[-1], color=_LINES[1][0], linestyle="--", marker="x", linewidth=1.2, label="estimated")
    _scale(axes, part, [one for _, y in lines for one in y])
    if grows := [line for line in lines if len(line[0]) > 1]:
        x, y = max(grows, key=lambda line: line[1][-1] / line[1][0])
        end = max(point.size for point in part.points)
        axes.plot((x[0], end), (y[0], y[0] * end / x[0]), color="#8a929a", linestyle=":", label="linear")
    axes.set_xlabel(_SIZES[part.name], color=_INK)
    axes.set_ylabel(label, color=_INK)
    axes.grid(color=_GRID, linewidth=0.8)
    if lines:
        axes.legend(fontsize=7.5, frameon=False)


def _scale(axes: Axes, part: Part, values: Sequence[float]) -> None:
    """Logarithmic axes with plain numbers; the upright one spans `LEAST_SPAN` at least, so that flat looks flat."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    if values:
        low, high = min(values), max(values)
        high = max(high, low * LEAST_SPAN)
        axes.set_ylim(low / _MARGIN, high * _MARGIN**2)  # the legend stands above
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.minorticks_off()
    ticks = {point.size: _tick(point) for point in part.points}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.tick_params(colors=_INK, labelsize=8)


def _tick(point: Point) -> str:
    """A size in few signs: ``gpt2``, ``100k``, ``4`` over ``simulated``."""
    if point.label:
        return point.label.removeprefix("gpt2-")
    size = f"{point.size:,.0f}".replace(",000,000", "M").replace(",000", "k")
    return f"{size}\nsimulated" if "simulated" in point.note else size
