"""A clone that all doors lead into, and what is noted of each stage that starts in it, whoever starts it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from flows import servers
from stages.params import reading
from tests import prefect_api
from tests.faults.clones import LONGEST, Clone, Life, Templates
from tests.flow_project import wait_until

#: Rows of the dataset: a run takes seconds.
ROWS = 60
#: Two made-up GPUs, so that locks of GPUs are taken.
_GPUS = "GPU-a,GPU-b"
_NOTES = "DOORS_NOTES"
#: Python runs it at the start of each process: a stage keeps the values that it finds.
_AT_START = f"""\
import os, re, shutil, sys, time

named = re.search(r" -m stages\\.(\\w+)$", " ".join(sys.orig_argv))
if named and os.path.exists("params.yaml"):
    note = os.path.join(os.environ["{_NOTES}"], f"{{time.time_ns()}}-{{os.getpid()}}-{{named[1]}}")
    shutil.copy("params.yaml", note + ".part")
    os.rename(note + ".part", note + ".yaml")
"""


@dataclass(frozen=True)
class Note:
    """A stage that has started.

    Args:
        stage: its name.
        values: the values of params.yaml that it found, by dotted key.
    """

    stage: str
    values: dict[str, Any]


@dataclass
class Project:
    """A clone whose stages have all run, with dvc.lock committed.

    Args:
        clone: the clone.
        committed: the values of params.yaml in the last commit, by dotted key.
        server: address of the API of its Prefect server, once there is one.
    """

    clone: Clone
    committed: dict[str, Any] = field(default_factory=dict)
    server: str = ""
    _servers: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def root(self) -> Path:
        """Its folder."""
        return self.clone.root

    @property
    def gpu_locks(self) -> Path:
        """The folder of the locks of its GPUs."""
        return self.root.parent / "gpu-locks"

    def values(self, change: Mapping[str, Any]) -> dict[str, Any]:
        """The committed values with others over them, by dotted key."""
        return self.committed | dict(change)

    def notes(self) -> list[Note]:
        """The stages that have started since `forget`, in order."""
        found = sorted((self.root.parent / "notes").glob("*.yaml"))
        return [Note(path.stem.rpartition("-")[2], _flat(path.read_text(encoding="utf-8"))) for path in found]

    def forget(self) -> None:
        """Put the folder's files back as they were committed, and forget the notes."""
        self.clone.git("checkout", "-q", "-f", "main")
        shutil.rmtree(self.root.parent / "notes", ignore_errors=True)
        (self.root.parent / "notes").mkdir()

    def edit(self, change: Mapping[str, Any]) -> None:
        """Change values in params.yaml, as an editor does."""
        path = self.root / "params.yaml"
        yaml = YAML()
        tree = yaml.load(path)
        for key, value in change.items():
            *parents, last = key.split(".")
            inner = tree
            for parent in parents:
                inner = inner[parent]
            inner[last] = value
        yaml.dump(tree, path)

    def ask(self, *command: str) -> str:
        """Run a program in the folder to its end, and return what it prints."""
        done = subprocess.run(
            command, cwd=self.root, env=self.clone.environment, capture_output=True, text=True, timeout=LONGEST
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def dvc(self, *arguments: str) -> str:
        """Run dvc in the folder to its end, and return what it prints."""
        return self.ask(sys.executable, "-m", "dvc", *arguments)

    def experiments(self) -> set[str]:
        """The names of DVC's experiments."""
        return set(self.dvc("exp", "list", "--name-only").split())

    def serve(self) -> None:
        """Start the project's Prefect server, unless it runs, and register both deployments with it."""
        if self.server:
            return
        environment = {"PREFECT_HOME": str(self.root.parent / "prefect")}
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        try:
            started = servers.start_prefect(servers.free_port(0))
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        self._servers.enter_context(servers.running(started))
        self.server = f"{started.address}/api"
        self.clone.python("-m", "flows.deploy", PREFECT_API_URL=self.server).ends_with(0)

    @contextlib.contextmanager
    def worker(self) -> Iterator[Life]:
        """A worker of the server, which is asked to end after the block, and has to."""
        command = ("-m", "flows", "prefect", "worker", "start", "--pool", "local")
        life = self.clone.python(*command, PREFECT_API_URL=self.server, PREFECT_WORKER_QUERY_SECONDS="1")
        try:
            yield life
        finally:
            life.kill("door", 15)
            life.end()

    def request(self, path: str, body: Any = None, *, method: str = "") -> Any:
        """Ask the Prefect server: GET, or POST where there is a body."""
        return prefect_api.request(self.server, path, body, method=method)

    def completed(self, run: str) -> str:
        """Wait until a run of Prefect has ended well, and return its name."""
        ends = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        wait_until(lambda: self.request(f"/flow_runs/{run}")["state_type"] in ends, LONGEST)
        found = self.request(f"/flow_runs/{run}")
        assert found["state_type"] == "COMPLETED", found["state"]
        return str(found["name"])

    def close(self) -> None:
        """End the Prefect server."""
        self._servers.close()


#: Nothing but the epochs says when a training ends. Tokens are drawn: with other weights, however near, there are other
#: answers for the judge.
_VALUES = {"finetune": {"max_steps": None, "eval_every": 4}, "generate": {"temperature": 1.0}}


@contextlib.contextmanager
def made(folder: Path) -> Iterator[Project]:
    """Make the project in an empty folder, with everything run once; it is ended after the block.

    Args:
        folder: the folder, which the caller removes.
    """
    with Templates(folder / "templates", values=_VALUES, rows=ROWS) as templates:
        clone = templates.fresh()
        hook = folder / "at-start"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(_AT_START, encoding="utf-8")
        project = Project(clone)
        clone.variables = {
            "PYTHONPATH": str(hook),
            _NOTES: str(clone.root.parent / "notes"),
            "PIPELINE_GPUS": _GPUS,
            "PIPELINE_GPU_LOCKS": str(project.gpu_locks),
        }
        project.forget()
        clone.door("dvc").ends_with(0)
        clone.git("add", "-f", "dvc.lock")
        clone.git("commit", "-q", "-m", "the baseline")
        project.committed = _flat(clone.git("show", "HEAD:params.yaml"))
        try:
            yield project
        finally:
            project.close()
            for process in clone.processes():
                with contextlib.suppress(Exception):
                    process.kill()


def name_of_flow(said: str) -> str:
    """The name of the run of Prefect that a command has made, from what it has printed."""
    found = re.search(r"Flow run '([\w-]+)'", said)
    assert found, said
    return found[1]


def _flat(text: str) -> dict[str, Any]:
    return reading.flatten(reading.plain(YAML(typ="safe").load(text)))
