"""A folder that is no project's is refused with its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.common.errors import ConfigError
from stages.running import project


def test_a_folder_that_is_no_project_s_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path, Path()):
        with pytest.raises(ConfigError) as refused:
            project.require(root)
        assert refused.value.what == f"{tmp_path}: no params.yaml here"
        assert refused.value.fix == "run the command in the project's folder"
    (tmp_path / "params.yaml").touch()
    project.require(tmp_path)
    with pytest.raises(ConfigError, match=r": no dvc\.yaml here"):
        project.require(tmp_path, Path("dvc.yaml"))
