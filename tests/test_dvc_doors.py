"""Every door of DVC, with runs that end well or are killed: each is in MLflow, and no stage outlives its dvc."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from tests.flow_project import gone, wait_until
from tests.root import ROOT

pytestmark = pytest.mark.slow

#: Runs that end well, by each door.
FINISHED = 5
#: From this seed on the stage leaves its process id in .cache and works until it is ended.
ENDLESS = 1000
STAGE = f"""\
import os, time
from pathlib import Path
from stages.common.paths import local_path
from stages.params.finetune import Finetune
from stages.running import program
from stages.running.tracking import tracker

def main():
    seed = program.section(Finetune).seed
    with tracker.stage("finetune") as run:
        run.log_metrics({{"seed": seed}}, step=0)
        if seed >= {ENDLESS}:
            Path(f".cache/pid-{{seed}}").write_text(str(os.getpid()))
            time.sleep(600)
        Path("out").write_text(f"{{seed}} {{local_path('../rows.json').read_text()}}")
        Path("model").write_bytes(os.urandom(8))
        with open(".cache/trainings", "a") as stream:
            stream.write("trained\\n")

program.run("finetune", main)
"""
#: Reads the model, whose bytes are others after each training, as on each machine.
JUDGE = """\
from pathlib import Path
from stages.running import program

program.run("judge", lambda: Path("score").write_bytes(Path("model").read_bytes()))
"""
PIPELINE = """\
stages:
  finetune:
    cmd: python train.py
    deps: [train.py]
    params: [finetune]
    outs: [out, model]
  judge:
    cmd: python judge.py
    deps: [judge.py, model]
    params: [judge]
    outs: [score]
"""


class Project:
    """A project with one stage, in git and in DVC, without a remote."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        (root.parent / "rows.json").write_text("rows")
        (root / "train.py").write_text(STAGE)
        (root / "judge.py").write_text(JUDGE)
        shutil.copytree(ROOT / "profiles", root / "profiles")
        (root / "dvc.yaml").write_text(PIPELINE)
        for name in ("params.yaml", ".gitignore", ".dvcignore"):
            shutil.copy(ROOT / name, root)
        names = {f"GIT_{who}_{what}": "a@b.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        self.env = os.environ | names
        self.env |= {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for command in ("git init -q -b main", "dvc init -q", "git add -A", "git commit -qm start"):
            self.run(*command.split())

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command to its end and return its output."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=1200,
        )
        assert fails or done.returncode == 0, done.stdout
        return done.stdout

    def seed(self, seed: int) -> None:
        """Put a seed into params.yaml."""
        path = self.root / "params.yaml"
        head, section, rest = path.read_text().partition("\nfinetune:\n")
        path.write_text(head + section + re.sub(r"  seed: \d+", f"  seed: {seed}", rest, count=1))

    def clean(self) -> None:
        """Undo a run in the folder; an experiment that is killed leaves git without a branch."""
        (self.root / ".git" / "index.lock").unlink(missing_ok=True)
        self.run("git", "checkout", "-q", "-f", "main")
        for name in ("out", "model", "score"):
            (self.root / name).unlink(missing_ok=True)

    def stage(self, seed: int) -> psutil.Process:
        """Wait for the endless stage with a seed."""
        path = self.root / ".cache" / f"pid-{seed}"
        wait_until(lambda: path.exists() and path.read_text() != "", 300)
        return psutil.Process(int(path.read_text()))

    def wait_for_run(self, seed: int) -> None:
        """Wait until MLflow has the run with a seed."""
        wait_until(lambda: any(run[2] == str(seed) for run in self.runs()), 300)

    def runs(self) -> list[tuple[str, str, str, str]]:
        """Name, state, seed and the experiment's name of each run in the project's own store."""
        path = self.root / "mlflow.db"
        if not path.exists():
            return []
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            return list(
                database.execute(
                    "select name, status, (select value from params where key = 'finetune.seed' "
                    "and run_uuid = runs.run_uuid), coalesce((select value from tags where key = 'dvc.experiment' and "
                    "run_uuid = runs.run_uuid), '') from runs"
                )
            )


def end(process: subprocess.Popen[bytes], stage: psutil.Process, number: signal.Signals) -> None:
    """Send a signal to dvc alone; the stage has to end too."""
    process.send_signal(number)
    process.wait(300)
    wait_until(lambda: gone(stage), 300)


def in_the_folder(project: Project, seeds: Sequence[int], command: Callable[[int], list[str]]) -> None:
    """Runs that end well, one that is stopped by SIGTERM, and one that is killed before MLflow can have its run."""
    *finished, stopped, killed = seeds
    for seed in finished:
        words = command(seed)
        project.run(*words)
        if "--temp" not in words:
            assert (project.root / "out").read_text() == f"{seed} rows"
        project.clean()
    for seed, number in ((stopped, signal.SIGTERM), (killed, signal.SIGKILL)):
        with subprocess.Popen(
            command(seed), cwd=project.root, env=project.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                stage = project.stage(seed)
                if number == signal.SIGTERM:
                    project.wait_for_run(seed)
                end(process, stage, number)
            finally:
                process.kill()
        project.clean()


def queued(project: Project, seeds: Sequence[int]) -> None:
    """A sweep, and two experiments that are ended while they are at work."""
    *finished, stopped, killed = seeds
    sweep = ",".join(map(str, finished))
    said = project.run("dvc", "exp", "run", "--queue", "-S", f"finetune.seed={sweep}")
    assert said.count("Queued experiment") == len(finished)
    project.run("dvc", "exp", "run", "--run-all")
    for seed, force in ((stopped, []), (killed, ["--force"])):
        said = project.run("dvc", "exp", "run", "--queue", "-S", f"finetune.seed={seed}")
        (name,) = re.findall(r"Queued experiment '([\w-]+)'", said)
        # Its workers keep the output open, so that nobody may wait for the end of it.
        project.run("sh", "-c", "dvc queue start > /dev/null 2>&1")
        stage = project.stage(seed)
        project.wait_for_run(seed)
        project.run("dvc", "queue", "kill", *force, name)
        wait_until(lambda stage=stage: gone(stage), 300)
        wait_until(lambda: not at_work(project), 300)


def at_work(project: Project) -> list[psutil.Process]:
    """Workers of the queue in a project; they end by themselves when there is nothing to do."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if "queue-worker" in (process.info["cmdline"] or []) and process.info["cwd"] == str(project.root):
            found.append(process)
    return found


def repro(project: Project, seed: int) -> list[str]:
    project.seed(seed)
    return ["dvc", "repro"]


def experiment(_project: Project, seed: int) -> list[str]:
    return ["dvc", "exp", "run", "-S", f"finetune.seed={seed}"]


def temporary(project: Project, seed: int) -> list[str]:
    return [*experiment(project, seed), "--temp"]


@pytest.mark.parametrize("command", [repro, experiment, temporary, None], ids=["repro", "exp", "temp", "queue"])
def test_no_run_is_lost_by_any_door_of_dvc(tmp_path, command):
    """Thirty runs in all, of which eight are ended in the midst: all are in the project's store, under their names."""
    project = Project(tmp_path / "project")
    finished = range(1, 1 + (FINISHED if command else FINISHED + 2))
    seeds = [*finished, ENDLESS, ENDLESS + 1]

    queued(project, seeds) if command is None else in_the_folder(project, seeds, partial(command, project))

    runs = project.runs()
    assert sorted(int(seed) for _, _, seed, _ in runs) == seeds, runs
    states = {int(seed): state for _, state, seed, _ in runs}
    assert {states[seed] for seed in finished} == {"FINISHED"}
    assert {states[seed] for seed in (ENDLESS, ENDLESS + 1)} <= {"FAILED", "KILLED"}
    assert list((project.root / ".dvc" / "tmp" / "exps").glob("**/mlflow.db")) == []
    listed = project.run("dvc", "exp", "list", "--name-only").split()
    if command is repro:
        assert listed == []
        assert {name for _, _, _, name in runs} == {""}
    else:
        assert all(name.endswith(f" ({experiment})") for name, _, _, experiment in runs)
        assert set(listed) == {experiment for _, state, _, experiment in runs if state == "FINISHED"}


def another_machine(project: Project) -> None:
    """Commit a dvc.lock with these inputs, and results that this machine never had."""
    path = project.root / "dvc.lock"
    tree = YAML(typ="safe").load(path)
    outs = tree["stages"]["finetune"]["outs"]
    other = {out["md5"]: f"{number:x}" + "ab" * 15 + "c" for number, out in enumerate(outs)}
    text = path.read_text()
    for made, named in other.items():
        text = text.replace(made, named)
    path.write_text(text)
    project.run("git", "commit", "-qam", "of another machine")
    project.clean()


def test_a_value_of_the_judge_trains_nothing_again_by_any_door(tmp_path):
    """The committed dvc.lock is another machine's, as in a fresh clone, where the first run has trained."""
    project = Project(tmp_path / "project")
    project.run("dvc", "repro")
    another_machine(project)
    trained = project.root / ".cache" / "trainings"
    assert trained.read_text().count("trained") == 1

    for door in (
        ["dvc", "repro"],
        ["python", "-m", "flows.run"],
        ["python", "-m", "flows.run", "--set", "judge.seed=2"],
        ["dvc", "exp", "run", "-S", "judge.seed=3"],
        ["dvc", "exp", "run", "--temp", "-S", "judge.seed=4"],
        ["dvc", "exp", "run", "--queue", "-S", "judge.seed=5,6"],
        ["dvc", "exp", "run", "--run-all"],
    ):
        said = project.run(*door)
        project.clean()
        assert trained.read_text().count("trained") == 1, f"{door}: {said}"

    project.run("dvc", "exp", "run", "--queue", "--force", "-S", "judge.seed=7")
    project.run("dvc", "exp", "run", "--run-all")
    project.run("dvc", "repro", "--force")
    assert trained.read_text().count("trained") == 3, "told to"


def test_a_second_clone_pulls_the_results_and_runs_nothing(tmp_path):
    project = Project(tmp_path / "project")
    project.run("dvc", "repro")
    project.run("dvc", "remote", "add", "--default", "store", "../dvc-store")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "Where the results are")
    project.run("dvc", "push")
    project.run("git", "clone", "-q", ".", "../second")
    project.root = tmp_path / "second"

    project.run("dvc", "pull")

    assert "Data and pipelines are up to date" in project.run("dvc", "repro")
    assert "everything is up to date: nothing was run" in project.run("python", "-m", "flows.run")
    assert not (project.root / ".cache" / "trainings").exists()
    assert project.run("git", "status", "--porcelain") == ""
