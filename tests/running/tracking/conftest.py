"""A project in which all stages have run, with a real MLflow store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.running import gpu
from stages.running.tracking import live, mlflow_access
from tests.root import ROOT
from tests.running.tracking import made


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them: making them takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow_access.load()
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def project(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a project in which all six stages have run, and the working directory."""
    root = tmp_path / "a project"
    root.mkdir()
    monkeypatch.chdir(root)
    for name in ("MLFLOW_TRACKING_URI", live.RUN_ID_VARIABLE, "PIPELINE_GPUS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpu, "_last_lease", ())
    shutil.copy(empty_database, "mlflow.db")
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    made.fill()
    return root


@pytest.fixture
def client(project: Path) -> MlflowClient:
    """A client of the project's own store."""
    return MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
