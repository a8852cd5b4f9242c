"""A tiny DVC project with stages that do as they are told, and ways to run the flow on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.root import ROOT

#: The order is not that of the alphabet: zeta makes what alpha reads.
_DVC_YAML = """\
stages:
  zeta:
    cmd: python stage.py zeta
    deps: [stage.py, data]
    params: [split.seed]
    outs: [zeta.txt]
  alpha:
    cmd: python stage.py alpha
    deps: [stage.py, zeta.txt]
    params: [judge.seed]
    outs: [alpha.txt]
"""

# todo/NAME, which DVC does not know, has a line for each call of the stage: an exit code, "hang", or "wait", which goes
# on once todo/NAME.go is there.
_STAGE = """\
import os, subprocess, sys, time
from pathlib import Path

name = sys.argv[1]
todo = Path(os.environ["FAKE_STAGES"]) / name
lines = todo.read_text().split() if todo.exists() else []
with open(todo.with_suffix(".calls"), "a") as calls:
    calls.write(os.environ.get("PIPELINE_ROOT", "called") + "\\n")
if lines:
    todo.write_text("\\n".join(lines[1:]))
    if lines[0] == "hang":
        todo.with_suffix(".pid").write_text(str(os.getpid()))
        time.sleep(600)
    if lines[0] == "wait":
        todo.with_suffix(".pid").write_text(str(os.getpid()))
        while not todo.with_suffix(".go").exists():
            time.sleep(0.05)
    elif lines[0] != "0":
        what = "judge.seed" if lines[0] == "78" else "row 3"
        print(f"{name}: {what} is wrong\\n  to fix it: correct {what}", file=sys.stderr)
        sys.exit(int(lines[0]))
print(f"{name} at work")
Path(f"{name}.txt").write_text(name + Path("params.yaml").read_text())
"""


class Project:
    """A project in ``root``; what its stages are to do, and what they did, is beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.todo = root.parent / "todo"
        self.todo.mkdir(exist_ok=True)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(root.parent),
            "PYTHONPATH": str(ROOT),
            "FAKE_STAGES": str(self.todo),
            "PIPELINE_RETRY_SECONDS": "0.1",
            "PIPELINE_GRACE_SECONDS": "5",
            # A database that cannot be made: tracking is down, at once.
            "MLFLOW_TRACKING_URI": "sqlite:////proc/none/mlflow.db",
            **{f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }

    def tell(self, stage: str, *lines: str) -> None:
        """What the stage does in its next calls: an exit code, "hang" or "wait". After those it succeeds."""
        (self.todo / stage).write_text("\n".join(lines))

    def calls(self, stage: str) -> int:
        """How often the stage was started."""
        path = self.todo / f"{stage}.calls"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def hanging(self, stage: str) -> psutil.Process:
        """Wait until the stage hangs, and return its process."""
        path = self.todo / f"{stage}.pid"
        wait_until(lambda: path.exists() and path.read_text() != "")
        return psutil.Process(int(path.read_text()))

    def go_on(self, stage: str) -> None:
        """Let a stage that waits go on."""
        (self.todo / f"{stage}.go").touch()

    def python(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the project and wait for it."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self.env | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    @contextlib.contextmanager
    def start(self, *arguments: str, cwd: Path | None = None, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """Start Python in the project, in a session of its own; what is left of it is killed after the block."""
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd or self.root,
            env=self.env | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def dvc(self, *arguments: str) -> str:
        """Run DVC in the project and return its output."""
        done = self.python("-m", "dvc", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def git(self, *arguments: str) -> str:
        """Run git in the project and return its output."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.root, env=self.env, capture_output=True, text=True, check=True
        )
        return done.stdout


def create(root: Path) -> Project:
    """Make the project as a fresh clone has it: committed, nothing run yet, data not imported."""
    (root / "assets" / "data").mkdir(parents=True)
    (root / "assets" / "data" / "rows.json").write_text("[]")
    (root / "stage.py").write_text(_STAGE)
    (root / "dvc.yaml").write_text(_DVC_YAML)
    (root / ".gitignore").write_text((ROOT / ".gitignore").read_text() + "/data\n/*.txt\n")
    for name in ("params.yaml", "prefect.yaml"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "profiles", root / "profiles")
    project = Project(root)
    project.git("init", "-q")
    project.dvc("init", "-q")
    for name in (".dvc/config", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)
    project.dvc("import-url", "-q", "assets/data", "data")
    data = root / "data.dvc"
    data.write_text(data.read_text().replace("frozen: true\n", ""))
    shutil.rmtree(root / "data")
    shutil.rmtree(root / ".dvc" / "cache")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "start")
    return project


def copy(template: Project, folder: Path) -> Project:
    """A copy of the project in ``folder``."""
    shutil.copytree(template.root, folder / "project", symlinks=True)
    return Project(folder / "project")


def wait_until(condition: Callable[[], object], seconds: float = 400) -> None:
    """Wait until the condition holds. The limit only ends a test that fails.

    With a server, a worker and a flow it takes minutes on a busy machine.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.1)


def gone(process: psutil.Process) -> bool:
    """True if the process has ended."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
