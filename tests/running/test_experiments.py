"""A stage in a folder that DVC has made for an experiment uses what belongs to the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stages.common import paths
from stages.running.experiments import join_project, project


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an experiment of tmp_path/project, and the working directory."""
    made = tmp_path / "project" / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    made.mkdir(parents=True)
    monkeypatch.chdir(made)
    for name in (paths.ROOT_VARIABLE, "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")  # put back after the test, whatever sets it
        monkeypatch.delenv(name)
    return made


def test_the_project_is_above_the_folder_of_its_experiments(folder: Path, tmp_path: Path) -> None:
    assert project() == tmp_path / "project"
    assert project(tmp_path / "project") is None
    assert project(tmp_path / "project" / ".cache" / "workspaces" / "run-1" / "tree") is None
    inner = tmp_path / "project" / "sub" / ".dvc" / "tmp" / "exps" / "tmp2" / "sub"
    assert project(inner) == tmp_path / "project" / "sub"


def test_it_uses_the_projects_store_cache_and_relative_paths(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    for _ in range(2):  # each stage of the experiment
        join_project()

        assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{root}/mlflow.db"
        assert paths.local_path("../rows.json") == root / ".." / "rows.json"
        assert (folder / ".cache").is_symlink()
        assert (folder / ".cache").samefile(root / ".cache")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("sqlite:///runs/mlflow.db", "sqlite:///{}/runs/mlflow.db"),
        ("./mlruns", "{}/mlruns"),
    ],
)
def test_a_store_of_the_users_own_is_the_same_as_in_the_project(folder, tmp_path, monkeypatch, given, used):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    join_project()

    assert os.environ["MLFLOW_TRACKING_URI"] == used.format(tmp_path / "project")


def test_a_cache_that_was_copied_there_stays(folder: Path) -> None:
    """As by `dvc exp run --temp --copy-paths .cache`."""
    (folder / ".cache").mkdir()
    join_project()

    assert not (folder / ".cache").is_symlink()


def test_elsewhere_nothing_changes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path / "project")
    join_project()

    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert not (tmp_path / "project" / ".cache").exists()
