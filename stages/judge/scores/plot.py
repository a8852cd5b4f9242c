"""The scores as a picture: their distribution, and the figure of each category. Its background is white everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.common.files import atomic_file
from stages.common.metrics.judge import CategoryMean, JudgeMetrics, ModelScores
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
#: The quantile of a 95 % interval.
_Z = 1.959964


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
        figure.savefig(stream, format="png", dpi=120, facecolor="white", metadata={"Software": None})


def _distribution(axes: Axes, models: Mapping[ModelName, ModelScores], verdicts: Sequence[Verdict]) -> None:
    """Bars: the share of each model's answers in bands of ten points, so that models with other counts compare.

    A line at each mean stands in a band as wide as its interval. Where one bar is far higher than all others, as of a
    base model whose answers are all wrong, it is cut and has its share written on it: the others could hardly be seen.
    """
    width = _BIN * 0.84 / len(models)
    bars: list[tuple[float, float]] = []
    for number, (model, found) in enumerate(models.items()):
        shares = _shares([v.score for v in verdicts if v.model == model and v.score is not None])
        left = [band * _BIN + _BIN * 0.08 + number * width for band in range(len(shares))]
        axes.bar(left, shares, width, align="edge", color=_COLOURS[model], label=_label(model, found))
        bars += [(at + width / 2, share) for at, share in zip(left, shares, strict=True)]
    for model, found in models.items():
        low, high = found.interval.low, found.interval.high
        if low is not None and high is not None:
            axes.axvspan(low, high, color=_COLOURS[model], alpha=0.18, linewidth=0, zorder=0)
        if found.mean is not None:
            axes.axvline(found.mean, color=_COLOURS[model], linewidth=1.4, linestyle="--")
    top = _top([share for _, share in bars])
    for at, share in bars:
        if share > top:
            axes.text(at, top * 0.97, f"{share:.0f} %", ha="center", va="top", rotation=90, fontsize=8, color=_INK)
    axes.set(xlim=(0, 100), xticks=range(0, 101, 20), xlabel="score", ylabel="share of the scored answers, in %")
    axes.set_ylim(0, top)
    axes.set_title("Answers by score; dashed: mean, shaded: 95 % interval", loc="left", fontsize=10, color=_INK)
    _clean(axes, "y")


def _shares(scores: Sequence[float]) -> list[float]:
    """The share of the scores in each band, in percent; 100 points are in the last one."""
    counts = [0] * (100 // _BIN)
    for score in scores:
        counts[min(int(score // _BIN), len(counts) - 1)] += 1
    return [100 * count / max(1, len(scores)) for count in counts]


def _top(shares: Sequence[float]) -> float:
    """The end of the axis of shares: where the highest is more than twice the next, one and a half times that one."""
    highest, *others = sorted(shares, reverse=True) or [0.0]
    second = next(iter(others), 0.0)
    return 1.5 * second if second and highest > 2 * second else max(highest, 1.0) * 1.05


def _by_category(axes: Axes, models: Mapping[ModelName, ModelScores]) -> None:
    """A line a category, from one model's figure to the other's, and the tuned one's interval; the best on top.

    The figure is the share of right answers where the judge says which are, else the mean score.
    """
    categories = models["tuned"].categories
    in_right = any(one.right is not None for one in categories.values())
    points = {
        model: {name: found for name, one in scores.categories.items() if (found := _figure(one, in_right)) is not None}
        for model, scores in models.items()
    }
    tuned = points["tuned"]
    names = sorted(categories, key=lambda name: (name in tuned, tuned.get(name, 0.0), name))
    for height, name in enumerate(names):
        ends = [points[model][name] for model in models if name in points[model]]
        axes.plot(ends, [height] * len(ends), color=_GRID, linewidth=3, zorder=1, solid_capstyle="round")
        if name in tuned:
            low, high = (100 * end for end in _wilson(tuned[name] / 100, categories[name].scored))
            axes.hlines(height, low, high, color=_COLOURS["tuned"], linewidth=1.2, alpha=0.55, zorder=1.5)
    for model in models:
        heights = [height for height, name in enumerate(names) if name in points[model]]
        at = [points[model][names[height]] for height in heights]
        axes.scatter(at, heights, s=34, color=_COLOURS[model], zorder=2)
    axes.set_yticks(range(len(names)), [_row_label(name, categories[name], in_right) for name in names], fontsize=9)
    what = "right answers, in %" if in_right else "mean score"
    axes.set(xlim=(-2, 102), xticks=range(0, 101, 20), xlabel=what, ylim=(-0.7, len(names) - 0.3))
    of = "Right by category (right of rows)" if in_right else "Mean by category (rows)"
    axes.set_title(f"{of}; line: 95 % interval", loc="left", fontsize=10, color=_INK)
    _clean(axes, "x")


def _figure(one: CategoryMean, in_right: bool) -> float | None:
    """What is drawn of a category, from 0 to 100; None where it has no score."""
    if not in_right:
        return one.mean
    return 100 * one.right / one.scored if one.right is not None and one.scored else None


def _row_label(name: str, one: CategoryMean, in_right: bool) -> str:
    if not one.scored:
        return f"{_short(name)} (none scored)"
    return f"{_short(name)} ({one.right or 0} of {one.scored})" if in_right else f"{_short(name)} ({one.n})"


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval (1927) of a share of ``n`` rows: with few rows it is wide, and never without width.

    Of a mean of scores, as a share of the best one, it is rather too wide than too narrow: no scores between two bounds
    scatter more than those that are all at one or the other.
    """
    middle = (share + _Z * _Z / (2 * n)) / (1 + _Z * _Z / n)
    half = _Z / (1 + _Z * _Z / n) * math.sqrt(share * (1 - share) / n + _Z * _Z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


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
