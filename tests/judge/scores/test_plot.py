"""The picture of the scores."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from stages.common.metrics.judge import JudgeIdentity, JudgeMetrics
from stages.common.results.judge import Verdict
from stages.judge.runs import plot as runs_plot
from stages.judge.runs.group import of_runs
from stages.judge.runs.results import compare_groups
from stages.judge.runs.sources import Run
from stages.judge.scores import plot
from tests.results import identity, judge_metrics, model_scores


def verdict(model: str, score: float | None) -> Verdict:
    status = "invalid" if score is None else "scored"
    return Verdict.model_validate({"id": "a", "model": model, "status": status, "score": score, "detail": ""})


VERDICTS = [verdict("base", 0.0), verdict("tuned", 9.9), verdict("tuned", 10.0), verdict("tuned", 100.0)]
VERDICTS.append(verdict("tuned", None))


def metrics(*categories: str) -> JudgeMetrics:
    base = model_scores(0.0, scored=1, n=1, categories=dict.fromkeys(categories, 0.0))
    tuned = model_scores(40.0, scored=3, n=4, categories=dict.fromkeys(categories, 40.0))
    return judge_metrics(identity(), tuned, base=base)


def test_a_bar_counts_the_answers_of_ten_points_and_100_is_in_the_last():
    axes = Figure().subplots()

    plot._distribution(axes, metrics().by_model(), VERDICTS)

    base, tuned = axes.containers
    assert [bar.get_height() for bar in base] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert [bar.get_height() for bar in tuned] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]
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
