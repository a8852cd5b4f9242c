"""The scores beside the last commit's, compared by the real program in a real git repository with DVC's cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.common.files import sha256, write_json
from stages.common.metrics.beside import Beside
from stages.common.records import write_metrics, write_records
from stages.common.results.judge import JUDGE_METRICS, VERDICTS, Verdict
from stages.running import beside, report
from stages.running.beside import Told
from stages.running.summary_parts.compared import compared_lines
from stages.running.tracking import mlflow_access
from tests import results
from tests.root import ROOT

#: Differences of twenty rows: 5 or 15 points, each as often, so that the mean is 10.
BETTER = [60.0, 70.0] * 10
THERE = [55.0] * 20


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose last commit has scores, in DVC's cache alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    git("init", "-q")
    commit(THERE)
    return tmp_path


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def write(scores: list[float]) -> None:
    rows = [
        Verdict(id=f"{number:02}", model="tuned", status="scored", score=score, detail="")
        for number, score in enumerate(scores)
    ]
    VERDICTS.parent.mkdir(parents=True, exist_ok=True)
    write_records(VERDICTS, rows)
    judged = results.judge_metrics(results.identity(), results.model_scores(scores[0], scored=20, n=20))
    write_metrics(JUDGE_METRICS, judged)


def commit(scores: list[float]) -> None:
    """Commit a dvc.lock whose files are in DVC's cache."""
    write(scores)
    outs = []
    for path in (VERDICTS, JUDGE_METRICS):
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        kept = Path(".dvc/cache/files/md5") / digest[:2] / digest[2:]
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, kept)
        outs.append({"path": path.as_posix(), "md5": digest})
    write_json(Path("dvc.lock"), {"stages": {"judge": {"cmd": "x", "outs": outs}}})
    git("add", "dvc.lock", "params.yaml")
    git("commit", "-q", "-m", "a run")


def test_the_difference_from_the_last_commit_has_its_interval_and_is_compared_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(BETTER)
    head = git("rev-parse", "HEAD")

    told = beside.of(root)

    found = told.found
    assert found is not None
    assert (told.words, told.same) == ("", False)
    assert (found.head, found.other, found.n) == (head, f"the last commit, {head[:7]}", 20)
    assert (found.mean_there, found.mean, found.difference) == (55.0, 65.0, 10.0)
    assert found.low is not None
    assert found.high is not None
    assert 5 < found.low < 10 < found.high < 15
    lines = compared_lines(told)
    assert lines[0] == f"with the last commit, {head[:7]}, on 20 rows: 55.0 of 100 points there, 65.0 here"
    assert lines[1] == f"this run    +10.0 points [{found.low:+.1f}, {found.high:+.1f}]: higher than there"
    assert lines[2] == "           one training each: training seeds are not allowed for"
    monkeypatch.setattr(beside, "PROGRAM", "no.such.program")
    assert beside.of(root) == told, "it is kept"
    git("commit", "-q", "--allow-empty", "-m", "another commit")
    assert beside.of(root).found is None, "and asked for again where the last commit is another"


def test_the_same_scores_with_other_verdicts_on_the_base_model_are_those_of_the_last_commit(root: Path) -> None:
    write(THERE)
    with open(VERDICTS, "a", encoding="utf-8") as stream:
        stream.write(Verdict(id="00", model="base", status="scored", score=0.0, detail="").model_dump_json() + "\n")
    last = f"the last commit, {git('rev-parse', '--short=7', 'HEAD')}"
    told = beside.of(root)

    assert compared_lines(told) == [f"the same scores as {last}"]
    assert beside.of(root, commit_tried=True) == told, "what was found is kept"


@pytest.mark.thorough  # a program is started, which draws
def test_the_report_of_a_plain_dvc_repro_compares_and_leaves_what_mlflow_gets(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", "judge")  # which DVC records next
    write(BETTER)
    last = f"the last commit, {git('rev-parse', '--short=7', 'HEAD')}"

    with report.begun(root, compares=True) as making:
        assert making.comparisons() is None, "nothing is made yet"
        making.go(made_here=True, run="calm-otter")
        assert making.made()
        kept = making.comparisons()
        assert kept is not None
        files = [Path(file) for file in kept.files]
        assert [file.name for file in files] == ["comparison.json", "comparison.png", "comparison.txt"]
        assert all(file.stat().st_size for file in files)
        [line] = kept.lines
        assert line.startswith(f"Compared with {last}: higher than there (+10.0 points")
        assert line.endswith(" calm-otter`")
    assert not any(file.exists() for file in files)
    assert f"Higher than there.</b> Compared with {last}." in (root / report.REPORT).read_text()
    found = beside.of(root, commit_tried=True).found
    assert found is not None, "the summary need not compare again"
    assert found.difference == 10.0


@pytest.mark.thorough  # a program is started, which draws
def test_comparisons_are_left_for_mlflow_also_where_the_page_cannot_be_written(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_STAGE", "judge")
    write(BETTER)
    (root / report.REPORT).mkdir()

    with report.begun(root, compares=True) as making:
        making.go(made_here=True, run="calm-otter")
        assert not making.made()
        kept = making.comparisons()
    assert kept is not None
    assert [Path(file).name for file in kept.files] == ["comparison.json", "comparison.png", "comparison.txt"]
    assert kept.commit_tried
    told = capsys.readouterr().out
    assert "artifacts/report.html: expected a file, found a folder; to fix it: rm -r artifacts/report.html\n" in told


@pytest.mark.thorough  # a program is started
def test_a_report_without_scores_to_compare_with_keeps_no_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "judge")
    write(BETTER)
    shutil.rmtree(".dvc")

    with report.begun(root, compares=True) as making:
        making.go(made_here=True, run="calm-otter")
        assert making.made()
        kept = making.comparisons()
    assert kept is not None
    assert (kept.lines, kept.files) == ([], [])
    assert "another machine" in (root / report.REPORT).read_text()


def test_why_scores_stand_alone_is_said(root: Path) -> None:
    assert beside.of(root) == Told(), "there are none"
    write(THERE)
    last = f"the last commit, {git('rev-parse', '--short=7', 'HEAD')}"
    same = Told(f"the same scores as {last}", same=True)
    assert beside.of(root) == same
    assert compared_lines(same) == [f"the same scores as {last}"]
    write(BETTER)
    shutil.rmtree(".dvc")
    assert beside.of(root) == Told(f"not with {last}: its scores are another machine's, and not in DVC's cache here")
    git("rm", "-q", "dvc.lock")
    git("commit", "-q", "-m", "nothing has run")
    told = beside.of(root)
    assert (told.found, told.same) == (None, False)
    assert told.words.endswith("it has no scores; with this run's dvc.lock committed, the next run is compared")


def test_no_repository_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(BETTER)
    assert beside.of(tmp_path) == Told()


def record(client: MlflowClient, name: str, mean: float, judge: str = "ab12") -> str:
    """A finished run of MLflow with twenty scores of this mean."""
    at = "instruct-pipeline/quick"
    named = client.get_experiment_by_name(at)
    kept = (Path.cwd() / "mlruns").as_uri()
    run = client.create_run(
        named.experiment_id if named else client.create_experiment(at, artifact_location=kept), run_name=name
    )
    write([mean, mean - 10] * 10)
    for path in (VERDICTS, JUDGE_METRICS):
        client.log_artifact(run.info.run_id, str(path), "judge")
    client.log_metric(run.info.run_id, "score/mean", mean)
    client.set_tag(run.info.run_id, "judge.fingerprint", judge)
    client.set_tag(run.info.run_id, "results.sha256", sha256(VERDICTS))
    client.set_terminated(run.info.run_id, "FINISHED")
    return str(run.info.run_id)


@pytest.mark.slow
def test_where_the_last_commit_has_the_same_scores_that_is_said_and_the_best_run_of_now_is_compared_with(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow_access.load()
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    record(client, "good-moth", 60.0)
    best = record(client, "best-moth", 65.0)
    record(client, "other-judge", 99.0, judge="cd34")
    write(THERE)

    told = beside.of(root)

    same = f"the same scores as the last commit, {git('rev-parse', '--short=7', 'HEAD')}"
    found = told.found
    assert (told.words, told.same) == (same, True)
    assert found is not None
    assert (found.other, found.best, found.mean_there, found.mean) == (
        "the best other run, best-moth",
        best,
        60.0,
        55.0,
    )
    lines = compared_lines(told)
    assert lines[:2] == [same, "with the best other run, best-moth, on 20 rows: 60.0 of 100 points there, 55.0 here"]
    with monkeypatch.context() as without:
        without.setattr(beside, "PROGRAM", "no.such.program")
        assert beside.of(root) == told, "it is kept"
        newer = record(client, "newest-moth", 70.0)
        write(THERE)
        assert beside.of(root) == Told(same, same=True), "which is not told where another run is the best one now"
    now = beside.of(root).found
    assert now is not None
    assert (now.other, now.mean_there) == ("the best other run, newest-moth", 65.0)
    client.delete_run(newer)
    again = beside.of(root).found
    assert again is not None
    assert again.best == best

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # it does not answer, and is not asked
    os.utime(root / beside._note(root), (1_796_000_000, 1_796_000_000))
    kept = beside.of(root).found
    assert kept is not None
    assert kept.other == "the best other run as of 2026-11-30 00:53 UTC, best-moth"


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"comparisons": []}), json.dumps({"comparisons": [{"n": 1}]})])
def test_a_table_that_is_none_keeps_nothing(root: Path, text: str) -> None:
    write(BETTER)
    Path("table.json").write_text(text)

    assert beside.keep(root, Path("table.json"), "HEAD", "another") is None


def test_a_run_that_was_compared_in_place_of_the_commit_is_named(root: Path) -> None:
    write(BETTER)
    figures = {"n": 20, "mean_a": 55.0, "mean_b": 65.0, "difference": 10.0, "low": 9.0, "high": 11.0}
    entry = figures | {"detectable": 1.0, "same_judge": True, "verdict": "B is better", "rests_on": "rows"}
    for name, expected in (
        ("HEAD (37288ae)", "the last commit"),
        ("moth of MLflow, not HEAD", "moth of MLflow, not HEAD"),
    ):
        Path("table.json").write_text(json.dumps({"a": {"name": name}, "comparisons": [entry]}))
        found = beside.keep(root, Path("table.json"), "HEAD", "the last commit")
        assert found is not None
        assert found.other == expected
        assert beside.of(root) == Told(found=found)


def test_an_undetected_difference_says_what_would_be_found_and_what_it_rests_on() -> None:
    found = Beside(
        head="1",
        other="the best other run, moth",
        best="1a2b",
        n=1,
        mean=50.0,
        mean_there=50.04,
        difference=-0.04,
        low=None,
        high=None,
        detectable=3.72,
        verdict="no detectable difference",
        rests_on="one training each: training seeds are not allowed for",
        same_judge=True,
    )
    assert compared_lines(Told(found=found)) == [
        "with the best other run, moth, on 1 row: 50.0 of 100 points there, 50.0 here",
        "this run     +0.0 points, no interval: no detectable difference",
        "           one training each: training seeds are not allowed for",
        "           a true difference of 3.7 points would be found about 3 times in 4",
    ]
    judges = found.model_copy(update={"verdict": "not comparable: two judges", "rests_on": "", "same_judge": False})
    assert compared_lines(Told(found=judges)) == ["with the best other run, moth: not comparable: two judges"]
    rows = judges.model_copy(update={"verdict": "not comparable: other test rows", "rests_on": "0 rows are in both"})
    assert compared_lines(Told(found=rows)) == [
        "with the best other run, moth: not comparable: other test rows; 0 rows are in both"
    ]
