"""What is edited while `dvc repro` is at work, and a `dvc repro` that is killed: real processes on a small pipeline."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from stages.common.results.finetune import FINETUNE_METRICS, HISTORY, TUNED_MODEL
from stages.common.results.split import SPLIT_METRICS
from stages.common.results.tokenize import tokens_file
from tests import clone, small_pipeline
from tests.flow_project import gone, wait_until
from tests.unshared import seconds_until_gone

#: Enough steps for an edit in the middle; an evaluation, whose line tells where it is, after every tenth.
LONG = {"finetune": {"max_steps": 60, "epochs": 40, "eval_every": 10, "learning_rate": 0.004}}


@pytest.fixture(scope="module")
def tokenized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which all is made that a training reads."""
    folder = clone.make(tmp_path_factory.mktemp("tokenized") / "repository")
    small_pipeline.write_params(folder, LONG)
    done = clone.dvc(folder, "repro", "tokenize")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def repository(tokenized: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    shutil.copytree(tokenized, folder, symlinks=True)
    return folder


class Repro:
    """A `dvc repro` under way, whose lines are read as they come."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PIPELINE_MLFLOW_RUN_ID": "none",
            "PYTHONUNBUFFERED": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.said = ""

    def until(self, beginning: str) -> None:
        """Read up to a line."""
        for line in self._lines():
            if line.startswith(beginning):
                return
        raise AssertionError(self.said)

    def stage(self) -> psutil.Process:
        """The process of the stage."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        return next(one for one in below if "stages." in " ".join(one.cmdline()[1:]) and one.name() != "sh")

    def end(self) -> int:
        """Read the rest, and return the exit code."""
        for _ in self._lines():
            pass
        return self.process.wait()

    def _lines(self) -> Iterator[str]:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said += line
            yield line


@pytest.fixture
def repro(repository: Path) -> Iterator[Callable[..., Repro]]:
    started: list[Repro] = []

    def start(*arguments: str) -> Repro:
        started.append(Repro(repository, *arguments))
        return started[-1]

    yield start
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.communicate()


def locked(folder: Path, stage: str) -> dict[str, Any] | None:
    """The values that dvc.lock has of a stage."""
    found = small_pipeline.read_yaml(folder / "dvc.lock")["stages"].get(stage)
    return found and found["params"]["params.yaml"][stage]


def cached_runs(folder: Path) -> set[Path]:
    """DVC's run cache: what it would take instead of running a stage."""
    return {path for path in (folder / ".dvc" / "cache" / "runs").rglob("*") if path.is_file()}


def append(path: Path, text: str) -> None:
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(text)


@pytest.mark.thorough
def test_a_value_edited_during_the_training_is_not_recorded_and_put_back_costs_nothing(repository, repro):
    runs = cached_runs(repository)
    first = repro("finetune")
    first.until("step 20/60")
    small_pipeline.write_params(repository, {"finetune": {"learning_rate": 0.0001}})
    assert first.end() != 0

    assert "exited with 75" in first.said
    assert "  finetune.learning_rate was 0.004 when the stage began, and is 0.0001 now" in first.said
    assert "Traceback" not in first.said
    assert locked(repository, "finetune") is None
    assert cached_runs(repository) == runs
    made = (repository / HISTORY).read_bytes()

    small_pipeline.write_params(repository, {"finetune": {"learning_rate": 0.004}})
    second = repro("finetune")
    assert second.end() == 0, second.said

    assert re.search(r"going on from \S+/step-00000060", second.said)
    assert "step 10/60" not in second.said
    assert (repository / HISTORY).read_bytes() == made
    assert locked(repository, "finetune")["learning_rate"] == 0.004
    assert list((repository / ".cache" / "finetune").glob("*/")) == []


@pytest.mark.slow
def test_the_new_value_trains_with_the_new_value(repository, repro):
    first = repro("finetune")
    first.until("step 20/60")
    small_pipeline.write_params(repository, {"finetune": {"learning_rate": 0.0001}})
    assert first.end() != 0
    refused = (repository / HISTORY).read_bytes()

    second = repro("finetune")
    assert second.end() == 0, second.said

    assert "going on from" not in second.said
    assert "step 10/60" in second.said
    assert (repository / HISTORY).read_bytes() != refused
    assert locked(repository, "finetune")["learning_rate"] == 0.0001


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("path", "named"),
    [
        pytest.param(
            Path("stages/finetune/loss.py"),
            "stages/finetune/loss.py has changed since the stage began",
            marks=pytest.mark.slow,
        ),
        (tokens_file("val"), "artifacts/tokenize/val.arrow has changed since the stage began"),
    ],
)
def test_code_and_inputs_changed_during_the_training_are_named(repository, repro, path, named):
    runs = cached_runs(repository)
    run = repro("finetune")
    run.until("step 20/60")
    append(repository / path, "\n")
    assert run.end() != 0

    assert "exited with 75" in run.said
    assert f"  {named}" in run.said
    assert locked(repository, "finetune") is None
    assert cached_runs(repository) == runs


@pytest.mark.slow
def test_values_that_no_running_stage_reads_may_be_edited(repository, repro):
    run = repro("finetune")
    run.until("step 20/60")
    small_pipeline.write_params(repository, {"judge": {"bootstrap_resamples": 101}})
    append(repository / "stages" / "running" / "summary.py", "\n")
    assert run.end() == 0, run.said
    assert locked(repository, "finetune")["learning_rate"] == 0.004


@pytest.mark.slow
def test_a_file_that_was_only_touched_has_not_changed(repository, repro):
    run = repro("finetune")
    run.until("step 20/60")
    os.utime(repository / "stages" / "finetune" / "loss.py")
    small_pipeline.write_params(repository, {})
    assert run.end() == 0, run.said


@pytest.mark.slow
def test_a_later_stages_value_edited_meanwhile_ends_dvc_repro_before_that_stage(repository, repro):
    run = repro()
    run.until("step 20/60")
    small_pipeline.write_params(repository, {"judge": {"bootstrap_resamples": 101}})
    assert run.end() != 0

    assert "exited with 75" in run.said
    assert "  judge.bootstrap_resamples was 100 when the run began, and is 101 now" in run.said
    assert locked(repository, "generate") is not None
    assert locked(repository, "judge") is None

    again = repro()
    assert again.end() == 0, again.said
    assert "Running stage 'generate'" not in again.said
    assert locked(repository, "judge")["bootstrap_resamples"] == 101


@pytest.mark.slow
def test_a_stage_started_by_hand_says_so_and_succeeds(repository):
    # Nothing is recorded of it.
    command = [sys.executable, "-m", "stages.finetune"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = os.environ | {"PIPELINE_MLFLOW_RUN_ID": "none"}
    with subprocess.Popen(command, cwd=repository, env=environment, **pipes) as process:
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("step 20/60"):
                small_pipeline.write_params(repository, {"finetune": {"learning_rate": 0.0001}})
    assert process.returncode == 0
    assert "do not `dvc commit` this result:\n  finetune.learning_rate was 0.004" in said
    assert (repository / TUNED_MODEL).is_dir()


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_stage_ends_within_a_second_when_its_dvc_is_killed_and_saves_its_work(repository, repro, number):
    run = repro("finetune")
    run.until("step 20/60")
    stage = run.stage()
    run.process.send_signal(number)
    _, seconds = seconds_until_gone(stage)
    assert seconds < 1.0
    assert run.end() == -number
    assert "finetune: dvc (process" in run.said
    assert not (repository / FINETUNE_METRICS).exists()
    assert (repository / SPLIT_METRICS).exists()

    second = repro("finetune")
    assert second.end() == 0, second.said
    assert re.search(r"going on from \S+/step-\d+", second.said)


@pytest.mark.slow
def test_a_stage_ends_when_the_shell_between_it_and_dvc_is_killed(repository, repro, monkeypatch):
    shell = repository.parent / "shell"
    shell.write_text('#!/bin/sh\neval "$2"; exit $?\n')
    shell.chmod(0o755)
    monkeypatch.setenv("SHELL", str(shell))
    run = repro("finetune")
    run.until("step 20/60")
    stage = run.stage()
    stage.parent().kill()
    wait_until(lambda: gone(stage), 20)
    assert run.end() != 0


@pytest.mark.slow
def test_a_stage_that_no_dvc_runs_outlives_what_started_it(repository):
    command = f"cd {repository} && {sys.executable} -m stages.finetune > said 2>&1 & echo $!"
    environment = os.environ | {"PIPELINE_MLFLOW_RUN_ID": "none"}
    started = subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=True)
    stage = psutil.Process(int(started.stdout))
    wait_until(lambda: gone(stage))
    assert "validation loss" in (repository / "said").read_text()
    assert "stopped" not in (repository / "said").read_text()
    assert (repository / FINETUNE_METRICS).exists()
