"""The flow on a small project, against a Prefect server: what runs, what is retried, and how it fails."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from flows import log_lines, prefect_server, profiles, servers
from flows.stage_process import StageFailed
from stages.common.errors import ConfigError
from stages.running import report
from tests import flow_project
from tests.flow_project import Project
from tests.judge.report import a_run
from tests.prefect_api import request
from tests.root import ROOT


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One project for the tests of this module, which follow one another."""
    return flow_project.create(tmp_path_factory.mktemp("flow") / "project")


def ask(server: str, path: str, **query: Any) -> Any:
    return request(server, path, query or None)


@pytest.mark.parametrize(("state", "level"), [("Cancelled('stopped')", "INFO"), ("Failed('row 3')", "ERROR")])
def test_a_stop_is_no_error_in_the_log(state: str, level: str) -> None:
    logger = logging.getLogger("prefect.task_runs")
    before = logger.filters[:]
    log_lines.tell_once(by_command=False)
    record = logging.LogRecord(logger.name, logging.ERROR, "", 0, f"Finished in state {state}", (), None)
    assert logger.filter(record)
    logger.filters[:] = before
    assert (record.levelname, record.getMessage()) == (level, f"Finished in state {state.partition('(')[0]}")


def test_a_failure_that_the_flow_has_told_has_no_traceback_and_another_one_has() -> None:
    from prefect.exceptions import FailedRun

    logger = logging.getLogger("prefect.flow_runs")
    before = logger.filters[:]
    log_lines.tell_once(by_command=False)
    stays = []
    for error in (StageFailed("alpha", 65, "alpha: row 3 is wrong"), FailedRun("row 3 is wrong"), KeyError("a fault")):
        raised = (type(error), error, None)
        record = logging.LogRecord(logger.name, logging.ERROR, "", 0, "Engine execution exited", (), raised)
        stays.append(bool(logger.filter(record)))
    logger.filters[:] = before
    assert stays == [False, False, True]


def test_the_locked_versions_start_a_server(server: str) -> None:
    assert ask(server, "/health") is True


def test_stages_are_skipped_retried_and_fail_as_they_should(server: str, project: Project) -> None:
    project.dvc("repro", "-q", "data.dvc")
    project.tell("zeta", "75", "69", "0")
    project.tell("alpha", "65")
    done = project.python("-m", "flows.run", PREFECT_API_URL=server)
    assert done.returncode == 65, done.stderr
    assert done.stderr.endswith("alpha: row 3 is wrong\n  to fix it: correct row 3\n")
    assert "Traceback" not in done.stdout + done.stderr
    assert "tracking: MLflow" in done.stdout + done.stderr  # it is down, and the run went on
    assert project.calls("zeta") == 3
    assert project.calls("alpha") == 1
    (run,) = ask(server, "/flow_runs/filter", limit=10)
    assert run["state_type"] == "FAILED"
    tasks = ask(server, "/task_runs/filter", limit=10, sort="EXPECTED_START_TIME_ASC")
    assert [(one["name"], one["state_name"]) for one in tasks] == [
        ("data.dvc", "Cached"),
        ("zeta", "Completed"),
        ("alpha", "Failed"),
    ]


def kill(project: Project, who: str) -> None:
    """Kill zeta, the DVC that runs it, or the guard of both, and forget that zeta has hung."""
    stage = project.hanging("zeta")
    (project.todo / "zeta.pid").unlink()
    word = {"DVC": "dvc", "guard": str(Path(servers.__file__).with_name("guard.py"))}.get(who)
    (stage if word is None else next(one for one in stage.parents() if word in one.cmdline())).kill()


@pytest.mark.slow
@pytest.mark.parametrize("who", ["stage", "DVC", "guard"])
def test_what_is_killed_from_outside_is_tried_once_more(
    server: str, project: Project, tmp_path: Path, who: str
) -> None:
    other = flow_project.copy(project, tmp_path)
    other.tell("zeta", "hang", "0")
    with other.start("-m", "flows.run", "--force", PREFECT_API_URL=server) as command:
        kill(other, who)
        output, _ = command.communicate(timeout=200)
    assert (command.returncode, other.calls("zeta")) == (0, 2), output
    assert "ended by SIGKILL: out of memory?" in output
    assert "zeta: trying again in about 0 s (1 of 1)" in output


@pytest.mark.slow
@pytest.mark.parametrize("who", ["stage", "DVC"])
def test_what_is_killed_twice_is_not_tried_a_third_time_and_memory_is_spoken_of(
    server: str, project: Project, tmp_path: Path, who: str
) -> None:
    other = flow_project.copy(project, tmp_path)
    other.tell("zeta", "hang", "hang", "0")
    with other.start("-m", "flows.run", "--force", PREFECT_API_URL=server) as command:
        kill(other, who)
        kill(other, who)
        output, _ = command.communicate(timeout=200)
    assert (command.returncode, other.calls("zeta")) == (137, 2), output
    said = {"stage": "zeta: ", "DVC": "zeta: DVC was "}[who]
    (*_, last, fix) = output.splitlines()
    assert last == f"pipeline: {said}ended by SIGKILL: out of memory?"
    assert fix.startswith("  to fix it: end what else takes memory on this machine, or let the stage take less")


@pytest.mark.slow
def test_a_wrong_value_given_for_one_run_is_not_looked_for_in_params_yaml(server: str, project: Project) -> None:
    project.tell("alpha", "78")
    given = ["--set", "judge.seed=5", "--set", "split.seed=6"]
    done = project.python("-m", "flows.run", *given, PREFECT_API_URL=server)
    assert done.returncode == 78, done.stderr
    assert done.stderr.endswith(
        "alpha: judge.seed is wrong\n  to fix it: correct judge.seed\n"
        "  judge.seed is not from params.yaml but from --set judge.seed=...\n"
    )


@pytest.mark.parametrize(
    ("key", "code", "stage", "calls"),
    [
        # alpha, whose value it is, does not begin.
        pytest.param("judge", 0, "alpha", (1, 0), marks=pytest.mark.thorough),
        # zeta itself has failed for it, and is not tried again.
        ("split", 75, "zeta", (1, 0)),
    ],
)
def test_a_value_edited_during_a_run_ends_it_before_it_is_used(
    server: str, project: Project, tmp_path: Path, key: str, code: int, stage: str, calls: tuple[int, int]
) -> None:
    other = flow_project.copy(project, tmp_path)
    # The seed of the section is 123.
    edit = f"""
if name == "zeta":
    text = Path("params.yaml").read_text()
    before, found, after = text.partition("\\n{key}:")
    Path("params.yaml").write_text(before + found + after.replace("seed: 123", "seed: 7", 1))
    Path("zeta.txt").write_text("made")
    sys.exit({code})
"""
    (other.root / "stage.py").write_text((other.root / "stage.py").read_text() + edit)
    done = other.python("-m", "flows.run", PREFECT_API_URL=server)
    assert done.returncode == 75, done.stderr
    assert (other.calls("zeta"), other.calls("alpha")) == calls
    assert "trying again" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    if code == 0:
        assert f"{stage}: the run began with other values or code" in done.stderr
        assert f"\n  {key}.seed was 123 when the run began, and is 7 now\n" in done.stderr
        again = other.python("-m", "flows.run", PREFECT_API_URL=server)
        assert again.returncode == 0, again.stderr
        assert (other.calls("zeta"), other.calls("alpha")) == (1, 1)


@pytest.mark.slow
def test_a_profile_removed_meanwhile_hides_no_failure_and_that_of_the_commit_is_named(
    server: str, project: Project, tmp_path: Path
) -> None:
    other = flow_project.copy(project, tmp_path)
    with (other.root / "profiles" / "quick.yaml").open("a") as stream:
        stream.write("  seed: 5\n")  # of judge
    code = (other.root / "stage.py").read_text()
    gone = 'Path(os.environ["PIPELINE_ROOT"], "profiles", "quick.yaml").unlink(missing_ok=True)'
    (other.root / "stage.py").write_text(code.replace("lines = ", f"{gone}\nlines = ", 1))
    other.git("commit", "-qam", "a seed of the profile's")
    other.tell("alpha", "78")
    done = other.python("-m", "flows.run", "--profile", "quick", PREFECT_API_URL=server)
    assert (done.returncode, "Traceback" in done.stdout + done.stderr) == (78, False), done.stderr
    assert not (other.root / "profiles" / "quick.yaml").exists()
    assert done.stderr.endswith("\n  judge.seed is not from params.yaml but from profiles/quick.yaml\n")


@pytest.mark.slow
def test_a_folder_that_cannot_be_made_is_no_traceback(server: str, project: Project, tmp_path: Path) -> None:
    other = flow_project.copy(project, tmp_path)
    shutil.rmtree(other.root / ".cache", ignore_errors=True)
    (other.root / ".cache").write_text("no folder")
    done = other.python("-m", "flows.run", "--force", PREFECT_API_URL=server)
    file = other.root / ".cache"
    assert done.returncode == 74, done.stderr
    assert done.stderr == (
        f"pipeline: {file}: cannot be written: Not a directory\n"
        f"  to fix it: remove {file}, which is a file, and run the same command again\n"
    )
    assert done.stdout == ""


def test_a_second_run_does_nothing_and_needs_no_server(project: Project) -> None:
    project.dvc("repro", "-q")
    calls = project.calls("zeta"), project.calls("alpha")
    before = project.git("status", "--porcelain", "--ignored")
    done = project.python("-m", "flows.run", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("everything is up to date: nothing was run\n")
    assert (project.calls("zeta"), project.calls("alpha")) == calls
    assert project.git("status", "--porcelain", "--ignored") == before


@pytest.mark.thorough
def test_a_run_with_nothing_to_do_makes_a_report_that_is_missing(project: Project) -> None:
    project.dvc("repro", "-q")
    a_run.write(project.root)
    page = project.root / report.REPORT

    done = project.python("-m", "flows.run", PREFECT_API_URL="http://127.0.0.1:9/api")

    assert (done.returncode, done.stderr) == (0, "")
    first, second, *_ = done.stdout.splitlines()
    assert first == "report: artifacts/report.html is not there for these results: making it (some seconds)"
    assert second == "everything is up to date: nothing was run"
    assert "2 of 4 answers are right" in page.read_text()
    again = project.python("-m", "flows.run", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert again.stdout.startswith("everything is up to date: nothing was run\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--set", "judge.sead=1"], 78, "judge.sead: unknown key; did you mean judge.seed?"),
        (["--set", "judge.seed"], 78, "--set judge.seed: expected KEY=VALUE"),
        (["--set", "judge.seed=-1"], 78, "judge.seed: expected 0 or more; found -1"),
        (["--set", "download.data.source=https://me:secret@host/x"], 78, "expected a URL without a user's name"),
        (["--profile", "quik"], 78, "quik: no such profile; there are gpt2-medium, quick"),
        (["--force"], 69, "the Prefect server at http://127.0.0.1:9/api does not answer: Connection refused"),
    ],
)
def test_a_users_mistake_is_told_before_anything_runs(
    project: Project, arguments: list[str], code: int, message: str
) -> None:
    done = project.python("-m", "flows.run", *arguments, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("name", ["PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"])
def test_what_prefect_logs_in_with_does_not_go_unencrypted(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://192.0.2.1:4200/api")
    monkeypatch.setenv(name, "secret")
    with pytest.raises(ConfigError, match=f"PREFECT_API_URL: the secret in {name} would go unencrypted") as caught:
        prefect_server.check()
    assert f"or unset {name}" in str(caught.value.fix)


@pytest.fixture
def unpacked(project: Project, tmp_path: Path) -> Project:
    """The project as an archive of it is unpacked: without .git."""
    other = flow_project.copy(project, tmp_path)
    shutil.rmtree(other.root / ".git")
    return other


@pytest.mark.parametrize("arguments", [[], ["--force"], ["--set", "judge.seed=5"]])
def test_a_folder_without_git_is_told_before_a_server_starts(unpacked: Project, arguments: list[str]) -> None:
    done = unpacked.python("-m", "flows.run", *arguments, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 78, done.stderr
    first, fix = done.stderr.splitlines()
    assert first.startswith(f"pipeline: {unpacked.root}: not a git repository, ")
    assert fix.startswith(
        "  to fix it: git clone the project instead of unpacking an archive of it, or in this folder: "
    )
    assert fix.endswith("dvc config --local core.no_scm true") == ("--set" not in arguments)
    assert "dvc.yaml" not in done.stderr


@pytest.mark.thorough
def test_dvc_may_do_without_git(unpacked: Project) -> None:
    unpacked.dvc("config", "--local", "core.no_scm", "true")
    unpacked.dvc("repro", "-q")
    done = unpacked.python("-m", "flows.run")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.thorough
def test_only_values_that_a_stage_finds_wrong_and_that_were_given_are_said_to_be_given() -> None:
    from flows.pipeline import _given_here
    from flows.stage_process import StageFailed

    overrides = {"finetune": {"batch_size": 4000, "epochs": 2}, "judge": {"model": "x"}}
    given = profiles.givers(ROOT, "gpt2-medium", overrides)
    wrong = (
        "finetune: rows do not fill finetune.batch_size 4000\n  to fix it: lower finetune.batch_size, in params.yaml"
    )
    said = "finetune.batch_size is not from params.yaml but from --set finetune.batch_size=..."
    assert _given_here(StageFailed("finetune", 78, wrong), given) == f"\n  {said}"
    assert _given_here(StageFailed("finetune", 65, wrong), given) == ""
    wrong = "download: download.model.repo: no such repository"
    said = "download.model.repo is not from params.yaml but from profiles/gpt2-medium.yaml"
    assert _given_here(StageFailed("download", 78, wrong), given) == f"\n  {said}"
    assert _given_here(StageFailed("finetune", 78, wrong), {"finetune.batch": "x", "finetune.batch_size_x": "x"}) == ""


def test_the_form_offers_the_profiles_there_are() -> None:
    from flows.pipeline import Profile

    assert sorted(get_args(Profile)) == sorted([profiles.CURRENT, *profiles.known(ROOT)])


def test_the_form_describes_every_parameter() -> None:
    from prefect.utilities.callables import parameter_schema

    from flows.pipeline import pipeline

    properties = parameter_schema(pipeline).properties
    assert list(properties) == ["profile", "overrides", "force", "preflight"]
    assert all(entry.get("description") for entry in properties.values())


def test_the_forms_own_defaults_are_valid_and_change_nothing() -> None:
    from prefect.utilities.callables import parameter_schema

    from flows.pipeline import pipeline

    schema = parameter_schema(pipeline)
    given = pipeline.validate_parameters(
        {name: entry["default"] for name, entry in schema.properties.items() if "default" in entry}
    )
    assert schema.properties["overrides"]["default"] == {}
    assert given["overrides"].tree() == {}
    assert schema.definitions["ValuesJudge"]["properties"]["retries"] == {
        "minimum": 0,
        "maximum": 20,
        "title": "Retries",
        "type": "integer",
    }


def test_a_copy_of_a_run_is_of_the_same_values_and_brings_no_nulls() -> None:
    from flows.pipeline import pipeline

    form = {"overrides": {"finetune": {"epochs": 3, "max_steps": None}, "judge": {}, "download": {"data": {}}}}
    first = pipeline.validate_parameters(form)
    stored = json.loads(json.dumps(pipeline.serialize_parameters(first)))
    assert stored["overrides"] == {"finetune": {"epochs": 3, "max_steps": None}}
    second = pipeline.validate_parameters(stored)
    assert second["overrides"].tree() == first["overrides"].tree() == stored["overrides"]


def test_a_wrong_variable_is_a_mistake_of_the_users(project: Project) -> None:
    done = project.python("-m", "flows.run", "--force", PIPELINE_RETRY_SECONDS="soon")
    assert done.returncode == 78
    assert done.stderr.startswith("pipeline: PIPELINE_RETRY_SECONDS: expected a number of seconds from 0, found 'soon'")
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_mistake(project: Project) -> None:
    project.dvc("repro", "-q")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "flows.run"],
        cwd=project.root,
        env=project.env,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_prefects_state_stays_in_the_project(project: Project) -> None:
    assert (project.root / ".prefect").is_dir()
    assert not (Path(project.env["HOME"]) / ".prefect").exists()
