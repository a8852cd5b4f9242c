"""The DVC of the next stage starts while a stage is at work, and nothing of it outlives what wants it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows import dvc_cli, dvc_process
from flows.stage_process import StageFailed, run_stage
from stages.common.errors import TemporaryFailure
from tests.flow_project import Project, gone, wait_until

_RUN = """\
from pathlib import Path
from flows.stage_process import run_stage
run_stage("zeta", Path(), log=print, following="alpha")
"""


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    dvc_process.discard()


def waiting() -> list[psutil.Process]:
    """The processes that wait for alpha's work: a guard, and DVC."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if words[-1:] == ["alpha"] and any(word.endswith("waiting_dvc.py") for word in words):
                found.append(process)
    return found


def run(project: Project, stage: str, *, following: str = "") -> str:
    env = project.env
    return run_stage(stage, project.root, log=lambda _: None, variables=env, following=following).outcome


@pytest.mark.thorough
def test_the_stage_that_follows_is_run_by_the_dvc_that_waits(project: Project) -> None:
    assert run(project, "zeta", following="alpha") == "ran"
    guard, dvc = sorted(waiting(), key=lambda one: one.pid)
    assert dvc.parent() == guard
    project.tell("alpha", "hang")
    above: list[psutil.Process] = []

    def kill_it(line: str) -> None:
        if line.startswith("> python stage.py"):
            stage = project.hanging("alpha")
            above.extend(stage.parents())
            stage.kill()

    with pytest.raises(StageFailed, match="alpha: ended by SIGKILL"):
        run_stage("alpha", project.root, log=kill_it, variables=project.env)
    assert {guard, dvc} <= set(above)
    assert gone(guard)
    assert gone(dvc)


@pytest.mark.thorough
def test_it_works_with_the_variables_and_in_the_folder_of_its_stage(project: Project) -> None:
    dvc_process.prepare(dvc_process.of_stage("zeta", force=False))
    variables = project.env | {"PIPELINE_ROOT": "given later"}
    assert run_stage("zeta", project.root, log=lambda _: None, variables=variables).outcome == "ran"
    assert (project.todo / "zeta.calls").read_text() == "given later\n"
    assert (project.root / "zeta.txt").exists()


@pytest.mark.thorough
@pytest.mark.parametrize("killed", [0, 1])
def test_where_it_was_killed_another_one_is_started(project: Project, killed: int) -> None:
    assert run(project, "zeta", following="alpha") == "ran"
    family = sorted(waiting(), key=lambda one: one.pid)
    family[killed].kill()
    wait_until(lambda: gone(family[0]))  # the guard of a DVC that was killed ends too
    assert run(project, "alpha") == "ran"
    assert project.calls("alpha") == 1
    wait_until(lambda: gone(family[1]))


@pytest.mark.thorough
def test_one_for_another_stage_or_another_way_is_not_taken(project: Project) -> None:
    dvc_process.prepare(dvc_process.of_stage("alpha", force=True))
    (waits, *_) = waiting()
    assert run(project, "zeta") == "ran"
    assert waits.is_running(), "it may still be wanted"
    dvc_process.prepare(dvc_process.of_stage("alpha", force=False))
    assert gone(waits), "one is enough"


@pytest.mark.thorough
def test_what_is_not_wanted_ends(project: Project) -> None:
    assert run(project, "zeta", following="alpha") == "ran"
    family = waiting()
    assert len(family) == 2
    dvc_process.discard()
    assert all(map(gone, family))


@pytest.mark.thorough
def test_sigkill_of_the_caller_ends_it(project: Project) -> None:
    project.tell("zeta", "hang")
    with project.start("-c", _RUN) as caller:
        project.hanging("zeta")
        wait_until(lambda: len(waiting()) == 2)
        family = waiting()
        caller.send_signal(signal.SIGKILL)
        wait_until(lambda: all(map(gone, family)))


@pytest.mark.thorough
def test_while_it_waits_it_is_no_dvc_that_works_in_the_folder(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    dvc_process.prepare(dvc_process.of_stage("alpha", force=False))
    half = project.root / ".dvc" / "tmp" / "rwlock"
    half.parent.mkdir(exist_ok=True)
    half.write_text("{")
    dvc_cli.repair_rwlock(Path())
    assert not half.exists(), "a DVC that was killed has left it"


@pytest.mark.thorough
def test_a_program_that_is_given_a_file_of_dvc_is_no_dvc_that_works_in_the_folder(project: Project) -> None:
    half = project.root / ".dvc" / "tmp" / "rwlock"
    half.parent.mkdir(exist_ok=True)
    (project.root / "dvc").write_text("import sys; sys.stdin.read()\n")
    for words, dvc in ((("-c", "import sys; sys.stdin.read()", ".dvc", "dvc"), False), (("dvc",), True)):
        half.write_text("{")
        with subprocess.Popen([sys.executable, *words], cwd=project.root, stdin=subprocess.PIPE) as process:
            if dvc:
                with pytest.raises(TemporaryFailure, match=rf"half written, and DVC \(process {process.pid}\)"):
                    dvc_cli.repair_rwlock(project.root)
            else:
                dvc_cli.repair_rwlock(project.root)
                assert not half.exists()
