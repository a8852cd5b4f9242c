"""Who and what made a run, in MLflow's own columns."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.running import git
from stages.running.tracking import execution, provenance, tracker
from stages.running.tracking.execution import Execution


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "dvc.lock", "code.py"):
        Path(name).write_text("a: 1\n")
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    for command in (["init", "-q", "-b", "work"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run(["git", *who, *command], check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "dirty"),
    [([], "false"), (["dvc.lock"], "false"), (["params.yaml"], "params"), (["params.yaml", "code.py"], "true")],
)
def test_dirty_says_whether_values_or_other_files_differ(repository: Path, changed: list[str], dirty: str) -> None:
    for name in changed:
        Path(name).write_text("a: 2\n")
    commit = git.ask(repository, "rev-parse", "HEAD")
    assert provenance.git_tags(repository, commit) == {
        "git.commit": commit,
        "git.dirty": dirty,
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.branch": "work",
    }


def test_a_detached_head_has_no_branch_and_no_repository_has_no_tags(repository: Path) -> None:
    subprocess.run(["git", "checkout", "-q", "--detach"], check=True)
    assert "mlflow.source.git.branch" not in provenance.git_tags(repository, "c0ffee")
    assert provenance.git_tags(repository, "") == {}


def test_user_and_command_fill_the_columns_of_mlflow(project: Path, client: MlflowClient) -> None:
    tags = client.get_run(str(tracker.create_run(project))).data.tags
    assert tags["mlflow.user"] == getpass.getuser()
    assert tags["mlflow.source.name"].startswith("python -m ")
    assert tags["mlflow.source.type"] == "LOCAL"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    found = provenance.maker(Execution(execution.identity(), "stage by hand"))
    assert found["mlflow.user"] == str(os.getuid())


def test_the_command_of_dvc_is_as_it_was_typed_and_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        def cmdline(self) -> list[str]:
            source = "download.data.source=https://me:secret@host/x"
            return ["/venv/bin/python", "/venv/bin/dvc", "exp", "run", "-S", source]

    monkeypatch.setattr(execution, "up_to_dvc", lambda: [Process()])
    found = provenance.maker(Execution(execution.identity(), "dvc repro"))["mlflow.source.name"]
    assert found == "dvc exp run -S 'download.data.source=https://***@host/x'"


def test_the_command_of_a_run_can_be_pasted_into_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["-m", "--set", "download.data.fields={instruction: question}", "--set", "finetune.epochs=2"]
    monkeypatch.setattr(sys, "argv", words)
    found = provenance.maker(Execution(execution.identity(), "make run"))["mlflow.source.name"]
    assert found.endswith(" --set 'download.data.fields={instruction: question}' --set finetune.epochs=2")
    assert shlex.split(found)[-4:] == words[1:]
