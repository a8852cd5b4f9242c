"""The picture of the scores."""

from __future__ import annotations

import struct
from pathlib import Path

import matplotlib.image
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from stages.common.metrics.judge import CategoryMean, JudgeIdentity, JudgeMetrics, Right
from stages.common.results.judge import Verdict
from stages.judge.runs import plot as runs_plot
from stages.judge.runs.group import of_runs
from stages.judge.runs.results import compare_groups
from stages.judge.runs.sources import Run
from stages.judge.scores import plot
from tests.results import identity, interval, judge_metrics, model_scores


def verdict(model: str, score: float | None) -> Verdict:
    status = "invalid" if score is None else "scored"
    return Verdict.model_validate({"id": "a", "model": model, "status": status, "score": score, "detail": ""})


VERDICTS = [verdict("base", 0.0), verdict("tuned", 9.9), verdict("tuned", 10.0), verdict("tuned", 100.0)]
VERDICTS.append(verdict("tuned", None))


def metrics(*categories: str) -> JudgeMetrics:
    base = model_scores(0.0, scored=1, n=1, categories=dict.fromkeys(categories, 0.0))
    tuned = model_scores(40.0, scored=3, n=4, categories=dict.fromkeys(categories, 40.0))
    return judge_metrics(identity(), tuned, base=base)


def test_a_bar_is_the_share_of_the_answers_in_ten_points_and_100_is_in_the_last():
    axes = Figure().subplots()

    plot._distribution(axes, metrics().by_model(), VERDICTS)

    base, tuned = axes.containers
    assert [bar.get_height() for bar in base] == [100, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    third = pytest.approx(100 / 3)
    assert [bar.get_height() for bar in tuned] == [third, third, 0, 0, 0, 0, 0, 0, 0, third]
    assert tuned.get_label() == "fine-tuned: mean 40.0 [35.0, 45.0], 3 of 4 scored"


@pytest.mark.parametrize(("categories", "width"), [([], 780), (["spelling"], 780), (["spelling", "rewriting"], 1380)])
def test_several_categories_have_a_panel_and_the_bytes_are_the_same_each_time(
    tmp_path: Path, categories: list[str], width: int
):
    for name in ("a.png", "b.png"):
        plot.plot_scores(tmp_path / name, VERDICTS, metrics(*categories))

    picture = (tmp_path / "a.png").read_bytes()
    assert struct.unpack(">II", picture[16:24]) == (width, 576)
    assert picture == (tmp_path / "b.png").read_bytes()


#: Names from the data and from the user that matplotlib could take for its own language.
NAMES = [
    "$x^{$",
    r"$\frac{1$",
    "price in $ and $",
    r"\$5 \& more_",
    "two\nlines",
    "\x1b[31mred\x00",
    "long " * 60,
    "plain",
]

PNG = b"\x89PNG\r\n"


def verdicts(score: float) -> list[Verdict]:
    return [
        Verdict(id=f"r{n}", model="tuned", status="scored", score=score + n, detail="", cluster=f"c{n}")
        for n in range(6)
    ]


@pytest.mark.parametrize("names", [NAMES, *([name, "plain"] for name in NAMES[:2])])
def test_scores_of_categories_with_any_name_are_drawn(
    tmp_path: Path, names: list[str], recwarn: pytest.WarningsRecorder
) -> None:
    judge = identity(backend="ollama", model=names[0])
    tuned = model_scores(52.0, scored=6, n=6, categories=dict.fromkeys(names, 50.0))
    for path in (tmp_path / "a.png", tmp_path / "b.png"):
        plot.plot_scores(path, verdicts(50.0), judge_metrics(judge, tuned))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("name", NAMES[:3])
def test_runs_of_any_name_are_drawn(tmp_path: Path, name: str) -> None:
    judge = JudgeIdentity(fingerprint="1" * 32, backend="reference")
    runs = [Run(name, judge, verdicts(50.0)), Run(name, judge, verdicts(60.0))]
    runs_plot.plot(
        tmp_path / "a.png",
        compare_groups([of_runs(run.name, [run]) for run in runs], model="tuned", resamples=100, seed=1),
    )
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


def test_bars_of_two_models_stand_side_by_side_in_their_band():
    """A band of 10 points has a margin of 0.8 on either side, and each bar half of the 8.4 between."""
    axes = Figure().subplots()
    plot._distribution(axes, metrics().by_model(), VERDICTS)

    base, tuned = axes.containers
    assert [bar.get_width() for bar in [*base, *tuned]] == pytest.approx([4.2] * 20)
    assert [bar.get_x() for bar in base] == pytest.approx([0.8 + 10 * band for band in range(10)])
    assert [bar.get_x() for bar in tuned] == pytest.approx([5.0 + 10 * band for band in range(10)])
    assert {bar.get_facecolor()[:3] for bar in tuned} == {to_rgb("#1f6fb2")}
    assert {bar.get_facecolor()[:3] for bar in base} == {to_rgb("#9aa5b1")}


def test_a_band_and_a_line_show_the_interval_and_the_mean():
    axes = Figure().subplots()
    plot._distribution(axes, metrics().by_model(), VERDICTS)

    spans = [patch for patch in axes.patches if patch.get_height() == 1.0 and patch.get_width() == 10.0]
    assert [(span.get_x(), span.get_facecolor()[:3]) for span in spans] == [
        (-5.0, to_rgb("#9aa5b1")),
        (35.0, to_rgb("#1f6fb2")),
    ]
    assert all(0 < span.get_alpha() < 0.5 for span in spans)  # what is behind it can be seen
    assert [(line.get_xdata()[0], line.get_color(), line.get_linestyle()) for line in axes.lines] == [
        (0.0, "#9aa5b1", "--"),
        (40.0, "#1f6fb2", "--"),
    ]
    assert max(span.get_zorder() for span in spans) < min(line.get_zorder() for line in axes.lines)


def test_the_axes_of_the_distribution():
    axes = Figure().subplots()
    plot._distribution(axes, metrics().by_model(), VERDICTS)

    assert (axes.get_xlim(), axes.get_xticks().tolist()) == ((0, 100), [0, 20, 40, 60, 80, 100])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("score", "share of the scored answers, in %")
    assert axes.get_title(loc="left") == "Answers by score; dashed: mean, shaded: 95 % interval"
    assert axes.get_ylim() == pytest.approx((0, 50))  # one and a half times a third: the base model's bar is cut
    assert [text.get_text() for text in axes.texts] == ["100 %"]
    assert_clean(axes, "y")


def test_a_bar_that_is_not_far_higher_than_the_next_is_not_cut():
    axes = Figure().subplots()
    plot._distribution(
        axes, metrics().by_model(), [verdict("base", 5.0), verdict("tuned", 5.0), verdict("tuned", 95.0)]
    )

    assert axes.get_ylim() == pytest.approx((0, 105))
    assert not axes.texts


def assert_clean(axes, grid):
    """Only the lower spine, no ticks, and lines of one direction behind what is drawn."""
    assert [name for name, spine in axes.spines.items() if spine.get_visible()] == ["bottom"]
    axis, other = (axes.yaxis, axes.xaxis) if grid == "y" else (axes.xaxis, axes.yaxis)
    assert axis.get_gridlines()[0].get_visible()
    assert axis.get_gridlines()[0].get_color() == "#e3e6e9"
    assert not other.get_gridlines()[0].get_visible()
    assert axes.get_axisbelow() is True
    assert axis.get_ticklines()[0].get_markersize() == 0
    assert axis.get_ticklabels()[0].get_color() == "#2b2f33"


@pytest.mark.parametrize("mean", [None, 40.0])
def test_without_an_interval_none_is_drawn(mean):
    axes = Figure().subplots()
    alone = model_scores(mean, scored=1, n=1).model_copy(update={"interval": interval(None, None)})
    plot._distribution(axes, {"tuned": alone}, [])

    assert [bar.get_width() for bar in axes.containers[0]] == pytest.approx([8.4] * 10)
    assert len(axes.patches) == 10
    assert len(axes.lines) == (mean is not None)


def by_category():
    """The tuned model's best on top; what has no mean below; the base model has one category less."""
    base = model_scores(1.0, scored=1, n=1, categories={"low": 5.0, "high": 50.0, "none": None, "same": 30.0})
    tuned = model_scores(
        2.0, scored=1, n=1, categories={"none": None, "high": 90.0, "low": 0.0, "same": 30.0, "a": 0.0}
    )
    axes = Figure().subplots()
    plot._by_category(axes, {"base": base, "tuned": tuned})
    return axes


def test_categories_are_in_the_order_of_the_tuned_model_s_means():
    axes = by_category()

    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["none (1)", "a (1)", "low (1)", "same (1)", "high (1)"]
    assert axes.get_yticks().tolist() == [0, 1, 2, 3, 4]
    assert axes.get_ylim() == pytest.approx((-0.7, 4.7))
    assert (axes.get_xlim(), axes.get_xticks().tolist()) == ((-2, 102), [0, 20, 40, 60, 80, 100])
    assert (axes.get_xlabel(), axes.get_title(loc="left")) == (
        "mean score",
        "Mean by category (rows); line: 95 % interval",
    )
    assert_clean(axes, "x")


def test_a_category_has_a_point_a_model_and_a_line_between_them():
    axes = by_category()

    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines] == [
        ([], []),
        ([0.0], [1]),
        ([5.0, 0.0], [2, 2]),
        ([30.0, 30.0], [3, 3]),
        ([50.0, 90.0], [4, 4]),
    ]
    *_, base, tuned = axes.collections
    assert base.get_offsets().tolist() == [[5.0, 2.0], [30.0, 3.0], [50.0, 4.0]]
    assert tuned.get_offsets().tolist() == [[0.0, 1.0], [0.0, 2.0], [30.0, 3.0], [90.0, 4.0]]
    assert [tuple(one.get_facecolor()[0][:3]) for one in (base, tuned)] == [to_rgb("#9aa5b1"), to_rgb("#1f6fb2")]
    assert {line.get_color() for line in axes.lines} == {"#e3e6e9"}
    assert all(line.get_zorder() < one.get_zorder() for line in axes.lines for one in (base, tuned))


def test_a_category_of_few_rows_shows_how_little_it_says():
    """Wilson's interval of 1 of 1 is [0.207, 1]; of a mean of 50 of one row it is [0.055, 0.945]."""
    axes = by_category()
    intervals = [one.get_segments()[0] for one in axes.collections[:4]]
    assert [[list(end) for end in one] for one in intervals] == [
        [[0.0, 1.0], [pytest.approx(79.3, abs=0.1), 1.0]],
        [[0.0, 2.0], [pytest.approx(79.3, abs=0.1), 2.0]],
        [[pytest.approx(2.1, abs=0.1), 3.0], [pytest.approx(89.7, abs=0.1), 3.0]],
        [[pytest.approx(16.8, abs=0.1), 4.0], [pytest.approx(99.7, abs=0.1), 4.0]],
    ]
    assert plot._wilson(1.0, 1) == pytest.approx((0.2065, 1.0), abs=1e-4)


def test_where_right_answers_are_known_a_category_shows_their_share():
    tuned = model_scores(2.0, scored=1, n=1, categories={"few": 90.0, "open": None})
    few = tuned.categories["few"].model_copy(update={"n": 5, "scored": 4, "right": 3})
    nothing = tuned.categories["open"].model_copy(update={"scored": 0})
    axes = Figure().subplots()
    plot._by_category(axes, {"tuned": tuned.model_copy(update={"categories": {"few": few, "open": nothing}})})

    assert [label.get_text() for label in axes.get_yticklabels()] == ["open (none scored)", "few (3 of 4)"]
    assert axes.collections[-1].get_offsets().tolist() == [[75.0, 1.0]]
    assert axes.get_xlabel() == "right answers, in %"


def test_the_background_is_white_where_the_page_is_dark(tmp_path: Path) -> None:
    plot.plot_scores(tmp_path / "a.png", VERDICTS, metrics("a", "b"))
    corner = matplotlib.image.imread(tmp_path / "a.png")[0, 0]
    assert corner.tolist() == [1.0, 1.0, 1.0, 1.0]


def test_a_long_name_is_cut_to_sixty_characters():
    assert plot._short("x" * 60) == "x" * 60
    assert plot._short("x" * 61) == "x" * 59 + "…"


@pytest.mark.parametrize(("count", "height"), [(2, 576), (14, 576), (15, 600), (40, 1320)])
def test_the_picture_grows_with_the_number_of_categories(tmp_path, count, height):
    """1.4 inches and 0.24 for each, and 4.8 at least, of 120 dots."""
    plot.plot_scores(tmp_path / "a.png", VERDICTS, metrics(*(f"c{number}" for number in range(count))))

    assert struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24]) == (1380, height)


INK = "#2b2f33"


def drawn(path: Path, monkeypatch: pytest.MonkeyPatch, *categories: str) -> Figure:
    """The figure that is written to a file."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *args: object, **options: object) -> None:
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    plot.plot_scores(path, VERDICTS, metrics(*categories))
    (figure,) = figures
    return figure


@pytest.mark.parametrize(("categories", "panels"), [([], 1), (["a"], 1), (["a", "b"], 2), (["a", "b", "c"], 2)])
def test_the_legend_is_below_the_panels_with_a_column_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, categories: list[str], panels: int
):
    figure = drawn(tmp_path / "a.png", monkeypatch, *categories)

    assert len(figure.axes) == panels
    (legend,) = figure.legends
    assert (legend._ncols, legend._outside_loc, legend.get_frame_on()) == (panels, "lower", False)
    assert {text.get_fontsize() for text in legend.get_texts()} == {10}
    assert isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine)


def test_the_second_panel_has_a_line_for_each_category(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _, right = drawn(tmp_path / "a.png", monkeypatch, "a", "b").axes

    assert sorted(label.get_text() for label in right.get_yticklabels()) == ["a (1)", "b (1)"]


def test_the_title_names_the_judge_in_bold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    title = drawn(tmp_path / "a.png", monkeypatch)._suptitle

    assert title.get_text() == "Scores of the test answers (built-in reference judge)"
    assert (title.get_color(), title.get_fontsize(), title.get_fontweight()) == (INK, 13, "bold")


def test_the_file_names_no_version_of_a_library_and_no_style_of_the_user(tmp_path: Path):
    with matplotlib.rc_context({"figure.facecolor": "black", "savefig.format": "pdf"}):
        plot.plot_scores(tmp_path / "a.png", VERDICTS, metrics())

    picture = (tmp_path / "a.png").read_bytes()
    assert picture.startswith(PNG)
    assert b"Software" not in picture
    assert matplotlib.image.imread(tmp_path / "a.png")[0, 0].tolist() == [1.0, 1.0, 1.0, 1.0]


def test_a_bar_that_is_cut_has_its_share_written_in_it():
    """The base model's is from 0.8 to 5.0 wide, and cut at 50: its text begins a little below that, and stands up."""
    axes = Figure().subplots()
    plot._distribution(axes, metrics().by_model(), VERDICTS)

    (text,) = axes.texts
    assert text.get_position() == pytest.approx((2.9, 48.5))
    assert (text.get_ha(), text.get_va(), text.get_rotation()) == ("center", "top", 90)
    assert (text.get_fontsize(), text.get_color()) == (8, INK)


def test_a_band_has_no_edge_and_stands_behind_the_bars_and_the_mean():
    axes = Figure().subplots()
    plot._distribution(axes, metrics().by_model(), VERDICTS)

    bands = [patch for patch in axes.patches if patch.get_height() == 1.0 and patch.get_width() == 10.0]
    bars = [bar for container in axes.containers for bar in container]
    assert {band.get_linewidth() for band in bands} == {0}
    assert {band.get_zorder() for band in bands} == {0}
    assert min(bar.get_zorder() for bar in bars) > 0
    assert {line.get_linewidth() for line in axes.lines} == {1.4}


def test_both_panels_have_a_small_title_and_ticks_at_each_twenty_points_whatever_their_size():
    left, right = Figure(figsize=(2, 2)).subplots(1, 2)
    plot._distribution(left, metrics().by_model(), VERDICTS)
    plot._by_category(right, metrics("a", "b").by_model())

    for axes, grid in ((left, "y"), (right, "x")):
        title = axes._left_title
        assert (title.get_fontsize(), title.get_color()) == (10, INK)
        assert axes.get_xticks().tolist() == [0, 20, 40, 60, 80, 100]
        lines = (axes.yaxis if grid == "y" else axes.xaxis).get_gridlines()
        assert {line.get_linewidth() for line in lines} == {0.8}


@pytest.mark.parametrize(
    ("shares", "top"),
    [
        ([], 1.05),
        ([0.0] * 10, 1.05),
        ([1.5, 1.5], 1.575),
        ([100.0], 105.0),
        ([50.0, 25.0, 25.0], 52.5),
        ([50.0, 24.0, 24.0], 36.0),
    ],
)
def test_the_axis_of_shares_ends_above_the_highest_or_where_it_is_cut(shares: list[float], top: float):
    """1.05 times the highest, and of 1 % at least; 1.5 times the next where the highest is more than twice as high."""
    assert plot._top(shares) == pytest.approx(top)


def test_an_interval_of_a_category_stands_over_its_line_and_behind_the_points():
    axes = by_category()

    *intervals, base, tuned = axes.collections
    lines = [line.get_zorder() for line in axes.lines]
    assert {(line.get_linewidth(), line.get_solid_capstyle()) for line in axes.lines} == {(3, "round")}
    assert all(one.get_linewidth() == [1.2] and one.get_alpha() == 0.55 for one in intervals)
    assert {tuple(one.get_edgecolor()[0][:3]) for one in intervals} == {to_rgb("#1f6fb2")}
    # The lines of the grid are drawn at 0.5.
    assert 0.5 < min(lines) <= max(lines) < min(one.get_zorder() for one in intervals)
    assert max(one.get_zorder() for one in intervals) < min(one.get_zorder() for one in (base, tuned))
    assert {*base.get_sizes(), *tuned.get_sizes()} == {34}
    assert {label.get_fontsize() for label in axes.get_yticklabels()} == {9}


def test_a_category_of_which_no_row_was_scored_has_no_share():
    nothing = CategoryMean(n=2, scored=0, mean=None, right=0)
    assert plot._figure(nothing, in_right=True) is None
    assert plot._figure(CategoryMean(n=2, scored=2, mean=50.0), in_right=True) is None
    assert plot._figure(CategoryMean(n=4, scored=4, mean=50.0, right=3), in_right=True) == 75.0


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [(0.75, 4, 0.3006, 0.9544), (0.5, 10, 0.2366, 0.7634), (0.0, 10, 0.0, 0.2775), (1.0, 10, 0.7225, 1.0)],
)
def test_wilsons_interval_by_hand(share: float, n: int, low: float, high: float):
    """Of 3 of 4: z² = 3.8415; (0.75 + 3.8415 / 8) / 1.9604 = 0.6275, and 1.96 / 1.9604 x sqrt(0.1069) = 0.3269."""
    assert plot._wilson(share, n) == pytest.approx((low, high), abs=5e-5)


def test_the_legend_tells_right_answers_where_they_are_known():
    right = Right(n=4, right=3, share=0.75, interval=interval(0.3, 0.95))
    found = model_scores(60.0, scored=4, n=5, right=right)
    assert plot._label("tuned", found) == "fine-tuned: mean 60.0 [55.0, 65.0], 3 of 4 right, 4 of 5 scored"
    assert plot._label("base", model_scores(None, scored=0, n=5)) == "before fine-tuning: no scores, 0 of 5 scored"
