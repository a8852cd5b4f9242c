"""The isolated copy of the repository: what is in it, what it shares, and that it goes."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import workspace
from stages.common.errors import ConfigError
from stages.params import whole
from stages.running.tracking import execution
from tests import flow_project
from tests.flow_project import Project, wait_until

_HOLD = """\
import time
from pathlib import Path
from flows import workspace
with workspace.isolated(Path(), "current", {"judge.seed": 5}, log=print) as tree:
    print(tree, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return flow_project.create(tmp_path_factory.mktemp("workspace") / "project")


@pytest.fixture(autouse=True)
def _nothing_is_left(project: Project) -> Iterator[None]:
    yield
    assert list((project.root / ".cache" / "workspaces").glob("*")) == []
    assert len(project.git("worktree", "list").splitlines()) == 1


@pytest.mark.thorough
def test_it_has_the_commit_and_the_values_asked_for_and_shares_the_cache(project: Project) -> None:
    project.dvc("repro", "-q", "zeta")
    before = project.git("status", "--porcelain", "--ignored")
    (project.root / "stage.py").write_text((project.root / "stage.py").read_text() + "# not committed\n")
    said: list[str] = []
    with workspace.isolated(project.root, "current", {"judge.seed": 5}, log=said.append) as tree:
        assert "not committed" not in (tree / "stage.py").read_text()
        assert whole.load(tree / "params.yaml").judge.seed == 5
        assert (tree / ".cache").samefile(project.root / ".cache")
        inside = Project(tree)
        inside.env = project.env
        # zeta does not read what was changed: the user's result comes from the shared cache.
        assert "is cached - skipping run" in inside.dvc("repro", "zeta")
    assert said == [f"this run is of the last commit: 1 changed or new file in {project.root} is not part of it"]
    project.git("checkout", "stage.py")
    assert project.git("status", "--porcelain", "--ignored") == before


@pytest.mark.thorough
def test_its_results_come_to_the_users_tree_from_the_cache(project: Project) -> None:
    with workspace.isolated(project.root, "current", {"judge.seed": 6}, log=print) as tree:
        inside = Project(tree)
        inside.env = project.env
        inside.dvc("repro", "-q")
    calls = project.calls("alpha")
    params_file = project.root / "params.yaml"
    before = params_file.read_text()
    params_file.write_text(
        workspace.profiles.to_text(workspace.profiles.overlaid(project.root, "current", {"judge.seed": 6}))
    )
    assert "Stage 'alpha' is cached - skipping run" in project.dvc("repro")
    assert project.calls("alpha") == calls
    params_file.write_text(before)


@pytest.mark.thorough
def test_it_asks_the_remotes_of_the_user_though_its_commit_names_none(project: Project, tmp_path: Path) -> None:
    start = project.git("rev-parse", "HEAD").strip()
    home = project.root.parent
    project.dvc("remote", "add", "-q", "store", "../store")
    project.git("commit", "--quiet", "--all", "--message", "a remote")
    named = project.git("rev-parse", "HEAD").strip()
    project.dvc("remote", "remove", "-q", "store")
    project.dvc("remote", "add", "-q", "--default", "team", "../team")
    project.dvc("remote", "add", "-q", "--local", "mine", "../mine")
    project.dvc("remote", "modify", "-q", "--local", "team", "url", "../of team")
    (tmp_path / "config").write_text("['remote \"everywhere\"']\n    url = store\n")
    asked: dict[str, list[str]] = {}
    try:
        for commit in (start, named):
            with workspace.at_commit(project.root, commit, log=print) as tree:
                inside = Project(tree)
                inside.env = project.env | {"DVC_GLOBAL_CONFIG_DIR": str(tmp_path)}
                said = inside.dvc("config", "--list").splitlines()
                asked[commit] = sorted(line for line in said if line.startswith(("core.remote", "remote.")))
                assert inside.dvc("cache", "dir").strip() == f"{project.root}/.dvc/cache"
                assert inside.git("status", "--porcelain") == ""
    finally:
        (project.root / ".dvc" / "config.local").unlink()
        project.git("reset", "--quiet", "--hard", start)
    assert asked[start] == [
        "core.remote=team",
        f"remote.everywhere.url={tmp_path}/store",
        f"remote.mine.url={home}/mine",
        f"remote.team.url={home}/of team",
    ]
    assert f"remote.store.url={home}/store" in asked[named], "of the commit, from the user's folder"


def test_settings_of_dvc_that_cannot_be_read_are_named_and_leave_nothing(project: Project) -> None:
    file = project.root / ".dvc" / "config.local"
    file.write_text("[core\n")
    try:
        with (
            pytest.raises(ConfigError, match=f"^{file}: DVC cannot read its configuration: Invalid line"),
            workspace.at_commit(project.root, "HEAD", log=print),
        ):
            pass
    finally:
        file.unlink()


def test_wrong_values_leave_nothing(project: Project) -> None:
    with (
        pytest.raises(ConfigError, match="judge"),
        workspace.isolated(project.root, "current", {"judge.seed": "x"}, log=print),
    ):
        pass


def test_the_workspace_of_a_killed_run_is_removed_by_the_next(project: Project) -> None:
    with project.start("-c", _HOLD) as run:
        assert run.stdout is not None
        left = Path(run.stdout.readline().strip())
        assert (left / "params.yaml").exists()
        workspace.prune(project.root, log=print)
        assert left.exists(), "it is in use"
        run.send_signal(signal.SIGKILL)
        wait_until(lambda: run.poll() is not None)
    said: list[str] = []
    workspace.prune(project.root, log=said.append)
    assert not left.exists()
    assert said == [f"removing {left.parent.name}, the workspace of a run that was killed"]


@pytest.mark.parametrize("owner", [None, "", "elsewhere:1:2:3"])
def test_what_a_run_killed_at_any_moment_or_under_another_host_name_has_left_is_removed(
    project: Project, owner: str | None
) -> None:
    left = project.root / ".cache" / "workspaces" / "run-left"
    left.mkdir(parents=True)
    if owner is not None:
        (left / "owner").write_text(owner)
    said: list[str] = []
    if not owner:
        workspace.prune(project.root, log=said.append)
        assert left.exists(), "its run may be about to write the owner"
        os.utime(left, (0, 0))

    workspace.prune(project.root, log=said.append)

    assert not left.exists()
    assert said == ["removing run-left, the workspace of a run that was killed"]


def test_the_workspace_of_a_run_under_another_host_name_stays_while_it_runs(project: Project) -> None:
    """As of a container that shares the folder: its identity says nothing here, and its lock does."""
    elsewhere = _HOLD.replace("import time", "import socket, time; socket.gethostname = lambda: 'elsewhere'")
    with project.start("-c", elsewhere) as run:
        assert run.stdout is not None
        left = Path(run.stdout.readline().strip())
        assert (left.parent / "owner").read_text().startswith("elsewhere:")
        workspace.prune(project.root, log=print)
        assert left.exists()
        run.send_signal(signal.SIGKILL)
        wait_until(lambda: run.poll() is not None)
    workspace.prune(project.root, log=print)
    assert not left.parent.exists()


def test_a_living_run_of_a_version_without_locks_keeps_its_workspace(project: Project) -> None:
    left = project.root / ".cache" / "workspaces" / "run-left"
    left.mkdir(parents=True)
    (left / "owner").write_text(execution.identity())
    workspace.prune(project.root, log=print)
    assert left.exists()
    shutil.rmtree(left)


def test_a_folder_without_a_commit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a git repository"), workspace.isolated(tmp_path, "quick", {}, log=print):
        pass


def test_a_second_run_in_the_folder_waits_for_the_first(tmp_path):
    said: list[str] = []
    order: list[str] = []

    def second() -> None:
        with workspace.alone(tmp_path, log=said.append):
            order.append("second")

    with workspace.alone(tmp_path, log=said.append):
        thread = threading.Thread(target=second)
        thread.start()
        while not said:
            time.sleep(0.01)
        order.append("first")
    thread.join()

    assert order == ["first", "second"]
    assert said == ["another run is at work in this folder: waiting for it to end"]
