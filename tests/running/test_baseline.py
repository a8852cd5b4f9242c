"""Where the last commit's results are another machine's, the summary says how these become the baseline."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stages.common.results.judge import JUDGE_FOLDER
from stages.running import committed
from stages.running.baseline import baseline_lines
from tests.judge.runs.test_compare import commit, git, write


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    commit([50] * 3)


def test_it_is_said_where_the_cache_lacks_them_and_these_are_others() -> None:
    write(JUDGE_FOLDER, [60] * 3)
    assert baseline_lines() == [], "they can be compared"
    shutil.rmtree(".dvc/cache")
    assert baseline_lines()[1] == committed.BASELINE
    write(JUDGE_FOLDER, [50] * 3)
    assert baseline_lines() == [], "this machine has made the committed bytes"


def test_nothing_is_said_without_results_or_without_a_commit_that_has_some() -> None:
    shutil.rmtree(".dvc/cache")
    assert baseline_lines() == []
    write(JUDGE_FOLDER, [60] * 3)
    git("rm", "-q", "dvc.lock")
    git("commit", "-m", "nothing")
    assert baseline_lines() == []
