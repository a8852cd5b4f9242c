"""Where the pages of MLflow are that `make ui` has started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stages.running.tracking import execution, started_pages


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_HOME", raising=False)


def keep(folder: Path, process: str) -> None:
    folder.mkdir(exist_ok=True)
    known = {"process": process, "prefect": "http://127.0.0.1:4201", "mlflow": "http://127.0.0.1:5001", "database": ""}
    (folder / "servers.json").write_text(json.dumps(known))


def test_the_address_is_that_of_a_make_ui_that_is_at_work(tmp_path: Path) -> None:
    assert started_pages.mlflow_address(tmp_path) == ""
    keep(tmp_path / ".prefect", execution.identity())
    assert started_pages.mlflow_address(tmp_path) == "http://127.0.0.1:5001"


def test_the_folder_is_the_one_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path / "elsewhere", execution.identity())
    assert started_pages.mlflow_address(tmp_path) == ""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "elsewhere"))
    assert started_pages.mlflow_address(tmp_path) == "http://127.0.0.1:5001"


def test_a_make_ui_that_has_ended_counts_for_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        keep(tmp_path / ".prefect", execution.identity(process.pid))
        assert started_pages.mlflow_address(tmp_path) == "http://127.0.0.1:5001"
        process.communicate(b"\n", timeout=60)
        assert started_pages.mlflow_address(tmp_path) == ""


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"process": null}', '{"process": "a"}', "3"])
def test_a_file_that_is_broken_counts_for_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / ".prefect").mkdir()
    (tmp_path / ".prefect" / "servers.json").write_text(text)
    assert started_pages.mlflow_address(tmp_path) == ""
