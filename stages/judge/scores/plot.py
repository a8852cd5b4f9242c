"""The scores as a picture: how they are distributed, and what each category comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.common.files import atomic_file
from stages.common.results.judge import Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"base": "#9aa5b1", "tuned": "#1f6fb2"}
_LABELS = {"base": "before fine-tuning", "tuned": "fine-tuned"}
_BIN = 10
_INK, _GRID = "#2b2f33", "#e3e6e9"


def plot_scores(path: Path, verdicts: Sequence[Verdict], metrics: Mapping[str, Any]) -> None:
    """Draw the scores of every model; the same verdicts give the same bytes.

    Args:
        path: the PNG.
        verdicts: those of all models.
        metrics: what metrics.json holds: ``judge``, and the statistics of each model under its name.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    models = [model for model in _COLOURS if model in metrics]
    categories = metrics["tuned"]["categories"]
    width, panels = (11.5, 2) if len(categories) > 1 else (6.5, 1)
    figure = Figure(figsize=(width, max(4.8, 1.4 + 0.24 * len(categories))), layout=layout)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _distribution(axes[0], models, verdicts, metrics)
    if panels == 2:
        _by_category(axes[1], models, metrics)
    judge = metrics["judge"]
    name = judge.get("model", "built-in reference judge: likeness, not quality")
    figure.legend(loc="outside lower center", frameon=False, fontsize=10, ncols=2 if panels == 2 else 1)
    figure.suptitle(f"Scores of the test answers ({name})", color=_INK, fontsize=13, fontweight="bold")
    with atomic_file(path, "wb") as stream:
        # Without the library's version in it the file changes only when the picture does.
        FigureCanvasAgg(figure)
        figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})


def _distribution(axes: Axes, models: Sequence[str], verdicts: Sequence[Verdict], metrics: Mapping[str, Any]) -> None:
    """Bars: answers of each model in bands of ten points; a line at each mean, in a band as wide as its interval."""
    from matplotlib.ticker import MaxNLocator

    width = _BIN * 0.84 / len(models)
    for place, model in enumerate(models):
        counts = [0] * (100 // _BIN)
        for verdict in verdicts:
            if verdict.model == model and verdict.score is not None:
                counts[min(int(verdict.score // _BIN), len(counts) - 1)] += 1
        left = [band * _BIN + _BIN * 0.08 + place * width for band in range(len(counts))]
        axes.bar(left, counts, width, align="edge", color=_COLOURS[model], label=_label(model, metrics[model]))
    for model in models:
        mean, interval = metrics[model]["mean"], metrics[model]["interval"]
        if interval["low"] is not None:
            axes.axvspan(interval["low"], interval["high"], color=_COLOURS[model], alpha=0.18, linewidth=0, zorder=0)
        if mean is not None:
            axes.axvline(mean, color=_COLOURS[model], linewidth=1.4, linestyle="--")
    axes.set(xlim=(0, 100), xticks=range(0, 101, 20), xlabel="score", ylabel="answers")
    axes.set_title("Answers by score; dashed: mean, shaded: 95 % interval", loc="left", fontsize=10, color=_INK)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _clean(axes, "y")


def _by_category(axes: Axes, models: Sequence[str], metrics: Mapping[str, Any]) -> None:
    """A line a category, from one model's mean to the other's, the best on top."""
    means = {model: {name: found["mean"] for name, found in metrics[model]["categories"].items()} for model in models}
    names = sorted(means["tuned"], key=lambda name: (means["tuned"][name] is not None, means["tuned"][name] or 0, name))
    for height, name in enumerate(names):
        found = [means[model][name] for model in models if means[model][name] is not None]
        axes.plot(found, [height] * len(found), color=_GRID, linewidth=3, zorder=1, solid_capstyle="round")
    for model in models:
        heights = [height for height, name in enumerate(names) if means[model][name] is not None]
        axes.scatter(
            [means[model][names[height]] for height in heights], heights, s=34, color=_COLOURS[model], zorder=2
        )
    counts = metrics["tuned"]["categories"]
    axes.set_yticks(range(len(names)), [f"{name} ({counts[name]['n']})" for name in names], fontsize=9)
    axes.set(xlim=(-2, 102), xticks=range(0, 101, 20), xlabel="mean score", ylim=(-0.7, len(names) - 0.3))
    axes.set_title("Mean by category (test rows)", loc="left", fontsize=10, color=_INK)
    _clean(axes, "x")


def _label(model: str, found: Mapping[str, Any]) -> str:
    mean, interval = found["mean"], found["interval"]
    text = f"{_LABELS[model]}: " + ("no scores" if mean is None else f"mean {mean:.1f}")
    if interval["low"] is not None:
        text += f" [{interval['low']:.1f}, {interval['high']:.1f}]"
    return f"{text}, {found['scored']} of {found['n']} scored"


def _clean(axes: Axes, grid: str) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, colors=_INK)
    axes.grid(axis=grid, color=_GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
