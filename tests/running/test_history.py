"""The commit that has the code of a run, by the digests that its dvc.lock has."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from stages.running.history import History, named_in


class Repository:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "--quiet")

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        done = subprocess.run(["git", *who, *arguments], cwd=self.root, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, **texts: str) -> str:
        for name, text in texts.items():
            (self.root / f"{name}.py").write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "x")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def named(**texts: str) -> dict[str, str]:
    return {f"{name}.py": hashlib.md5(text.encode()).hexdigest() for name, text in texts.items()}


def test_the_run_s_own_commit_comes_first(repository: Repository) -> None:
    first = repository.commit(a="1\n", b="é\n")
    repository.commit()
    history = History(repository.root)
    assert history.with_code(first, named(a="1\n", b="é\n")) == first
    assert history.differing(first, named(a="1\n", b="2\n", c="3\n")) == ["b.py", "c.py"]


def test_code_that_was_committed_later_is_found_on_any_branch(repository: Repository) -> None:
    first = repository.commit(a="1\n", b="1\n")
    repository.git("switch", "--quiet", "--create", "other")
    wanted = repository.commit(a="2\n")
    repository.git("switch", "--quiet", "--detach", first)
    repository.commit(a="3\n")
    history = History(repository.root)
    assert history.with_code(first, named(a="2\n", b="1\n")) == wanted
    assert history.with_code("", named(a="2\n", b="1\n")) == wanted
    assert history.with_code("f" * 40, named(a="2\n", b="1\n")) == wanted
    assert history.with_code(first, named(a="4\n", b="1\n")) is None
    assert not history.knows("f" * 40)


def test_the_commit_that_ends_with_the_code_is_found_whichever_file_it_changes(repository: Repository) -> None:
    first = repository.commit(a="1\n", b="1\n")
    repository.commit(a="2\n", b="2\n")
    wanted = repository.commit(b="1\n")  # a.py is another one than in the first commit, and not changed here
    repository.commit(a="3\n")
    history = History(repository.root)
    assert history.with_code(first, named(a="2\n", b="1\n")) == wanted
    assert history.told_most(named(a="2\n", b="1\n")) == "no commit"


def test_a_branch_that_a_merge_has_left_aside_is_looked_at(repository: Repository) -> None:
    first = repository.commit(a="1\n")
    wanted = repository.commit(a="2\n")
    repository.commit(a="1\n")
    repository.git("switch", "--quiet", "--create", "other", first)
    repository.commit(c="1\n")
    repository.git("switch", "--quiet", "-")
    repository.git("merge", "--quiet", "--no-edit", "other")
    assert History(repository.root).with_code("", named(a="2\n")) == wanted


def test_commits_beyond_the_limit_are_not_looked_at_and_that_is_said(repository: Repository) -> None:
    old = repository.commit(a="1\n")
    for text in ("2\n", "3\n", "4\n"):
        repository.commit(a=text)
    assert History(repository.root).with_code("", named(a="1\n")) == old
    history = History(repository.root, most=3)
    assert history.with_code("", named(a="1\n")) is None
    assert history.told_most(named(a="1\n")) == "none of the 3 newest commits that change its files"


def test_the_repository_of_a_hook_around_us_is_not_asked(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(a="1\n")
    wanted = repository.commit(a="2\n")
    repository.commit(a="3\n")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert History(repository.root).with_code("", named(a="2\n")) == wanted


def test_without_a_repository_or_without_git_no_commit_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert History(tmp_path).with_code("f" * 40, named(a="1\n")) is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert History(tmp_path).with_code("", named(a="1\n")) is None


def test_a_commit_whose_file_git_has_lost_does_not_have_it(repository: Repository) -> None:
    wanted = repository.commit(a="1\n", b="1\n")
    repository.commit(a="2\n")
    lost = repository.git("rev-parse", "HEAD:a.py")
    (repository.root / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    history = History(repository.root)
    assert history.differing("HEAD", named(a="2\n", b="1\n")) == ["a.py"]
    assert history.with_code("HEAD", named(a="1\n", b="1\n")) == wanted


def test_data_that_no_commit_has_are_no_code(repository: Repository) -> None:
    first = repository.commit(a="1\n")
    stages = {
        "zeta": {
            "deps": [{"path": "a.py", "md5": named(a="1\n")["a.py"]}, {"path": "rows.json", "md5": "0" * 32}],
            "outs": [{"path": "zeta.txt", "md5": "1" * 32}],
        },
        "alpha": {"deps": [{"path": "zeta.txt", "md5": "1" * 32}, {"path": "data", "md5": "2.dir"}]},
    }
    found = named_in(stages)
    assert set(found) == {"a.py", "rows.json"}
    assert History(repository.root).with_code(first, found) == first
