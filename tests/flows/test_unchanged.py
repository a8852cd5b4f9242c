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
from tests.root import ROOT


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project all of whose stages have run."""
    project = flow_project.create(tmp_path_factory.mktemp("template") / "project")
    project.dvc("repro", "-q")
    return project


@pytest.fixture(autouse=True)
def _fine_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy of the project has just been made."""
    monkeypatch.setattr(unchanged, "_COARSE_SECONDS", 0.0)


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


def cached(root: Path, number: int) -> Path:
    """A file in the project's cache: the two outputs, the list of the folder data, and the file that this names."""
    found = [path for path in sorted((root / ".dvc" / "cache" / "files").rglob("*")) if path.is_file()]
    assert len(found) == 4
    return found[number]


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
        lambda root: os.utime(next((root / "data").iterdir()), (1, 1)),
        lambda root: os.utime(root / "alpha.txt", (1, 1)),
        lambda root: (root / ".dvc" / "config.local").touch(),
        lambda root: (root / ".dvcignore").touch(),
        lambda root: (root / "zeta.txt").chmod(0o600),
        lambda root: (root / "other.dvc").write_text("outs: []\n"),
        *(lambda root, number=number: cached(root, number).chmod(0o600) for number in range(4)),
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


_ELSEWHERE = "deps:\n- path: https://example.org/a\nouts:\n- path: a\n  hash: md5\n  md5: " + "a" * 32 + "\n"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("dvc.yaml", "  beta:\n    wdir: data\n    cmd: ls\n"),
        ("dvc.yaml", '  beta: {cmd: ls, "wdir" : data}\n'),
        ("dvc.yaml", "  beta:\n    foreach: [a, b]\n    do:\n      cmd: echo a\n"),
        ("dvc.yaml", "  beta:\n    cmd: echo ${judge.seed}\n"),
        ("dvc.yaml", "  beta:\n    cmd: ls\n    deps: [https://example.org/a]\n"),
        ("dvc.yaml", "  beta:\n    cmd: ls\n    outs: [{a: {}, b: {}}]\n"),
        ("dvc.yaml", "  beta: [\n"),
        ("dvc.lock", "  beta:\n    cmd: ls\n    outs:\n    - path: a\n      md5: " + "a" * 32 + "\n"),
        ("sub/dvc.yaml", "stages:\n  beta:\n    cmd: ls\n"),
        ("sub/more.dvc", "outs:\n- path: more\n"),
        ("from-elsewhere.dvc", _ELSEWHERE),
        ("data.dvc", "wdir: ..\n"),
        ("stage.py.dvc", "deps:\n- path: stage.py\n  repo: {url: ../other}\nouts:\n- path: stage.py\n"),
        (".gitmodules", ""),
    ],
)
def test_where_dvc_may_look_at_more_it_is_asked_each_time(
    project: Project, waved_through: list[Path], file: str, text: str
) -> None:
    (project.root / "sub").mkdir()
    with open(project.root / file, "a") as stream:
        stream.write(text)
    assert [unchanged.up_to_date(project.root) for _ in range(2)] == [True] * 2
    assert len(waved_through) == 2


def test_what_is_frozen_is_not_asked_for(project: Project, waved_through: list[Path]) -> None:
    (project.root / "from-elsewhere.dvc").write_text(f"frozen: true\n{_ELSEWHERE}")
    assert [unchanged.up_to_date(project.root) for _ in range(2)] == [True] * 2
    assert len(waved_through) == 1


def test_without_git_dvc_is_asked_each_time(project: Project, waved_through: list[Path]) -> None:
    shutil.rmtree(project.root / ".git")
    assert [unchanged.up_to_date(project.root) for _ in range(2)] == [True] * 2
    assert len(waved_through) == 2


def test_a_file_that_has_just_changed_may_change_again_at_the_same_time(
    project: Project, waved_through: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as a coarse clock tells."""
    monkeypatch.setattr(unchanged, "_COARSE_SECONDS", 60.0)
    assert [unchanged.up_to_date(project.root) for _ in range(2)] == [True] * 2
    assert len(waved_through) == 2


def test_another_file_behind_a_link_is_another_file(project: Project, waved_through: list[Path]) -> None:
    target = project.root.parent / "zeta.txt"
    shutil.move(project.root / "zeta.txt", target)
    (project.root / "zeta.txt").symlink_to(target)
    unchanged.up_to_date(project.root)
    unchanged.up_to_date(project.root)
    assert len(waved_through) == 1
    os.utime(target, (1, 1))
    unchanged.up_to_date(project.root)
    assert len(waved_through) == 2


def test_the_project_itself_is_one_whose_files_are_all_known() -> None:
    assert unchanged._is_all_known(ROOT)


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
