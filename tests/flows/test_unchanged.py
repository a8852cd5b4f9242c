"""DVC is asked once about the same files, and again as soon as one of them is another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import dvc_cli, unchanged
from tests import flow_project
from tests.flow_project import Project


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project all of whose stages have run."""
    project = flow_project.create(tmp_path_factory.mktemp("template") / "project")
    project.dvc("repro", "-q")
    return project


@pytest.fixture
def waved_through(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that DVC was asked about, by a stand-in that calls everything up to date at once."""
    folders: list[Path] = []
    monkeypatch.setattr(dvc_cli, "up_to_date", lambda root: folders.append(root) is None)
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", "/none")
    return folders


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What DVC has said, each time that it was asked."""
    said: list[bool] = []
    ask = dvc_cli.up_to_date

    def counted(root: Path) -> bool:
        said.append(ask(root))
        return said[-1]

    monkeypatch.setattr(dvc_cli, "up_to_date", counted)
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", "/none")
    return said


def cached(root: Path) -> Path:
    """A file in the project's cache."""
    return next(path for path in sorted((root / ".dvc" / "cache" / "files").rglob("*")) if path.is_file())


def same_size_and_time(root: Path) -> None:
    """Other content of a file, which has the size and the time that it had: DVC itself does not see it."""
    times = (root / "stage.py").stat()
    (root / "stage.py").write_text((root / "stage.py").read_text()[::-1])
    os.utime(root / "stage.py", ns=(times.st_atime_ns, times.st_mtime_ns))


def test_of_the_same_files_dvc_is_asked_once(project: Project, waved_through: list[Path]) -> None:
    assert [unchanged.up_to_date(project.root) for _ in range(3)] == [True] * 3
    assert waved_through == [project.root]


@pytest.mark.parametrize(
    "touch",
    [
        lambda root: os.utime(root / "stage.py", (1, 1)),
        lambda root: (root / "data" / "more").touch(),
        lambda root: os.utime(root / "alpha.txt", (1, 1)),
        lambda root: (root / ".dvc" / "config.local").touch(),
        lambda root: (root / ".dvcignore").touch(),
        lambda root: (root / "zeta.txt").chmod(0o600),
        lambda root: (root / "other.dvc").write_text("outs: []\n"),
        lambda root: cached(root).chmod(0o600),
        same_size_and_time,
    ],
)
def test_of_another_file_it_is_asked_again(
    project: Project, waved_through: list[Path], touch: Callable[[Path], object]
) -> None:
    unchanged.up_to_date(project.root)
    touch(project.root)
    unchanged.up_to_date(project.root)
    assert len(waved_through) == 2


@pytest.mark.thorough
@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "stage.py").write_text((root / "stage.py").read_text() + "\n"),
        lambda root: (root / "params.yaml").write_text((root / "params.yaml").read_text().replace("seed: ", "seed: 9")),
        lambda root: (root / "alpha.txt").unlink(),
        lambda root: (root / "dvc.lock").unlink(),
        lambda root: shutil.rmtree(root / ".dvc" / "cache"),
    ],
)
def test_what_has_changed_is_not_up_to_date_and_is_again_when_it_is_back(
    project: Project, asked: list[bool], tmp_path: Path, change: Callable[[Path], object]
) -> None:
    before = tmp_path / "before"
    shutil.copytree(project.root, before, symlinks=True)
    assert unchanged.up_to_date(project.root)
    change(project.root)
    assert not unchanged.up_to_date(project.root)
    assert not unchanged.up_to_date(project.root), "what has changed is asked about each time"
    shutil.rmtree(project.root)
    shutil.copytree(before, project.root, symlinks=True)
    assert unchanged.up_to_date(project.root)
    assert asked == [True, False, False, True]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("dvc.yaml", "  beta:\n    wdir: data\n    cmd: ls\n"),
        ("dvc.yaml", "  beta:\n    foreach: [a, b]\n    do:\n      cmd: echo ${item}\n"),
        ("sub/dvc.yaml", "stages:\n  beta:\n    cmd: ls\n"),
        ("sub/more.dvc", "outs:\n- path: more\n"),
        ("from-elsewhere.dvc", "deps:\n- path: https://example.org/a\nouts:\n- path: a\n"),
    ],
)
def test_where_dvc_looks_at_more_it_is_asked_each_time(
    project: Project, waved_through: list[Path], file: str, text: str
) -> None:
    (project.root / "sub").mkdir()
    with open(project.root / file, "a") as stream:
        stream.write(text)
    assert [unchanged.up_to_date(project.root) for _ in range(2)] == [True] * 2
    assert len(waved_through) == 2


def test_what_is_frozen_is_not_asked_for(project: Project, waved_through: list[Path]) -> None:
    text = "frozen: true\ndeps:\n- path: https://example.org/a\nouts:\n- path: a\n"
    (project.root / "from-elsewhere.dvc").write_text(text)
    assert [unchanged.up_to_date(project.root) for _ in range(2)] == [True] * 2
    assert len(waved_through) == 1


def test_another_version_of_dvc_is_asked(
    project: Project, waved_through: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unchanged.up_to_date(project.root)
    monkeypatch.setattr(unchanged.importlib.metadata, "version", lambda name: f"{name} 99")
    assert unchanged.up_to_date(project.root)
    assert len(waved_through) == 2


def test_a_note_that_cannot_be_kept_is_told_and_changes_nothing(
    project: Project, waved_through: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    note = project.root / ".cache" / "up_to_date"
    note.mkdir(parents=True)
    assert unchanged.up_to_date(project.root)
    assert unchanged.up_to_date(project.root)
    assert len(waved_through) == 2
    assert f"{note}: Is a directory: not kept; no result depends on it" in capsys.readouterr().out
