"""The names that DVC gives files and folders, as DVC itself gives them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.running import digests


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose order differs by path and by name: `a-b/x` is before `a/x` as text, and after it by folders."""
    for name in ("a/x", "a-b/x", "a/b/y", "é"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    (tmp_path / "data" / "empty").mkdir()
    return tmp_path / "data"


def test_a_file_has_its_md5(tmp_path: Path) -> None:
    (tmp_path / "abc").write_text("abc")
    assert digests.md5(tmp_path / "abc") == "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321, appendix A.5
    assert digests.digest(tmp_path / "abc") == "900150983cd24fb0d6963f7d28e17f72"
    with pytest.raises(FileNotFoundError):
        digests.digest(tmp_path / "none")


@pytest.mark.thorough
def test_a_folder_has_the_name_that_dvc_gives_it(folder: Path) -> None:
    for command in (["init", "-q", "--no-scm"], ["add", "-q", "data"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=folder.parent, check=True)
    (added,) = YAML(typ="safe").load(folder.parent / "data.dvc")["outs"]
    assert digests.digest(folder) == added["md5"]


def test_a_folder_is_listed_by_whole_paths(folder: Path) -> None:
    """The literal is what DVC 3.67 gives this folder."""
    assert digests.digest(folder) == "fba83dc1f3744e24908efcbb61012b7d.dir"
