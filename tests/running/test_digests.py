"""Digests of files and folders are those that DVC gives them."""

from __future__ import annotations

from pathlib import Path

import pytest
from dvc_data.hashfile.build import build
from dvc_data.hashfile.db import HashFileDB
from dvc_objects.fs.local import LocalFileSystem

from stages.running import digests


def of_dvc(path: Path, cache: Path) -> str:
    """What DVC itself gives."""
    database = HashFileDB(LocalFileSystem(), str(cache))
    _, _, found = build(database, str(path), LocalFileSystem(), "md5")
    return str(found.hash_info.value)


def test_a_file_and_a_folder_have_the_digests_of_dvc(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    # "a.txt" and "a/b" are in another order as texts than by their parts.
    for name in ("a/b", "a.txt", "a/c/d.json", "ä", "empty"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("" if name == "empty" else name, encoding="utf-8")

    assert digests.of(folder) == of_dvc(folder, tmp_path / "cache")
    assert digests.of(folder / "a.txt") == digests.of_file(folder / "a.txt") == of_dvc(folder / "a.txt", tmp_path / "c")
    assert digests.of_file(folder / "empty") == "d41d8cd98f00b204e9800998ecf8427e"
    with pytest.raises(FileNotFoundError):
        digests.of(tmp_path / "missing")
