"""The comparisons of runs as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from stages.common.files import atomic_file
from stages.common.printable import printable
from stages.judge.runs.recipe import between
from stages.judge.runs.results import RunsCompared
from stages.running import beside

#: Characters of a line of a label, and of the title; and the differences that a label names at most.
_WIDTH, _TITLE, _MOST_NAMED = 44, 100, 4


def plot(path: Path, found: Sequence[RunsCompared]) -> None:
    """Draw each difference with its interval, beside the range of differences that so many rows cannot show."""
    import matplotlib

    # A "$" in the name of a run is text and begins no formula.
    with matplotlib.rc_context({"text.parse_math": False}):
        _plot(path, found)


def _plot(path: Path, found: Sequence[RunsCompared]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = [_label(one) for one in found]
    lines = sum(label.count("\n") + 1 for label in labels)
    figure = Figure(figsize=(9, 1.7 + 0.12 * len(found) + 0.19 * lines), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for height, one in enumerate(runs.comparison for runs in found):
        if one.detectable is not None:
            axes.barh(height, 2 * one.detectable, 0.6, left=-one.detectable, color="#e3e6e9", zorder=1)
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [height, height], color="#1f6fb2", linewidth=3, zorder=2)
        if one.difference is not None:
            axes.scatter([one.difference], [height], color="#1f6fb2", s=40, zorder=3)
    axes.axvline(0, color="#2b2f33", linewidth=1)
    axes.set_yticks(range(len(found)), labels, fontsize=9)
    any_known = any(runs.comparison.detectable is not None for runs in found)
    grey = "\ngrey: too small to be found about 3 times in 4" if any_known else ""
    axes.set_xlabel(f"points more than there, with the 95 % interval{grey}")
    # Above the whole picture: over the axes alone, a long name would end beyond the edge.
    title = "\n".join(_wrapped(f"Compared with {found[0].a.name}", _TITLE))
    figure.suptitle(title, x=0.02, y=0.985, va="top", ha="left", fontsize=11)
    axes.invert_yaxis()
    axes.margins(y=0.35)
    axes.spines[["top", "right", "left"]].set_visible(False)
    with atomic_file(path, "wb") as stream:
        FigureCanvasAgg(figure)
        figure.savefig(stream, format="png", dpi=120, facecolor="white", metadata={"Software": None})


def _label(one: RunsCompared) -> str:
    """The name of B, what differs between the recipes, and the verdict; the title names A."""
    verdict = one.comparison.verdict
    lines = [*_wrapped(one.b.name, _WIDTH), *_wrapped(_differing(one), _WIDTH)]
    return "\n".join([*lines, *_wrapped(beside.IN_WORDS.get(verdict, verdict), _WIDTH)])


def _differing(one: RunsCompared) -> str:
    """What differs between the recipes of A and B, as there and here; empty where nothing does or one is not known."""
    if one.a.recipe is None or one.b.recipe is None:
        return ""
    found = between(one.a.recipe, one.b.recipe)
    more = [f"and {len(found) - _MOST_NAMED} more"] if len(found) > _MOST_NAMED else []
    return ", ".join([*found[:_MOST_NAMED], *more])


def _wrapped(text: str, width: int) -> list[str]:
    """A text in lines, of which a word that is too long is broken too."""
    return textwrap.wrap(printable(text), width)
