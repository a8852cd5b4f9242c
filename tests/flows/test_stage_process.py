"""One stage as one process group: what it tells, and that nothing of it outlives the call."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from flows import dvc_cli, stage_process, waits
from flows.stage_process import StageFailed, run_stage
from stages.common.errors import InputOutputError, PipelineError, ServiceUnavailable, TemporaryFailure
from tests.flow_project import Project, gone, wait_until

_RUN = """\
from pathlib import Path
from flows.stage_process import run_stage
run_stage("zeta", Path(), log=print)
"""


def run(project: Project, stage: str, *, force: bool = False) -> str:
    return run_stage(stage, project.root, log=lambda _: None, force=force, variables=project.env).outcome


def dvc_and_stage(project: Project) -> list[psutil.Process]:
    """Wait until zeta hangs; its process, and that of the DVC which runs it."""
    stage = project.hanging("zeta")
    dvc = next(above for above in stage.parents() if "dvc" in above.cmdline())
    return [stage, dvc]


@pytest.mark.thorough
def test_ran_up_to_date_and_from_cache_are_told_apart(project: Project) -> None:
    assert run(project, "zeta") == "ran"
    assert run(project, "zeta") == "up to date"
    (project.root / "zeta.txt").unlink()
    (project.root / "dvc.lock").unlink()
    assert run(project, "zeta") == "from cache"
    assert project.calls("zeta") == 1
    assert run(project, "zeta", force=True) == "ran"
    assert project.calls("zeta") == 2


def test_a_failure_has_the_stages_own_exit_code_and_words(project: Project) -> None:
    project.tell("zeta", "65")
    with pytest.raises(StageFailed) as caught:
        run(project, "zeta")
    assert caught.value.exit_code == 65
    assert str(caught.value) == "zeta: row 3 is wrong\n  to fix it: correct row 3"


@pytest.mark.parametrize("shell", ["gives way to its command", "stays and says how its command ended"])
def test_a_stage_killed_from_outside_says_so(project: Project, shell: str) -> None:
    project.tell("zeta", "hang")
    # DVC starts commands by $SHELL; "exec" is what most shells do by themselves with a single command.
    path = project.root / "shell"
    path.write_text('#!/bin/sh\neval "exec $2"\n' if shell.startswith("gives") else '#!/bin/sh\neval "$2"; exit $?\n')
    path.chmod(0o755)
    variables = project.env | {"SHELL": str(path)}

    def kill_it(line: str) -> None:
        if line.startswith("> python stage.py"):
            project.hanging("zeta").kill()

    with pytest.raises(StageFailed, match="zeta: ended by SIGKILL") as caught:
        run_stage("zeta", project.root, log=kill_it, variables=variables)
    assert caught.value.exit_code == 137


def test_an_exception_in_the_caller_ends_stage_and_dvc(project: Project) -> None:
    project.tell("zeta", "hang")
    family: list[psutil.Process] = []

    def give_up(line: str) -> None:
        if line.startswith("> python stage.py"):
            family.extend(dvc_and_stage(project))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage("zeta", project.root, log=give_up, variables=project.env)
    assert all(map(gone, family))


def test_sigkill_of_the_caller_ends_stage_and_dvc(project: Project) -> None:
    project.tell("zeta", "hang")
    with project.start("-c", _RUN) as caller:
        family = dvc_and_stage(project)
        caller.send_signal(signal.SIGKILL)
        wait_until(lambda: all(map(gone, family)))
    # The file that a killed DVC leaves does no harm: the next run finds nothing in its way.
    assert run(project, "zeta") == "ran"


@pytest.mark.thorough
def test_a_stage_has_time_to_save_its_work(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    # A stage that takes longer than the given grace for its work is ended; the default is longer than any step.
    assert waits.grace() >= 60
    slow = (
        "import signal, time\nsignal.signal(signal.SIGINT, lambda *_: (time.sleep(1), open('saved', 'w'), exit(3)))\n"
    )
    code = (project.root / "stage.py").read_text()
    (project.root / "stage.py").write_text(slow + code)

    def give_up(line: str) -> None:
        if line.startswith("> python stage.py"):
            project.hanging("zeta")
            raise KeyboardInterrupt

    for grace, saved in (("0", False), ("60", True)):
        monkeypatch.setenv("PIPELINE_GRACE_SECONDS", grace)
        (project.todo / "zeta.pid").unlink(missing_ok=True)
        project.tell("zeta", "hang")
        with pytest.raises(KeyboardInterrupt):
            run_stage("zeta", project.root, log=give_up, variables=project.env)
        assert (project.root / "saved").exists() == saved


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["guard.py", "dvc"])
def test_a_stage_saves_its_work_when_its_guard_or_its_dvc_is_killed(
    project: Project, killed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.root / "stage.py").write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "from stages.running import program\n"
        "from stages.running.signals import Interrupted\n"
        "def main():\n"
        "    Path(os.environ['FAKE_STAGES'], 'zeta.pid').write_text(str(os.getpid()))\n"
        "    try:\n"
        "        time.sleep(600)\n"
        "    except Interrupted:\n"
        "        time.sleep(1)\n"
        "        Path('saved').touch()\n"
        "        raise\n"
        "program.run('zeta', main)\n"
    )
    family: list[psutil.Process] = []

    def kill_it(line: str) -> None:
        if line.startswith("> python stage.py"):
            family.extend(dvc_and_stage(project))
            family.append(family[1].parent())
            next(one for one in family if killed in " ".join(one.cmdline()[:4])).kill()

    monkeypatch.setenv("PIPELINE_GRACE_SECONDS", "30")
    # Its own PATH may have another Python.
    variables = {name: value for name, value in project.env.items() if name != "PATH"}
    with pytest.raises(StageFailed):
        run_stage("zeta", project.root, log=kill_it, variables=variables)
    assert (project.root / "saved").exists()
    assert all(map(gone, family))


def test_what_dvc_cannot_write_is_an_error_of_input_and_output(project: Project) -> None:
    shutil.rmtree(project.root / ".dvc" / "cache", ignore_errors=True)
    (project.root / ".dvc" / "cache").write_text("no folder")
    with pytest.raises(StageFailed, match=r"\[Errno \d+\] .*\.dvc/cache") as caught:
        run(project, "zeta")
    assert caught.value.exit_code == InputOutputError.exit_code
    assert caught.value.message.endswith(
        "  zeta itself succeeded, and DVC could not take its results\n"
        "  to fix it: free some space on the disk of DVC's cache (dvc cache dir), then run: dvc commit -f zeta"
    )
    # As the message says.
    (project.root / ".dvc" / "cache").unlink()
    calls = project.calls("zeta")
    project.dvc("commit", "-f", "zeta")
    assert run(project, "zeta") == "up to date"
    assert project.calls("zeta") == calls


def test_files_of_dvc_that_are_removed_meanwhile_are_said_to_be(project: Project) -> None:
    project.tell("zeta", "wait")

    def remove(line: str) -> None:
        if line.startswith("> python stage.py"):
            project.hanging("zeta")
            for name in (".cache", ".dvc/cache", ".dvc/tmp"):
                shutil.rmtree(project.root / name, ignore_errors=True)
            project.go_on("zeta")

    with pytest.raises(StageFailed) as caught:
        run_stage("zeta", project.root, log=remove, variables=project.env)
    assert (caught.value.exit_code, caught.value.message) == (
        InputOutputError.exit_code,
        "zeta: DVC's own files, .dvc/tmp, were removed while it was at work\n  to fix it: run the same command again",
    )


def test_output_of_a_stage_is_shown_without_its_control_characters(project: Project) -> None:
    (project.root / "stage.py").write_text("print('red\\x1b[31m'); open('zeta.txt', 'w')\n")
    lines: list[str] = []
    run_stage("zeta", project.root, log=lines.append, variables=project.env)
    assert "red\\x1b[31m" in lines


def test_a_number_that_a_stage_has_printed_is_not_why_dvc_fails(project: Project) -> None:
    (project.root / "stage.py").write_text("print('no cache: [Errno 28] No space left on device: going on without')\n")
    with pytest.raises(StageFailed, match=r"\[Errno 28\](.|\n)*zeta\.txt' does not exist") as caught:
        run(project, "zeta")
    assert caught.value.exit_code == PipelineError.exit_code


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("[Errno 28] No space left on device: 'a'", InputOutputError),
        ("[Errno 111] Connection refused", ServiceUnavailable),
        ("[Errno 110] Connection timed out", ServiceUnavailable),
        ("[Errno 113] No route to host", ServiceUnavailable),
        ("[Errno 101] Network is unreachable", ServiceUnavailable),
        ("[Errno 104] Connection reset by peer", ServiceUnavailable),
        ("[Errno -3] Temporary failure in name resolution", ServiceUnavailable),
    ],
)
def test_a_network_that_does_not_answer_dvc_is_no_fault_of_a_disk(said: str, kind: type[PipelineError]) -> None:
    lines = ["warned of [Errno 13] Permission denied: 'b'", f"ERROR: failed to reproduce 'zeta': {said}"]
    assert stage_process._failure("zeta", 255, lines).exit_code == kind.exit_code


def test_a_stage_that_dvc_runs_elsewhere_is_a_temporary_failure(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_WAIT_SECONDS", "0")
    project.tell("zeta", "hang")
    with project.start("-m", "dvc", "repro", "zeta") as other:
        stage = project.hanging("zeta")
        with pytest.raises(TemporaryFailure, match="is still at work after 0 s"):
            run(project, "zeta")
        assert not gone(stage)
        stage.kill()
        other.wait()


@pytest.mark.thorough
def test_a_half_written_lock_file_of_a_killed_dvc_is_mended(project: Project) -> None:
    lock = project.root / ".dvc" / "tmp" / "rwlock"
    lock.write_text("")
    assert run(project, "data.dvc") == "up to date"
    project.tell("zeta", "hang")
    below = project.root / "assets"
    with project.start("-m", "dvc", "repro", "../dvc.yaml:zeta", cwd=below) as other:
        stage = project.hanging("zeta")
        lock.write_text("")
        with pytest.raises(TemporaryFailure, match=f"half written, and DVC .process {other.pid}. is at work"):
            run(project, "alpha")
        stage.kill()
        other.wait()


def test_a_dvc_in_an_isolated_copy_below_is_not_this_ones(tmp_path: Path) -> None:
    copy = tmp_path / ".cache" / "workspaces" / "run-1" / "tree"
    for root in (tmp_path, copy):
        (root / ".dvc").mkdir(parents=True)
    assert dvc_cli._repository(copy) == copy
    (tmp_path / "stages").mkdir()
    assert dvc_cli._repository(tmp_path / "stages") == tmp_path


def test_order_and_freshness_are_dvcs(project: Project) -> None:
    assert dvc_cli.stages_in_order(project.root) == ["data.dvc", "zeta", "alpha"]
    assert not dvc_cli.up_to_date(project.root)
    project.dvc("repro", "-q")
    assert dvc_cli.up_to_date(project.root)


def test_an_order_that_was_asked_ahead_is_taken_as_long_as_no_file_of_the_pipeline_changes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    ask = dvc_cli.ask
    monkeypatch.setattr(dvc_cli, "ask", lambda root, *words: asked.append(words) or ask(root, *words))
    dvc_cli.ask_order_ahead(project.root)
    assert dvc_cli.stages_in_order(project.root) == ["data.dvc", "zeta", "alpha"]
    assert asked == []
    dvc_cli.ask_order_ahead(project.root)
    text = (project.root / "dvc.yaml").read_text()
    (project.root / "dvc.yaml").write_text(text.replace("alpha", "omega"))
    assert dvc_cli.stages_in_order(project.root) == ["data.dvc", "zeta", "omega"]
    assert asked == [("dag", "--dot")]


def test_order_of_a_graph_with_branches() -> None:
    dot = 'strict digraph {\n"c";\n"b";\n"d";\n"a";\n"a" -> "c";\n"a" -> "b";\n"b" -> "d";\n"c" -> "d";\n}\n'
    assert dvc_cli.parse_dot(dot) == ["a", "b", "c", "d"]


@pytest.mark.slow
def test_files_in_use_by_nobody_who_is_seen_are_tried_again_with_pauses(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A record of this very process, for which no run waits: only DVC itself calls the files busy.
    entry = {"pid": os.getpid(), "cmd": "dvc status"}
    record = project.root / ".dvc" / "tmp" / "rwlock"
    record.write_text(json.dumps({"read": {}, "write": {str(project.root / "zeta.txt"): entry}}))
    monkeypatch.setenv("PIPELINE_WAIT_SECONDS", "20")
    said: list[str] = []
    began = time.monotonic()
    with pytest.raises(StageFailed, match="is busy") as caught:
        run_stage("zeta", project.root, log=said.append, variables=project.env)
    assert time.monotonic() - began >= 20
    assert caught.value.exit_code == TemporaryFailure.exit_code
    told = [line for line in said if "nobody is seen" in line]
    assert len(told) == 1, said
    assert re.fullmatch(
        r"zeta: DVC's files are in use, and nobody is seen who uses them: trying again until \d{4}-\d\d-\d\d [\d:]{8}",
        told[0],
    )


def test_the_pauses_grow_to_half_a_minute() -> None:
    assert [waits.before_try(tries) for tries in (0, 1, 2, 4, 5, 5000)] == [1, 2, 4, 16, 30, 30]
