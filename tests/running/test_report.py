"""The report as the doors see it: of which results it is, and that no fault in it fails anything."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from flows.after_stages import made_ready
from stages.common.files import write_json
from stages.common.metrics.beside import Further
from stages.common.results.judge import JUDGE_METRICS, VERDICTS
from stages.running import report, summary
from stages.running.report import REPORT
from tests.judge.report import a_run
from tests.root import ROOT


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/no-mlflow.db")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    a_run.write(tmp_path)
    a_run.lock(tmp_path)
    return tmp_path


def test_a_page_is_current_as_long_as_the_results_are_those_that_it_is_of(root: Path):
    assert not report.is_current(root), "there is none"
    (root / REPORT).write_text(f'<head><meta name="about" content="{report.mark(root)}">')
    assert report.is_current(root)
    write_json(root / JUDGE_METRICS, {})
    assert not report.is_current(root), "the scores are others"


def test_a_page_of_another_program_is_not_current(root: Path):
    (root / REPORT).write_bytes(b"\xff" * 9000)

    assert not report.is_current(root)


def test_the_summary_names_the_page_of_its_own_results_alone(root: Path):
    assert "artifacts/report.html" not in summary.text(root)
    (root / REPORT).write_text(f'<meta name="about" content="{report.mark(root)}">')
    assert "            report      artifacts/report.html" in summary.text(root).splitlines()


@pytest.mark.thorough
def test_the_page_is_made_and_is_that_of_the_results(root: Path):
    assert report.make(root)
    assert report.is_current(root)
    assert "2 of 4 answers are right" in (root / REPORT).read_text()


@pytest.mark.thorough
def test_a_page_that_is_missing_is_made_and_one_that_is_there_is_left(root: Path, capsys: pytest.CaptureFixture[str]):
    report.ensure(root)
    assert report.is_current(root)
    made = "report: artifacts/report.html is not there: making it (some seconds)\n"
    assert capsys.readouterr().out == made
    before = (root / REPORT).stat().st_mtime_ns
    report.ensure(root)
    assert ((root / REPORT).stat().st_mtime_ns, capsys.readouterr().out) == (before, "")
    (root / VERDICTS).unlink()
    (root / REPORT).unlink()
    report.ensure(root)
    assert (not (root / REPORT).exists(), capsys.readouterr().out) == (True, "")


@pytest.mark.thorough
def test_comparisons_that_have_been_made_are_told_and_not_made_again(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # whoever asks it has no answer
    further = Further(missing=["not compared with the champion, quick 3: its files are gone"])

    assert report.make(root, further)
    page = (root / REPORT).read_text()
    assert "Not compared with the champion, quick 3: its files are gone." in page
    assert "MLflow" not in page.partition('id="compared"')[2].partition("</section>")[0]


@pytest.mark.thorough
def test_an_mlflow_that_does_not_answer_is_told_in_the_page(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    assert report.make(root)
    assert "Not compared with other runs in MLflow: MLflow at http://127.0.0.1:9" in (root / REPORT).read_text()


def test_without_scores_there_is_no_page_and_no_program_is_started(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report, "PROGRAM", "no_such_program")
    (root / VERDICTS).unlink()

    assert not report.make(root)


@pytest.mark.thorough
def test_what_is_wrong_is_a_line_and_an_old_page_stays(root: Path, capsys: pytest.CaptureFixture[str]):
    (root / REPORT).write_text("old")
    (root / "params.yaml").write_text("profile: [\n")

    assert not report.make(root)
    told = capsys.readouterr().out
    assert told.startswith("report: not made, and no result depends on it; make report tries again: params.yaml: not ")
    assert told.count("\n") == 1
    assert (root / REPORT).read_text() == "old"


def test_a_program_that_takes_too_long_is_ended(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (root / "slow_program.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(report, "PROGRAM", "slow_program")
    monkeypatch.setattr(report, "_SECONDS", 0.5)
    began = time.monotonic()

    assert not report.make(root)
    assert time.monotonic() - began < 20
    assert "not ready after 0.5 s" in capsys.readouterr().out


def test_where_no_program_can_be_started_it_is_said(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "executable", str(root / "no-python"))

    assert not report.make(root)
    assert "make report tries again" in capsys.readouterr().out


@pytest.mark.thorough
def test_a_program_that_began_before_the_scores_makes_the_page_of_those_that_came(root: Path, tmp_path: Path):
    verdicts = (root / VERDICTS).rename(tmp_path / "later.jsonl")
    with made_ready(root) as ready:
        assert not report.is_current(root)
        verdicts.rename(root / VERDICTS)
        ready.wait(60)
        ready.report.go(Further(missing=["not compared with the champion, quick 3: its files are gone"]))
        assert ready.report.made()
        assert ready.report.made(), "whoever asks again hears the same"
    assert report.is_current(root)
    assert "Not compared with the champion, quick 3: its files are gone." in (root / REPORT).read_text()


def test_a_program_that_is_not_told_to_go_ends_with_the_block_and_makes_nothing(root: Path):
    with pytest.raises(KeyboardInterrupt), made_ready(root) as ready:  # noqa: PT012
        pids = [one.pid for one in psutil.Process().children() if report.PROGRAM in one.cmdline()]
        assert len(pids) == 1
        raise KeyboardInterrupt
    assert ready.report
    assert not psutil.pid_exists(pids[0])
    assert not (root / REPORT).exists()


@pytest.mark.thorough
def test_a_program_that_was_killed_is_told_in_a_line(root: Path, capsys: pytest.CaptureFixture[str]):
    with report.begun(root) as making:
        [program] = [one for one in psutil.Process().children() if report.PROGRAM in one.cmdline()]
        program.kill()
        making.go()
        assert not making.made()
    told = capsys.readouterr().out
    assert told == "report: not made, and no result depends on it; make report tries again: it ended with -9\n"


def test_a_temporary_folder_that_cannot_be_made_is_told_in_a_line(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(tempfile, "tempdir", str(root / "gone"))

    assert not report.make(root)
    told = capsys.readouterr().out
    assert told.startswith("report: not made, and no result depends on it; make report tries again: [Errno 2] No such")
    assert told.count("\n") == 1
