"""The comparisons of runs as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stages.common.files import atomic_file
from stages.common.printable import printable
from stages.judge.runs.results import RunsCompared
from stages.running import beside


def plot(path: Path, found: Sequence[RunsCompared]) -> None:
    """Draw each difference with its interval, beside the range of differences that so many rows cannot show."""
    import matplotlib

    # A "$" in the name of a run is text and begins no formula.
    with matplotlib.rc_context({"text.parse_math": False}):
        _plot(path, found)


def _plot(path: Path, found: Sequence[RunsCompared]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.8 + 0.5 * len(found)), layout="constrained")
    axes = figure.subplots()
    for height, one in enumerate(runs.comparison for runs in found):
        if one.detectable is not None:
            axes.barh(height, 2 * one.detectable, 0.6, left=-one.detectable, color="#e3e6e9", zorder=1)
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [height, height], color="#1f6fb2", linewidth=3, zorder=2)
        if one.difference is not None:
            axes.scatter([one.difference], [height], color="#1f6fb2", s=40, zorder=3)
    axes.axvline(0, color="#2b2f33", linewidth=1)
    axes.set_yticks(range(len(found)), [_label(one) for one in found])
    axes.set(xlabel="points more than there, with the 95 % interval; grey: too small to be found about 3 times in 4")
    axes.set_title(f"Compared with {printable(found[0].a.name)}", loc="left", fontsize=11)
    axes.invert_yaxis()
    axes.spines[["top", "right", "left"]].set_visible(False)
    with atomic_file(path, "wb") as stream:
        FigureCanvasAgg(figure)
        figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})


def _label(one: RunsCompared) -> str:
    """The name of B, and the verdict on it. The picture has no letters: A is the run that its title names."""
    verdict = one.comparison.verdict
    return f"{printable(one.b.name)}\n{beside.IN_WORDS.get(verdict, verdict)}"
