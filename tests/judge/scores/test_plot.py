"""The picture of the scores."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from stages.common.metrics.judge import JudgeMetrics
from stages.common.results.judge import Verdict
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
