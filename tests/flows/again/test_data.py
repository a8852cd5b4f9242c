"""The data of a run, by their digest, from DVC's cache. `test_rerun` has DVC pull them from a remote."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from flows.again import data
from stages.common.errors import DataError
from stages.running.lock import Output
from tests.flow_project import Project


def keep(text: str, suffix: str = "") -> str:
    """Put a text into DVC's cache of the working directory; returns its MD5."""
    md5 = hashlib.md5(text.encode()).hexdigest()
    path = Path(".dvc/cache/files/md5", md5[:2], md5[2:] + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return md5 + suffix


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Output:
    """A folder with one file, in the cache of the working directory."""
    monkeypatch.chdir(tmp_path)
    listed = json.dumps([{"md5": keep("[1]"), "relpath": "rows.json"}])
    return Output(Path("data"), keep(listed, ".dir"))


def test_a_folder_is_in_the_cache_with_all_of_its_files_alone(folder: Output) -> None:
    assert data.in_cache([folder])
    md5 = keep("[1]")
    Path(".dvc/cache/files/md5", md5[:2], md5[2:]).unlink()
    assert not data.in_cache([folder])
    assert not data.in_cache([Output(Path("data"), "0" * 32 + ".dir")])


def stages(folder: Output) -> dict[str, object]:
    return {"download": {"deps": [{"path": "data", "md5": folder.digest}]}}


def test_data_of_the_commit_are_imported_and_others_come_from_the_cache(folder: Output, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "assets" / "data").mkdir(parents=True)
    (tree / "data.dvc").write_text("deps:\n- path: assets/data\nouts:\n- md5: 1.dir\n  path: data\n")
    (tree / "assets" / "data" / "rows.json").write_text("[1]")
    assert [one.imports for one in data.settle(tree, stages(folder), name="a run")] == [True]
    assert not (tree / "data").exists()
    (tree / "assets" / "data" / "rows.json").write_text("[2]")
    (found,) = data.settle(tree, stages(folder), name="a run")
    assert (found.file, found.imports) == ("data.dvc", False)
    assert found.line.startswith("data from DVC's cache, by its MD5 ")
    assert (tree / "data" / "rows.json").read_text() == "[1]"


@pytest.mark.thorough
def test_data_that_are_nowhere_leave_the_copy_as_it_was(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    before = (project.root / "data.dvc").read_text()
    gone = Output(Path("data"), "a" * 32 + ".dir")
    told = r"a run: its data are gone: data with the MD5 a{32}\.dir is not in the commit, in DVC's cache or in a remote"
    reasons = {
        "": r" \(none is set up\)",
        "url = s3://bucket/x": r" \(dvc fetch: unexpected error - s3 is supported, but requires 'dvc-s3'",
        "url = ../../store": "; the commit's assets/data is ",
    }
    for remote, reason in reasons.items():
        settings = f"[core]\nremote = store\n['remote \"store\"']\n{remote}\n" if remote else ""
        (project.root / ".dvc" / "config.local").write_text(settings)
        with pytest.raises(DataError, match=f"^{told}{reason}"):
            list(data.settle(project.root, stages(gone), name="a run"))
        assert (project.root / "data.dvc").read_text() == before
