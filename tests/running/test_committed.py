"""What a commit has: the values of its params.yaml, and the scores that its dvc.lock names."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.common.errors import DataError
from stages.common.results.judge import VERDICTS
from stages.running import committed, digests
from stages.running.committed import Scores
from stages.running.lock import Recorded
from tests.judge.runs.test_compare import commit, git


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git("init", "-q")


def test_the_scores_of_a_commit_and_their_place_in_the_cache() -> None:
    commit([50] * 3)
    found = committed.scores(Path())
    assert found is not None
    assert found.kept == Path(".dvc/cache/files/md5") / found.digest[:2] / found.digest[2:]
    assert digests.md5(found.kept) == found.digest
    assert committed.outputs(Path(), "HEAD", "judge", name="it", fix="")[VERDICTS].digest == found.digest
    git("rm", "-q", "dvc.lock")
    git("commit", "-m", "nothing")
    assert committed.scores(Path()) is None
    assert committed.scores(Path(), "HEAD~1") == Scores(found.digest, found.kept)
    with pytest.raises(DataError, match="it: no outputs of the stage judge\n  to fix it: run"):
        committed.outputs(Path(), "HEAD", "judge", name="it", fix="run")


def test_what_the_lock_of_a_commit_records() -> None:
    assert committed.recorded(Path(), "HEAD") == Recorded(), "there is no commit"
    first = commit([50] * 3)
    scores = committed.scores(Path())
    assert scores is not None
    assert committed.recorded(Path(), first).digests[VERDICTS] == scores.digest
    for text in ("- 1\n", "stages: 3\n", "stages: {judge: 3}\n", "a: [\n"):
        Path("dvc.lock").write_text(text)
        git("commit", "-qam", "no lock")
        assert committed.recorded(Path(), "HEAD") == Recorded()
    assert committed.recorded(Path(), first).digests[VERDICTS] == scores.digest


def test_the_values_of_a_commit() -> None:
    assert committed.values(Path()) is None, "there is no commit"
    for text in ("split: {seed: 5e-5}\n", "- 1\n", "a: [\n"):
        Path("params.yaml").write_text(text)
        git("add", "-A")
        git("commit", "-m", "values")
    assert committed.values(Path(), "HEAD~2") == {"split": {"seed": 0.00005}}
    assert committed.values(Path(), "HEAD~1") is None
    assert committed.values(Path()) is None
