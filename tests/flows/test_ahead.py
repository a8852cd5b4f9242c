"""A judge that does not answer is told before the long work, at every door, and only where the run needs it."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows import command_line
from stages.common.errors import ConfigError
from stages.running.checks import preflight
from tests import clone, small_pipeline
from tests.fake_ollama import FakeOllama

IDENTITY = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
#: Seconds of work that a door may take until it has told; on a machine that does nothing else no more than these pass.
MOST = 5.0

_FLOW = """
from flows.tool_settings import set_defaults
set_defaults()
import time
from flows.pipeline import pipeline
began = time.monotonic()
state = pipeline(return_state=True)
print(state.name, state.result(raise_on_failure=False).exit_code, "after", round(time.monotonic() - began, 1))
print(state.message)
"""


class Door:
    """A project whose judge is an Ollama at an address where nobody may listen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.missing = f"no Ollama at http://127.0.0.1:{self.port}: no connection: Connection refused"
        self.env = {
            "OLLAMA_HOST": f"127.0.0.1:{self.port}",
            "PIPELINE_RETRY_SECONDS": "600",
            "MLFLOW_TRACKING_URI": "sqlite:////proc/none/mlflow.db",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **IDENTITY,
        }

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=os.environ | self.env | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def values(self, **sections: dict[str, object]) -> None:
        small_pipeline.write_params(self.folder, sections)

    def commit(self) -> None:
        for command in (["add", "-A"], ["commit", "-q", "-m", "values"]):
            subprocess.run(["git", *command], cwd=self.folder, env=os.environ | self.env, check=True)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Door:
    made = Door(clone.make(tmp_path_factory.mktemp("ahead") / "project"))
    made.values(judge={"backend": "ollama"})
    made.commit()
    return made


@pytest.mark.parametrize("options", [(), ("--set", "finetune.epochs=2")], ids=["in place", "in a copy"])
def test_the_command_tells_it_and_begins_nothing(door: Door, options: tuple[str, ...]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    done = door.run("-m", "flows.run", *options)

    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 69, done.stdout + done.stderr
    assert f"judge: {door.missing}\n  to fix it: ollama serve, or OLLAMA_HOST=" in done.stderr
    assert done.stderr.endswith("nothing was run; to run what can be run: --preflight=warn\n")
    assert "finetune memory: " in done.stdout
    assert "finetune disk: " in done.stdout
    assert not (door.folder / "artifacts").exists()
    assert not (door.folder / ".prefect").exists()
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < MOST


@pytest.mark.slow
def test_a_deployed_flow_fails_before_its_first_stage(door: Door) -> None:
    done = door.run("-c", _FLOW)

    last = done.stdout.splitlines()[-4:]
    assert last[0].startswith("Failed 69 after "), done.stdout + done.stderr
    assert last[1] == f"judge: {door.missing}"
    assert "Traceback" not in done.stdout + done.stderr
    assert not (door.folder / "artifacts").exists()


@pytest.mark.slow
def test_it_is_needed_only_for_what_runs_and_is_not_waited_for(door: Door) -> None:
    # With a warning the run does all that it can. It does not wait for minutes for what does not run here.
    began = time.monotonic()
    warned = door.run("-m", "flows.run", "--preflight=warn")
    assert warned.returncode == 69
    assert time.monotonic() - began < 600
    lines = warned.stdout.splitlines()
    told = next(number for number, line in enumerate(lines) if f"problem: judge: {door.missing}" in line)
    assert told < next(number for number, line in enumerate(lines) if "Running stage 'download'" in line)
    assert (door.folder / "artifacts" / "generate" / "responses.jsonl").exists()
    assert "trying again" not in warned.stdout + warned.stderr
    assert f"judge: {door.missing}" in warned.stderr

    with FakeOllama(port=door.port):
        judged = door.run("-m", "dvc", "repro")
    assert judged.returncode == 0, judged.stdout + judged.stderr

    # From here on nobody listens there again. What is up to date or in DVC's cache needs no judge.
    assert "everything is up to date" in door.run("-m", "flows.run").stdout
    for path in (door.folder / "artifacts").glob("judge/*"):
        path.unlink()
    restored = door.run("-m", "flows.run")
    assert restored.returncode == 0, restored.stderr
    assert "before the run" not in restored.stdout

    # Plain DVC says it once, when its first stage begins, and works on.
    door.values(generate={"max_new_tokens": 5}, finetune={"max_steps": 1})
    plain = door.run("-m", "dvc", "repro", "generate")
    assert plain.returncode == 0, plain.stderr
    assert door.missing not in plain.stdout + plain.stderr
    door.values(generate={"max_new_tokens": 6}, finetune={"max_steps": 2})
    door.values(finetune={"learning_rate": 0.003})
    whole = door.run("-m", "dvc", "repro")
    assert whole.returncode != 0
    said = whole.stdout + whole.stderr
    assert said.index(door.missing) < said.index("Running stage 'generate'")
    assert said.count("a later stage needs it; this one goes on") == 1
    door.values(finetune={"learning_rate": 0.002})
    refused = door.run("-m", "dvc", "repro", PIPELINE_PREFLIGHT="fail")
    assert "finetune: judge: " in refused.stderr
    assert "exited with 69" in refused.stderr


def test_the_variable_is_one_of_three_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert preflight.mode("warn") == "warn"
    monkeypatch.setenv("PIPELINE_PREFLIGHT", " off ")
    assert preflight.mode("warn") == "off"
    monkeypatch.setenv("PIPELINE_PREFLIGHT", "never")
    with pytest.raises(ConfigError, match="expected fail, warn or off, found 'never'"):
        preflight.mode("warn")


def test_the_option_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_PREFLIGHT", "warn")
    monkeypatch.setattr(sys, "argv", ["run"])
    assert command_line.parse("run", "").preflight == "warn"
    monkeypatch.setattr(sys, "argv", ["run", "--preflight=fail"])
    assert command_line.parse("run", "").preflight == "fail"


def test_the_stages_that_a_command_of_dvc_may_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small_pipeline.make(tmp_path / "project"))
    order = ["download", "split", "tokenize", "finetune", "generate", "judge"]

    assert preflight._wanted(["dvc", "repro"], order) == set(order)
    assert preflight._wanted(["dvc", "repro", "tokenize"], order) == {"download", "split", "tokenize"}
    assert preflight._wanted(["dvc", "repro", "-s", "generate"], order) == {"generate"}
    assert preflight._wanted(["dvc", "repro", "--downstream", "generate"], order) == set(order)
