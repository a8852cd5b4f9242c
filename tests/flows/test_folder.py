"""A folder that cannot be used is told at once, by every door, before a server starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows import folder
from stages.common.errors import ConfigError
from tests import flow_project, small_disks
from tests.flow_project import Project

#: The doors, without those that need a server: it would not be asked.
DOORS = {
    "run": ("-m", "flows.run"),
    "run --set": ("-m", "flows.run", "--set", "judge.seed=5"),
    "deploy": ("-m", "flows.deploy"),
    "ui": ("-m", "flows.servers"),
    "publish": ("-m", "flows.publish"),
    "profiles": ("-m", "flows.profiles", "quick"),
}
#: Doors that let DVC work. The others do without git.
WITH_GIT = ("run", "run --set", "deploy")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return flow_project.create(tmp_path_factory.mktemp("folder") / "project")


@pytest.mark.parametrize("door", DOORS)
def test_a_folder_that_cannot_be_written_is_told_by_every_door(project: Project, tmp_path: Path, door: str) -> None:
    other = flow_project.copy(project, tmp_path)
    with small_disks.read_only(other.root):
        done = other.python(*DOORS[door])
    assert done.returncode == 74, done.stderr
    first, fix = done.stderr.splitlines()
    assert first.endswith(": cannot be written: Read-only file system")
    assert fix == "  to fix it: make the folder writable, and run the same command again"


def test_a_full_disk_is_told_before_anything_starts(project: Project, tmp_path: Path) -> None:
    other = flow_project.copy(project, tmp_path)
    (other.root / ".cache").mkdir(exist_ok=True)
    with small_disks.full(other.root / ".cache"):
        done = other.python("-m", "flows.run")
    assert done.returncode == 74, done.stderr
    assert f"{other.root}/.cache: cannot be written: No space left on device" in done.stderr
    assert "free some space" in done.stderr


def test_a_log_of_the_servers_that_cannot_be_written_is_told(project: Project, tmp_path: Path) -> None:
    other = flow_project.copy(project, tmp_path)
    (other.root / ".prefect" / "prefect.log").mkdir(parents=True)
    done = other.python("-m", "flows.servers", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 74, done.stderr
    assert done.stderr.startswith("servers: ")
    assert done.stderr.endswith(".prefect/prefect.log: Is a directory\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("door", WITH_GIT)
def test_a_folder_without_git_is_told_by_doors_that_need_it(project: Project, tmp_path: Path, door: str) -> None:
    other = flow_project.copy(project, tmp_path)
    shutil.rmtree(other.root / ".git")
    done = other.python(*DOORS[door])
    assert done.returncode == 78, done.stderr
    assert f"{other.root}: not a git repository, which DVC wants; an unpacked archive is none\n" in done.stderr


def test_without_git_it_is_taken_if_dvc_is_set_to_do_without(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / ".dvc").mkdir()
    settings = tmp_path / ".dvc" / "config.local"
    with pytest.raises(ConfigError, match="not a git repository"):
        folder.check(tmp_path)
    settings.write_text("[core]\n    no_scm = True\n")
    folder.check(tmp_path)
    with pytest.raises(ConfigError, match="not a git repository"):
        folder.check(tmp_path, copied=True)
    settings.write_text("[core\n    no_scm = true\n")
    with pytest.raises(ConfigError, match=r"config.local: DVC cannot read its configuration: Invalid line"):
        folder.check(tmp_path)


def test_it_takes_less_than_a_second(project: Project) -> None:
    code = "import time; from pathlib import Path; from flows import folder; began = time.monotonic(); "
    code += "folder.check(Path.cwd()); print(time.monotonic() - began < 1)"
    assert project.python("-c", code).stdout == "True\n"


@pytest.mark.slow
def test_the_flow_itself_says_it_as_under_a_worker(project: Project, tmp_path: Path) -> None:
    other = flow_project.copy(project, tmp_path)
    code = "from flows.pipeline import pipeline; end = pipeline(return_state=True); print(end.name, end.message)"
    with small_disks.read_only(other.root):
        done = other.python("-c", code, PREFECT_HOME=str(tmp_path / "prefect"))
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stdout.startswith("Failed "), done.stdout + done.stderr
    assert done.stdout.count("cannot be written: Read-only file system") == 1
    assert done.stderr.count("cannot be written: Read-only file system") == 1
