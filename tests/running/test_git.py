"""Git as a program: what it prints, and that a hook around us does not point it to another repository."""

from __future__ import annotations

import os
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


def test_it_takes_and_gives_bytes(repository: Path) -> None:
    found = git.do_with_bytes(repository, "hash-object", "-w", "--stdin", fix="", given=b"\xff\r\n")
    assert found == b"210c60bcf2e4297f4b9529a33dc49d7ee7023663\n"
    assert git.do_with_bytes(repository, "cat-file", "blob", found.decode().strip(), fix="") == b"\xff\r\n"


def test_a_failure_is_nothing_or_an_error_with_its_fix(repository: Path) -> None:
    assert git.ask(repository, "rev-parse", "--verify", "HEAD") == ""
    with pytest.raises(ConfigError, match=r"git rev-parse failed: fatal: (.|\n)*to fix it: commit the project"):
        git.do(repository, "rev-parse", "--verify", "HEAD", fix="commit the project")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_a_repository_of_another_owner_has_its_own_fix(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")  # the words of git's message do not depend on it
    for path in (repository, repository / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(ConfigError, match="dubious ownership") as caught:
        git.do(repository, "status", fix="commit the project")
    assert caught.value.fix == f"git config --global --add safe.directory {repository}"
    refusal = git.refusal(repository)
    assert refusal is not None
    assert str(refusal) == str(caught.value)


def test_where_git_answers_or_there_is_no_repository_nothing_is_refused(repository: Path) -> None:
    assert git.refusal(repository) is None
    assert git.refusal(Path("/")) is None


def test_a_folder_in_no_repository_has_its_own_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}: not a git repository") as caught:
        git.do(tmp_path, "status", fix="commit the project")
    assert caught.value.fix is not None
    assert caught.value.fix.startswith("git clone")


def test_without_git_there_is_no_answer(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert git.ask(repository, "symbolic-ref", "HEAD") == ""
    with pytest.raises(ConfigError, match="git is not installed, or not on the PATH"):
        git.do(repository, "status", fix="")


def test_the_repository_of_a_hook_around_us_is_not_asked(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert git.ask(repository, "symbolic-ref", "HEAD") == "refs/heads/trunk"
