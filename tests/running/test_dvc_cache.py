"""DVC's cache: where it is, and whether DVC copies a result into it, as DVC itself does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.running import dvc_cache
from stages.running.dvc_cache import copy_of, folder, shortage, written
from tests.small_disks import small

MIB = 1 << 20


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of DVC in which DVC runs this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "finetune")
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))
    for name in (".dvc", "global", "system"):
        (tmp_path / name).mkdir()
    return tmp_path


def configure(file: Path, **values: str) -> None:
    file.write_text("[cache]\n" + "".join(f"    {name} = {value}\n" for name, value in values.items()))


def test_the_cache_is_where_the_first_file_that_tells_says(project):
    found = [folder()]
    configure(project / "system" / "config", dir="/system")
    found.append(folder())
    configure(project / "global" / "config", dir="../cache")
    found.append(folder())
    configure(project / ".dvc" / "config", dir='"../cache"', type="copy")
    found.append(folder())
    configure(project / ".dvc" / "config.local", type="copy")
    found.append(folder())
    configure(project / ".dvc" / "config.local", dir="/mine")
    found.append(folder())

    assert found == [
        *(Path(".dvc/cache"), Path("/system"), project / "cache"),
        *(Path("cache"), Path("cache"), Path("/mine")),
    ]


def test_without_dvc_nothing_is_copied(project, monkeypatch):
    assert written() == [Path(".dvc/cache")]
    monkeypatch.delenv("DVC_STAGE")

    assert written() == []
    assert copy_of(Path("artifacts/model")) is None
    assert shortage(Path("artifacts/model"), 1 << 60) is None


def test_a_cache_on_another_disk_takes_a_copy(project):
    configure(project / ".dvc" / "config", dir="../disk/cache", type="symlink")
    with small(project / "disk", "8m"):
        found = copy_of(Path("artifacts/model"))
        assert found is not None
        assert (found.folder, found.shared, found.free) == (Path("disk/cache"), False, 8 * MIB)
        assert shortage(Path("artifacts/model"), 8 * MIB) is None
        said = shortage(Path("artifacts/model"), 9 * MIB, freed=4 * MIB)
        assert said == "disk/cache: DVC's copy of artifacts/model takes 9 MiB, and 8 MiB are free"
        assert list((project / "disk").iterdir()) == [], "nothing is left of the look"


STAGE = """\
stages:
  finetune:
    cmd: head -c 9437184 /dev/urandom > model
    outs: [model]
"""


@pytest.mark.thorough
@pytest.mark.parametrize("types", ["reflink,hardlink,copy", "hardlink,copy", "symlink,copy", "copy"])
def test_dvc_fails_where_a_shortage_is_told_and_nowhere_else(tmp_path, monkeypatch, types):
    """9 MiB on a disk of 16 MiB, whose file system clones no files."""
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path))
    with small(tmp_path / "disk", "16m"), contextlib.chdir(tmp_path / "disk"):
        dvc("init", "--no-scm", "-q")
        dvc("config", "cache.type", types)
        Path("dvc.yaml").write_text(STAGE)
        Path("model").write_bytes(bytes(9 * MIB))
        monkeypatch.setenv("DVC_STAGE", "finetune")
        told = shortage(Path("model"), 9 * MIB)
        monkeypatch.delenv("DVC_STAGE")
        Path("model").unlink()

        code = dvc("repro", "-q", check=False)

    assert (told is not None) == (code != 0)
    assert (code == 0) == types.startswith("hardlink")


def dvc(*arguments: str, check: bool = True) -> int:
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, check=check).returncode


def test_what_is_removed_on_the_same_disk_makes_room(project, monkeypatch):
    monkeypatch.setattr(dvc_cache, "_linked", lambda *_: False)
    there = copy_of(Path("model"))
    assert there is not None
    assert there.shared

    assert shortage(Path("model"), there.free + (64 << 30)) is not None
    assert shortage(Path("model"), there.free + (64 << 30), freed=128 << 30) is None


def test_what_a_killed_dvc_has_left_in_the_cache_is_removed(project):
    entries = project / ".dvc" / "cache" / "files" / "md5" / "ab"
    entries.mkdir(parents=True)
    name = f".{'x' * 22}.tmp"
    left, held, young = (entries / f"{start}{name[2:]}" for start in (".a", ".b", ".c"))
    others = [entries / ("c" * 30), entries / ".notes.tmp", entries.parent / name]
    for path in (left, held, young, *others):
        path.write_text("part of a model")
        if path != young:
            os.utime(path, (0, 0))

    with held.open():
        dvc_cache.sweep()
        assert {*entries.iterdir(), entries.parent / name} == {held, young, *others}
    dvc_cache.sweep()
    assert held not in entries.iterdir()


def test_the_temporary_names_are_those_of_the_installed_dvc():
    from dvc_objects.fs.utils import tmp_fname

    assert all(dvc_cache._TEMPORARY.fullmatch(tmp_fname()) for _ in range(20))


def test_without_dvc_nothing_is_swept(project, monkeypatch):
    path = project / ".dvc" / "cache" / "files" / "md5" / "ab" / f".{'x' * 22}.tmp"
    path.parent.mkdir(parents=True)
    path.write_text("")
    os.utime(path, (0, 0))
    monkeypatch.delenv("DVC_STAGE")
    dvc_cache.sweep()
    assert path.exists()
