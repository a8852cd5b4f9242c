"""The pictures, with names from the data and from the user that matplotlib could take for its own language."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.common.results.judge import JudgeIdentity, Verdict
from stages.judge.runs import plot as runs_plot
from stages.judge.runs.results import compare_runs
from stages.judge.runs.sources import Run
from stages.judge.scores.plot import plot_scores
from tests import results

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
    judge = results.identity(backend="ollama", model=names[0])
    tuned = results.model_scores(52.0, scored=6, n=6, categories=dict.fromkeys(names, 50.0))
    for path in (tmp_path / "a.png", tmp_path / "b.png"):
        plot_scores(path, verdicts(50.0), results.judge_metrics(judge, tuned))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("name", NAMES[:3])
def test_runs_of_any_name_are_drawn(tmp_path: Path, name: str) -> None:
    judge = JudgeIdentity(fingerprint="1" * 32, backend="reference")
    runs = [Run(name, judge, verdicts(50.0)), Run(name, judge, verdicts(60.0))]
    runs_plot.plot(tmp_path / "a.png", compare_runs(runs, model="tuned", resamples=100, seed=1))
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
