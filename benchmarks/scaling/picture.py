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
    "model": "parameters",
    "judging": "answers",
}
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
    """A line for each series, and one of slope 1 through the first point of the steepest."""
    starts: list[tuple[float, float, float]] = []
    for (name, points), (colour, marker) in zip(part.series().items(), _LINES, strict=False):
        shown = [(point.size, found) for point in points if (found := value(point))]
        if not shown:
            continue
        x, y = zip(*shown, strict=True)
        axes.plot(x, y, color=colour, marker=marker, markersize=5, linewidth=1.6, label=name)
        starts.append((y[-1] / y[0], x[0], y[0]))
        guessed = [(point.size, point.estimated_bytes / GIB) for point in points if point.estimated_bytes]
        if estimated and guessed and part.name in _OF_STEPS:
            x, y = zip(*guessed, strict=True)
            axes.plot(x, y, color=_LINES[1][0], linestyle="--", marker="x", linewidth=1.2, label="estimated")
    axes.set_xscale("log")
    axes.set_yscale("log")
    if starts:
        _, x_start, y_start = max(starts)
        end = max(point.size for point in part.points)
        axes.plot((x_start, end), (y_start, y_start * end / x_start), color="#8a929a", linestyle=":", label="linear")
    axes.set_xlabel(_SIZES[part.name], color=_INK)
    axes.set_ylabel(label, color=_INK)
    if part.name in ("processes", "context"):
        _tick_each(axes, sorted({point.size for point in part.points}))
    axes.grid(color=_GRID, linewidth=0.8)
    axes.tick_params(colors=_INK, labelsize=8)
    if starts:
        axes.legend(fontsize=7.5, frameon=False)


def _tick_each(axes: Axes, sizes: Sequence[float]) -> None:
    axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    axes.minorticks_off()
