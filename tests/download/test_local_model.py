"""A model in a folder on this machine; tests/download/test_stage.py downloads from one."""

from __future__ import annotations

import pytest

from stages.common.errors import ConfigError
from stages.download.local_model import LocalFolder


def test_a_folder_has_its_files_and_keeps_them(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    folder = LocalFolder(str(tmp_path))

    assert folder.find("config.json") == tmp_path / "config.json"
    assert folder.find("model.safetensors") is None
    assert folder.renew([tmp_path / "config.json"]) is False
    assert (tmp_path / "config.json").exists()


@pytest.mark.parametrize(("name", "what"), [("missing", "no such folder"), ("file", "expected a folder, found a file")])
def test_what_is_no_folder_is_told(tmp_path, name, what):
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match=f"{what}\n.*download.model.repo"):
        LocalFolder(str(tmp_path / name))
