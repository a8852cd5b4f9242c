"""A judge that does not answer is told before the long work, at every door, and only where the run needs it."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flows import ahead, command_line
from stages.common.errors import ConfigError
from stages.running.checks import preflight
from stages.running.checks.row import NotReady
from tests import clone, flow_project, small_pipeline
from tests.root import ROOT

IDENTITY = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
#: Seconds of work that a door may take until it has told; on a machine that does nothing else no more than these pass.
MOST = 5.0

_FLOW = """
import time
from flows.tool_settings import set_defaults
set_defaults()
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


@pytest.mark.thorough
@pytest.mark.parametrize("edited", ["folder", "commit"])
def test_a_run_in_a_copy_is_looked_at_by_its_commit(tmp_path: Path, edited: str) -> None:
    """Half an edit of the dataset in the folder, which the run does not read; then one in the commit alone."""
    door = Door(clone.make(tmp_path / "project"))
    dataset = door.folder / "assets" / "data" / "instructions.json"
    whole = dataset.read_bytes()
    if edited == "commit":
        dataset.write_bytes(whole[:1000])
    door.values(judge={"backend": "ollama"})
    door.commit()
    dataset.write_bytes(whole[:1000] if edited == "folder" else whole)

    done = door.run("-m", "flows.run", "--set", "finetune.epochs=2")

    assert ("not valid JSON" in done.stderr) is (edited == "commit"), done.stdout + done.stderr
    assert ("split rows: " in done.stdout) is (edited == "folder")
    assert done.returncode == {"folder": 69, "commit": 65}[edited]


@pytest.mark.slow
def test_a_deployed_flow_fails_before_its_first_stage(door: Door) -> None:
    done = door.run("-c", _FLOW)

    last = done.stdout.splitlines()[-4:]
    assert last[0].startswith("Failed 69 after "), done.stdout + done.stderr
    assert last[1] == f"judge: {door.missing}"
    assert last[3].endswith("to run what can be run: preflight=warn, in the form under If something is missing")
    assert "Traceback" not in done.stdout + done.stderr
    assert not (door.folder / "artifacts").exists()


#: A stage that looks ahead as `stages.running.program.run` does, and fails as told: for a judge that is not there.
_STAGE = """
import os, sys
from pathlib import Path
from stages.common.errors import PipelineError
from stages.running.checks import preflight

name = sys.argv[1]
try:
    preflight.look_once(name)
except PipelineError as error:
    print(f"{name}: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
if name == "judge" and "JUDGE_FAILS" in os.environ:
    print("judge: no Ollama", file=sys.stderr)
    sys.exit(69)
Path(f"{name}.txt").write_text(name + Path("params.yaml").read_text())
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Door:
    """A project of two stages, zeta and judge, in which zeta has run."""
    folder = tmp_path_factory.mktemp("small") / "project"
    made = flow_project.create(folder)
    (folder / "stage.py").write_text(_STAGE)
    (folder / "dvc.yaml").write_text((folder / "dvc.yaml").read_text().replace("alpha", "judge"))
    door = Door(folder)
    door.env |= {"PYTHONPATH": str(ROOT), "HOME": str(folder.parent), "PIPELINE_RETRY_SECONDS": "3600"}
    door.values(judge={"backend": "ollama"})
    door.commit()
    made.env["PATH"] = door.env["PATH"]  # the stages' `python` is this one
    made.dvc("repro", "-q", "zeta")
    return door


@pytest.mark.slow
def test_plain_dvc_says_it_once_when_its_first_stage_begins(small: Door) -> None:
    small.values(split={"seed": 1})
    named = small.run("-m", "dvc", "repro", "zeta")
    small.values(split={"seed": 2})
    everything = small.run("-m", "dvc", "repro")
    small.values(split={"seed": 3})
    refused = small.run("-m", "dvc", "repro", PIPELINE_PREFLIGHT="fail")
    off = small.run("-m", "dvc", "repro", PIPELINE_PREFLIGHT="off")

    # A command that does not come to the judge needs none.
    assert (named.returncode, small.missing in named.stdout + named.stderr) == (0, False)
    assert everything.returncode == 0, everything.stderr
    assert everything.stdout.count(small.missing) == 1
    assert everything.stdout.index(small.missing) < everything.stdout.index("Running stage 'judge'")
    assert "zeta: judge: no Ollama" in refused.stderr
    assert "exited with 69" in refused.stderr
    assert (off.returncode, small.missing in off.stdout) == (0, False)


@pytest.mark.slow
def test_what_is_up_to_date_or_in_the_cache_needs_no_judge(small: Door) -> None:
    done = small.run("-m", "dvc", "repro", PIPELINE_PREFLIGHT="off")
    assert done.returncode == 0, done.stderr
    # An option of the judge makes it stale, and nobody answers.
    assert small.run("-m", "flows.run", "--set", "judge.seed=77").returncode == 69
    assert "everything is up to date" in small.run("-m", "flows.run").stdout
    (small.folder / "judge.txt").unlink()

    restored = small.run("-m", "flows.run")

    assert restored.returncode == 0, restored.stderr
    assert "before the run" not in restored.stdout
    assert (small.folder / "judge.txt").exists()


@pytest.mark.slow
def test_a_run_with_a_warning_does_what_it_can_and_does_not_wait(small: Door) -> None:
    small.values(split={"seed": 5})

    warned = small.run("-m", "flows.run", "--preflight=warn", JUDGE_FAILS="1")  # a retry would come after an hour

    assert warned.returncode == 69
    assert f"problem: judge: {small.missing}" in warned.stdout
    assert "Running stage 'zeta'" in warned.stderr
    assert "trying again" not in warned.stdout + warned.stderr
    assert "pipeline: judge: no Ollama\n" in warned.stderr


@pytest.mark.thorough
def test_a_worker_s_variable_says_what_a_deployed_flow_does(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in door.env.items():
        monkeypatch.setenv(name, value)
    lines: list[str] = []
    with pytest.raises(NotReady, match="preflight=warn, in the form under If something"):
        ahead.look_in_flow(door.folder, door.folder, "fail", force=False, log=lines.append)
    monkeypatch.setenv(preflight.VARIABLE, "warn")

    ahead.look_in_flow(door.folder, door.folder, "fail", force=False, log=lines.append)

    assert any(line.startswith(f"  problem: judge: {door.missing}") for line in lines)


def test_without_a_readable_params_yaml_no_service_counts_as_absent(tmp_path: Path) -> None:
    assert not preflight.is_absent("judge", tmp_path)


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
