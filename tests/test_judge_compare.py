"""Comparing runs: the statistics by hand and against scipy, and every way to name a run."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from stages.common import paths
from stages.common.errors import DataError
from stages.common.files import write_json
from stages.common.records import Verdict, write_records
from stages.judging import compare as program
from stages.judging.comparison import compare, holm, interval, permutation_p, standard_error
from stages.judging.sources import find_run

ROOT = Path(__file__).parents[1]


def verdicts(*scores, clusters=None, model="tuned"):
    """A row for each score; None is invalid. Clusters are the rows' instructions, each its own unless said."""
    return [
        Verdict(
            id=f"r{place}",
            model=model,
            status="invalid" if value is None else "scored",
            score=None if value is None else float(value),
            detail="",
            cluster=clusters[place] if clusters else f"c{place}",
        )
        for place, value in enumerate(scores)
    ]


def test_a_comparison_worked_by_hand():
    """Differences 10, 20, 30 and 0 in three instructions, of which the first two rows share one."""
    a = verdicts(50, 50, 50, 50, 90, clusters=["x", "x", "y", "z", "z"])
    b = verdicts(60, 70, 80, 50, None, clusters=["x", "x", "y", "z", "z"])
    found = compare(a, b[::-1], resamples=200, seed=1)
    assert (found.n, found.left_out, found.clusters) == (4, 1, 3)
    assert (found.mean_a, found.mean_b, found.difference) == (50, 65, 15)
    assert (found.wins, found.ties, found.losses) == (3, 1, 0)
    # cluster sums 30, 30 and 0: of the 8 ways to turn them round, those with the first two alike are as far out
    assert found.p == 0.5
    # residuals of the sums from size x 15: 0, 15, -15; sqrt(3 / 2 x 450) / 4 rows
    error = np.sqrt(1.5 * 450) / 4
    assert found.detectable == pytest.approx((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * error)
    assert found.verdict == "no detectable difference"


def test_rows_of_one_instruction_are_not_independent():
    """Twenty rows, better by 10 or worse by 2: alone each counts, as two instructions they say nothing."""
    a, b = [50] * 20, [60] * 15 + [48] * 5
    alone = compare(verdicts(*a), verdicts(*b), resamples=2000)
    together = [f"c{int(place >= 15)}" for place in range(20)]
    clustered = compare(verdicts(*a, clusters=together), verdicts(*b, clusters=together), resamples=2000)
    assert (alone.verdict, clustered.verdict) == ("B is better", "no detectable difference")
    assert clustered.high - clustered.low > alone.high - alone.low
    assert clustered.p == 1.0  # 150 - 10, and none of the four ways is less far out
    assert compare(verdicts(*b), verdicts(*a), resamples=2000).verdict == "A is better"


def test_with_one_row_an_instruction_the_error_is_the_textbook_s_and_the_interval_scipy_s():
    values = np.random.default_rng(7).normal(5, 20, 110)
    ones = np.ones(110)
    assert standard_error(values, ones) == pytest.approx(stats.sem(values))
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    low, high = interval(values, ones, resamples=20_000, seed=2)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.15)  # two sets of draws


def test_the_permutation_test_is_scipy_s():
    values = np.random.default_rng(3).normal(1, 2, 12)

    def p_of_scipy(resamples):
        return stats.permutation_test(
            (values, np.zeros_like(values)),
            lambda x, y, axis: np.mean(x - y, axis=axis),
            permutation_type="samples",
            n_resamples=resamples,
            vectorized=True,
            rng=np.random.default_rng(1),
        ).pvalue

    assert permutation_p(values, resamples=1, seed=1) == pytest.approx(p_of_scipy(np.inf))
    more = np.concatenate([values, values[:8] * 0.5])
    drawn = permutation_p(more, resamples=20_000, seed=1)
    every = [np.abs(more @ signs) for signs in np.random.default_rng(9).choice([-1, 1], (200_000, 20))]
    assert drawn == pytest.approx(np.mean(np.array(every) >= abs(more.sum())), abs=0.01)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("scores", [[], [50]])
def test_too_few_rows_say_so(scores):
    found = compare(verdicts(*scores), verdicts(*scores))
    assert (found.p, found.low, found.detectable) == (None, None, None)
    assert found.verdict == "too few rows to compare"


def test_equal_runs_have_no_difference():
    found = compare(verdicts(1, 2, 3), verdicts(1, 2, 3))
    assert (found.difference, found.low, found.high, found.p, found.ties) == (0, 0, 0, 1.0, 3)
    assert found.verdict == "no detectable difference"


def test_a_comparison_is_the_same_again():
    a, b = verdicts(*range(0, 90, 3)), verdicts(*[70 - score for score in range(0, 60, 2)])
    assert compare(a, b, resamples=500) == compare(a, b, resamples=500)


JUDGE = {"fingerprint": "1" * 32, "backend": "reference"}


def write(folder, scores, judge=JUDGE):
    """The stage's two files, as a comparison reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_records(folder / "verdicts.jsonl", verdicts(*scores))
    write_json(folder / "metrics.json", {"judge": judge})


@pytest.mark.parametrize("name", ["run", "run/artifacts/judge", "run/artifacts/judge/verdicts.jsonl"])
def test_a_run_in_a_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "run" / paths.JUDGE, [10, 20])
    found = find_run(name)
    assert [verdict.score for verdict in found.of("tuned")] == [10, 20]
    assert found.judge == JUDGE
    with pytest.raises(DataError, match="no verdicts on the model base; it has tuned"):
        found.of("base")


def git(*arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(scores):
    """Commit a dvc.lock, with the files that it names in DVC's cache and nowhere else."""
    write(paths.JUDGE, scores)
    outs = []
    for path in (paths.VERDICTS, paths.JUDGE_METRICS):
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        kept = Path(".dvc/cache/files/md5") / digest[:2] / digest[2:]
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, kept)
        outs.append({"path": path.as_posix(), "md5": digest})
    write_json(Path("dvc.lock"), {"stages": {"judge": {"cmd": "x", "outs": outs}}})
    git("add", "dvc.lock")
    git("commit", "-m", "a run")
    return git("rev-parse", "HEAD")


def test_a_run_in_git_and_an_experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    commit([10, 20])
    second = commit([30, 40])
    git("update-ref", f"refs/exps/{second[:2]}/{second[2:]}/tidy-moth", commit([50, 60]))
    git("reset", "--hard", "-q", second)

    def scores(name):
        return [verdict.score for verdict in find_run(name).of("tuned")]

    assert (scores("HEAD"), scores("HEAD~1"), scores("tidy-moth")) == ([30, 40], [10, 20], [50, 60])
    shutil.rmtree(".dvc/cache")
    with pytest.raises(DataError, match=r"HEAD: not in DVC's cache: .dvc/cache/files/md5/"):
        find_run("HEAD")
    git("rm", "-q", "dvc.lock")
    git("commit", "-m", "nothing run")
    with pytest.raises(DataError, match="HEAD: no results of the stage judge"):
        find_run("HEAD")
    with pytest.raises(DataError, match="nowhere: no such folder, git revision, DVC experiment or MLflow run"):
        find_run("nowhere")


@pytest.mark.slow  # MLflow makes a database
def test_a_run_in_mlflow(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "files", [10, 20])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    client = MlflowClient()
    experiment = client.create_experiment("one", artifact_location=(tmp_path / "kept").as_uri())
    runs = [client.create_run(experiment, run_name=name).info.run_id for name in ("full", "empty")]
    for path in (tmp_path / "files").iterdir():
        client.log_artifact(runs[0], str(path), "judge")
    for name in (runs[0], "full"):
        assert [verdict.score for verdict in find_run(name).of("tuned")] == [10, 20]
    with pytest.raises(DataError, match=r"MLflow run empty: it does not hold judge/verdicts.jsonl"):
        find_run("empty")
    with pytest.raises(DataError, match="no such folder"):
        find_run("it's not there")


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["compare", *arguments])
    program.main()
    return capsys.readouterr().out


def test_what_is_printed_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(Path("a"), [50] * 10)
    write(Path("b"), [60] * 8 + [50, 40])
    write(Path("c"), [50] * 10, judge=JUDGE | {"fingerprint": "2" * 32, "backend": "ollama"})
    out = run(monkeypatch, capsys, "a", "b", "c", "--json", "found.json", "--figure", "found.png")
    first, second = out.split("\n\n")
    # 2 x 10 of the 2 ** 9 ways to turn the nine differences round are as far from 0 as 70 points: all, or all but one
    assert "p           0.0391, 0.0781 by Holm over 2 (permutation test)" in first
    assert "B minus A   +7.0 [" in first
    assert "row by row  B better 8, equal 1, A better 1" in first
    assert "result      no detectable difference" in first
    assert "WARNING" not in first
    assert (
        "WARNING     not the same judge, so that the difference may be the judges': backend reference / ollama"
        in second
    )
    found = json.loads(Path("found.json").read_text())
    assert [one["same_judge"] for one in found["comparisons"]] == [True, False]
    assert found["comparisons"][0]["p_holm"] == pytest.approx(40 / 512, abs=1e-6)
    assert Path("found.png").read_bytes().startswith(b"\x89PNG")
    assert "by Holm" not in run(monkeypatch, capsys, "a", "b")


def test_a_name_that_is_no_run_ends_without_a_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "stages.judging.compare", "no-such-run", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 65
    assert done.stderr.startswith("compare: no-such-run: no such folder, git revision")
