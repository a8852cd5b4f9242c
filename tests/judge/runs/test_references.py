"""The run just made beside the last commit's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stages.common.results.judge import JUDGE_FOLDER
from stages.judge.runs import references
from stages.judge.runs.references import with_references
from stages.running import beside
from tests.judge.runs.test_compare import commit, git, write
from tests.root import ROOT


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    git("init", "-q")
    commit([50] * 10)
    return tmp_path


def test_the_table_and_the_figure_last_as_long_as_the_block(repository: Path) -> None:
    write(JUDGE_FOLDER, [80, 70] * 5)
    with with_references(repository, repository, "calm-otter") as (found, *_):
        head = f"HEAD ({git('rev-parse', 'HEAD')[:7]})"
        assert found.text.startswith(f"A {head}\nB this run\nrows        10 scored in both")
        assert "result      B scores higher: this run; one training each" in found.text
        table, figure, text = found.files
        commit = git("rev-parse", "HEAD")[:7]
        again = f"python -m stages.judge.runs.compare {commit} calm-otter"
        assert text.read_text() == f"{found.text}\n\nagain       {again}\n"
        assert found.verdict.startswith(f"Compared with the last commit, {commit}: higher than there (+25.0 points, ")
        assert found.verdict.endswith(f"Again: `{again}`")
        written = json.loads(table.read_text())
        assert written["comparisons"][0]["difference"] == 25.0
        assert (written["a"]["name"], written["comparisons"][0]["b"]["name"]) == (head, "this run")
        assert str(repository) not in table.read_text()
        kept = beside.of(repository)
        assert isinstance(kept, beside.Beside), "the summary has it too"
        assert kept.difference == 25.0
        assert figure.read_bytes().startswith(b"\x89PNG")
        assert found.picture.startswith("\n![differences](data:image/png;base64,")
    assert not figure.exists()


def test_a_mistake_in_what_is_asked_ends_no_run(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where an option of the comparison has another name: the parser of a program would end the process."""
    write(JUDGE_FOLDER, [80, 70] * 5)
    monkeypatch.setattr(references, "REVISION", "--revision")
    with with_references(repository, repository, "calm-otter") as (found, *_):
        assert found.text.startswith("Nothing compared: unexpected: --revision")
        assert found.files == ()


def test_a_run_without_scores_is_not_compared(repository: Path) -> None:
    with with_references(repository, repository, "calm-otter") as (found, *_):
        assert (found.text, found.files) == ("There are no scores to compare.", ())


def test_a_commit_without_results_is_said_and_fails_nothing(repository: Path) -> None:
    git("rm", "-q", "dvc.lock")
    git("commit", "-m", "nothing")
    write(JUDGE_FOLDER, [80])
    with with_references(repository, repository, "calm-otter") as (found, *_):
        assert found.text.startswith("Nothing compared: HEAD: no results of the stage judge in its dvc.lock")
        assert found.files == ()


def test_where_the_last_commit_is_of_another_machine_the_folder_s_results_stand_in(repository: Path) -> None:
    shutil.rmtree(repository / ".dvc" / "cache")
    write(JUDGE_FOLDER, [50] * 10)
    write(repository / "tree" / JUDGE_FOLDER, [80, 70] * 5)
    with with_references(repository, repository / "tree", "calm-otter") as (found, *_):
        assert "git commit -am 'My first run' makes the results here the baseline" in found.text
        assert f"A artifacts, in place of HEAD ({git('rev-parse', 'HEAD')[:7]})\nB this run\n" in found.text
        assert len(found.files) == 3
