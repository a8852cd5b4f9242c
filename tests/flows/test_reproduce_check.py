"""The results of a commit are made again on this machine, and compared with its dvc.lock."""

from __future__ import annotations

import pytest

from tests.flow_project import Project

pytestmark = pytest.mark.thorough


@pytest.fixture
def committed(project: Project) -> Project:
    """The project with a commit of its results, whose first stage is called split."""
    for name in ("dvc.yaml", "stage.py"):
        path = project.root / name
        path.write_text(path.read_text().replace("zeta", "split"))
    project.dvc("repro", "-q")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "results")
    return project


def check(project: Project, *options: str) -> tuple[int, str]:
    done = project.python("-m", "flows.reproduce_check", *options)
    return done.returncode, done.stdout + done.stderr


def break_lock(project: Project, stage: str) -> None:
    """Commit a dvc.lock that names other bytes of a stage's output."""
    lock = project.root / "dvc.lock"
    head, found, tail = lock.read_text().partition(f"  {stage}:")
    outs, made, after = tail.partition("    outs:")
    at = after.index("md5: ") + 5
    lock.write_text(head + found + outs + made + after[:at] + "a" * 32 + after[at + 32 :])
    project.git("commit", "--quiet", "--message", "another machine's", "dvc.lock")


def test_equal_results_are_a_success_and_no_cache_is_used(committed: Project) -> None:
    calls = committed.calls("split")
    code, told = check(committed)
    assert code == 0, told
    assert told.splitlines()[-1] == "result      equal: all 2 stages made the same bytes again"
    assert committed.calls("split") == calls + 1
    assert committed.git("status", "--porcelain") == ""


def test_a_stage_that_must_be_equal_everywhere_fails_the_check_and_another_one_with_strict_alone(
    committed: Project,
) -> None:
    break_lock(committed, "alpha")
    code, told = check(committed)
    assert code == 0, told
    assert "1 of 2 stages equal; alpha is the first that differs" in told
    assert "a training may differ on another processor; download, split, tokenize may not" in told
    assert check(committed, "--strict")[0] == 1
    break_lock(committed, "split")
    code, told = check(committed)
    assert code == 1, told
    assert "split.txt  aaaaaaa → " in told


def test_a_commit_without_results_is_refused(committed: Project) -> None:
    code, told = check(committed, "HEAD~1")
    assert code == 65
    assert "HEAD~1: its dvc.lock names no results, or it has none" in told
    assert check(committed, "nonsense")[0] == 78
