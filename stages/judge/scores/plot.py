"""The scores as a picture: their distribution, and the mean of each category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.common.files import atomic_file
from stages.common.metrics.judge import JudgeMetrics, ModelScores
from stages.common.printable import printable
from stages.common.records import ModelName
from stages.common.results.judge import Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: dict[ModelName, str] = {"base": "#9aa5b1", "tuned": "#1f6fb2"}
_LABELS: dict[ModelName, str] = {"base": "before fine-tuning", "tuned": "fine-tuned"}
_BIN = 10
_LONGEST_NAME = 60
_INK, _GRID = "#2b2f33", "#e3e6e9"


def plot_scores(path: Path, verdicts: Sequence[Verdict], metrics: JudgeMetrics) -> None:
    """Draw the scores of every model; the same verdicts give the same bytes.

    Args:
        path: the PNG to write.
        verdicts: the verdicts on all models.
        metrics: their statistics.
    """
    import matplotlib

    # A "$" in a category or in a model's name is text and begins no formula.
    with matplotlib.rc_context({"text.parse_math": False}):
        _plot_scores(path, verdicts, metrics)


def _plot_scores(path: Path, verdicts: Sequence[Verdict], metrics: JudgeMetrics) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    models = metrics.by_model()
    categories = metrics.tuned.categories
    width, panels = (11.5, 2) if len(categories) > 1 else (6.5, 1)
    figure = Figure(figsize=(width, max(4.8, 1.4 + 0.24 * len(categories))), layout=layout)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _distribution(axes[0], models, verdicts)
    if panels == 2:
        _by_category(axes[1], models)
    name = metrics.judge.marked(_short(metrics.judge.name))
    figure.legend(loc="outside lower center", frameon=False, fontsize=10, ncols=2 if panels == 2 else 1)
    figure.suptitle(f"Scores of the test answers ({name})", color=_INK, fontsize=13, fontweight="bold")
    with atomic_file(path, "wb") as stream:
        # Without the library's version in it the file changes only when the picture does.
        FigureCanvasAgg(figure)
        figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})


def _distribution(axes: Axes, models: Mapping[ModelName, ModelScores], verdicts: Sequence[Verdict]) -> None:
    """Bars: answers of each model in bands of ten points; a line at each mean, in a band as wide as its interval."""
    from matplotlib.ticker import MaxNLocator

    width = _BIN * 0.84 / len(models)
    for number, (model, found) in enumerate(models.items()):
        counts = [0] * (100 // _BIN)
        for verdict in verdicts:
            if verdict.model == model and verdict.score is not None:
                counts[min(int(verdict.score // _BIN), len(counts) - 1)] += 1
        left = [band * _BIN + _BIN * 0.08 + number * width for band in range(len(counts))]
        axes.bar(left, counts, width, align="edge", color=_COLOURS[model], label=_label(model, found))
    for model, found in models.items():
        low, high = found.interval.low, found.interval.high
        if low is not None and high is not None:
            axes.axvspan(low, high, color=_COLOURS[model], alpha=0.18, linewidth=0, zorder=0)
        if found.mean is not None:
            axes.axvline(found.mean, color=_COLOURS[model], linewidth=1.4, linestyle="--")
    axes.set(xlim=(0, 100), xticks=range(0, 101, 20), xlabel="score", ylabel="answers")
    axes.set_title("Answers by score; dashed: mean, shaded: 95 % interval", loc="left", fontsize=10, color=_INK)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _clean(axes, "y")


def _by_category(axes: Axes, models: Mapping[ModelName, ModelScores]) -> None:
    """A line a category, from one model's mean to the other's, the best on top."""
    means = {
        model: {name: one.mean for name, one in found.categories.items() if one.mean is not None}
        for model, found in models.items()
    }
    categories, tuned = models["tuned"].categories, means["tuned"]
    names = sorted(categories, key=lambda name: (name in tuned, tuned.get(name, 0.0), name))
    for height, name in enumerate(names):
        ends = [means[model][name] for model in models if name in means[model]]
        axes.plot(ends, [height] * len(ends), color=_GRID, linewidth=3, zorder=1, solid_capstyle="round")
    for model in models:
        heights = [height for height, name in enumerate(names) if name in means[model]]
        points = [means[model][names[height]] for height in heights]
        axes.scatter(points, heights, s=34, color=_COLOURS[model], zorder=2)
    axes.set_yticks(range(len(names)), [f"{_short(name)} ({categories[name].n})" for name in names], fontsize=9)
    axes.set(xlim=(-2, 102), xticks=range(0, 101, 20), xlabel="mean score", ylim=(-0.7, len(names) - 0.3))
    axes.set_title("Mean by category (test rows)", loc="left", fontsize=10, color=_INK)
    _clean(axes, "x")


def _short(name: str) -> str:
    """A name from the data or from params.yaml on one line, at a length that leaves room for the picture."""
    line = " ".join(printable(name).split())
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"


def _label(model: ModelName, found: ModelScores) -> str:
    text = f"{_LABELS[model]}: " + ("no scores" if found.mean is None else f"mean {found.mean:.1f}")
    if found.interval.low is not None:
        text += f" [{found.interval.low:.1f}, {found.interval.high:.1f}]"
    if found.right is not None:
        text += f", {found.right.right} of {found.right.n} right"
    return f"{text}, {found.scored} of {found.n} scored"


def _clean(axes: Axes, grid: str) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, colors=_INK)
    axes.grid(axis=grid, color=_GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
