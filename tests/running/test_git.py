"""Git as a program: what it prints, and that a hook around us does not point it to another repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stages.common.errors import ConfigError
from stages.running import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "trunk"], cwd=tmp_path, check=True)
    return tmp_path


def test_it_prints_without_the_last_line_end(repository: Path) -> None:
    assert git.ask(repository, "symbolic-ref", "HEAD") == "refs/heads/trunk"
    assert git.do(repository, "symbolic-ref", "HEAD", fix="") == "refs/heads/trunk\n"


def test_a_failure_is_nothing_or_an_error_with_its_fix(repository: Path) -> None:
    assert git.ask(repository, "rev-parse", "--verify", "HEAD") == ""
    with pytest.raises(ConfigError, match=r"git rev-parse failed: fatal: (.|\n)*to fix it: commit the project"):
        git.do(repository, "rev-parse", "--verify", "HEAD", fix="commit the project")


def test_without_git_there_is_no_answer(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert git.ask(repository, "symbolic-ref", "HEAD") == ""


def test_the_repository_of_a_hook_around_us_is_not_asked(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert git.ask(repository, "symbolic-ref", "HEAD") == "refs/heads/trunk"
