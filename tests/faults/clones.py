"""Clones of the repository for the faults, and the doors by which people run them: real processes, real files."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from flows import servers
from tests import small_pipeline
from tests.root import ROOT

#: Every process that a clone starts has this variable, so that one that is left over is found.
MARK = "FAULTS_CLONE"
#: How people run the pipeline, each from the project's folder. The last one works on a copy of the last commit.
DOORS: Mapping[str, tuple[str, ...]] = {
    "flow": (sys.executable, "-m", "flows.run"),
    "make": ("make", "run"),
    "dvc": (sys.executable, "-m", "dvc", "repro"),
    "isolated": (sys.executable, "-m", "flows.run", "--set", "finetune.seed=7"),
}
STAGES = ("download", "split", "tokenize", "finetune", "generate", "judge")
#: Rows of the dataset, and steps enough for a fault in the middle; an evaluation, which is told, after every tenth.
ROWS = 200
VALUES: dict[str, Any] = {
    "finetune": {"max_steps": 160, "epochs": 40, "eval_every": 10},
    "generate": {"max_new_tokens": 8},
}
#: Seconds after which a door counts as hanging.
LONGEST = 1800.0
#: What kills the process of each name: a text of its command line. The shell that DVC starts is none of them.
_COMMANDS = {
    "stage": re.compile(r" -m stages\.\w+$"),
    "finetune": re.compile(r" -m stages\.finetune$"),
    "dvc": re.compile(r"^(?!.*/flows/guard\.py )(.* -m|.*/flows/waiting_dvc\.py \d+) dvc .*\brepro\b"),
    "guard": re.compile(r"/flows/guard\.py .* dvc .*\brepro\b"),
    "flow": re.compile(r" -m flows\.supervised"),
    "server": re.compile(r"^(?!.*/flows/guard\.py ).*\buvicorn\b", re.DOTALL),
}


class Wrong(Exception):
    """A fault did not end as it should."""


class CannotInject(Exception):
    """This machine does not allow a fault, such as the mounting of a disk."""


def expect(holds: object, what: str) -> None:
    """Fail the fault with a text unless something holds.

    Raises:
        Wrong: it does not.
    """
    if not holds:
        raise Wrong(what)


@dataclass
class Life:
    """One process of a door or a program, from its start to its end.

    Args:
        clone: the clone that it runs in.
        door: name of the door, or "" for another program.
        process: the process.
        output: the file of all that it prints.
        began: when it began, in seconds since 1970.
    """

    clone: Clone
    door: str
    process: subprocess.Popen[bytes]
    output: Path
    began: float = field(default_factory=time.time)

    @property
    def said(self) -> str:
        """All that it has printed so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    @property
    def code(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs."""
        return self.process.poll()

    @property
    def ran(self) -> list[str]:
        """The stages that ran."""
        return re.findall(r"Running stage '(\w+)'", self.said)

    def until(self, text: str, seconds: float = LONGEST) -> bool:
        """Wait until it has printed a text; whether it has, or ended before."""
        deadline = time.monotonic() + seconds
        while text not in self.said:
            if self.code is not None:
                return text in self.said
            expect(time.monotonic() < deadline, f"no {text!r} within {seconds:.0f} s:\n{self.said[-2000:]}")
            time.sleep(0.02)
        return True

    def at(self, text: str) -> Life:
        """Wait until it has printed a text.

        Raises:
            Wrong: it has ended without.
        """
        expect(self.until(text), f"it ended with {self.code} before {text!r}:\n{self.said[-2000:]}")
        return self

    def find(self, who: str) -> psutil.Process | None:
        """A process of this life: the stage, its dvc, their guard, the flow, Prefect's server, or the door itself."""
        if who == "door":
            return psutil.Process(self.process.pid) if self.code is None else None
        found: list[tuple[int, psutil.Process]] = []
        for process in self.clone.processes():
            with contextlib.suppress(psutil.Error):
                command = " ".join(process.cmdline())
                if _COMMANDS[who].search(command) and not command.startswith(("/bin/sh", "/bin/bash", "sh ", "bash ")):
                    found.append((len(process.children(recursive=True)), process))
        # Beside the dvc that runs the stage, that of the next stage may wait, under a guard of its own.
        return max(found, key=lambda one: one[0])[1] if found else None

    def kill(self, who: str, number: int = signal.SIGKILL) -> bool:
        """Send a signal to a process of this life, or to "all" at once; whether it was there."""
        found = self.clone.processes() if who == "all" else [self.find(who)]
        sent = False
        for process in found:
            with contextlib.suppress(psutil.Error):
                if process is not None:
                    process.send_signal(number)
                    sent = True
        return sent

    def end(self, seconds: float = LONGEST) -> int:
        """Wait for its end.

        Raises:
            Wrong: it hangs.
        """
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Wrong(f"it hangs after {seconds:.0f} s:\n{self.said[-2000:]}") from None

    def ends_with(self, code: int, *texts: str) -> Life:
        """Wait for its end, which must have an exit code and have printed some texts, and no traceback.

        Raises:
            Wrong: it ends otherwise.
        """
        found = self.end()
        expect(found == code, f"exit code {found}, not {code}:\n{self.said[-2000:]}")
        for text in texts:
            expect(text in self.said, f"it does not say {text!r}:\n{self.said[-2000:]}")
        expect("Traceback" not in self.said, f"a traceback:\n{self.said[-2000:]}")
        return self


@dataclass
class Clone:
    """A folder as `git clone` gives it, with small values.

    Args:
        root: the folder.
        prefect: address of the API of a Prefect server for its flows; "" lets each flow start a server of its own.
        lives: what its doors did.
        variables: further environment variables of its processes.
    """

    root: Path
    prefect: str = ""
    lives: list[Life] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its processes."""
        home = self.root.parent / "home"
        home.mkdir(exist_ok=True)
        named = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        kept = ("LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "TMPDIR")
        return {name: os.environ[name] for name in kept if name in os.environ} | {
            **named,
            "PATH": f"{self.root / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "DVC_SITE_CACHE_DIR": str(home / "dvc"),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            "PIPELINE_RETRY_SECONDS": "0.1",
            "PIPELINE_GRACE_SECONDS": "20",
            "PIPELINE_CHECKPOINT_SECONDS": "0.05",
            "DVC_NO_ANALYTICS": "1",
            "DO_NOT_TRACK": "true",
            MARK: str(self.root),
            **({"PREFECT_API_URL": self.prefect} if self.prefect else {}),
            **self.variables,
        }

    def start(self, *command: str, door: str = "", **variables: str) -> Life:
        """Start a program in it, in a session of its own."""
        output = self.root.parent / f"said-{len(self.lives)}"
        with open(output, "wb") as stream:
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env=self.environment | variables,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        life = Life(self, door, process, output)
        self.lives.append(life)
        return life

    def door(self, name: str, *more: str, **variables: str) -> Life:
        """Start a door, with further arguments."""
        return self.start(*DOORS[name], *more, door=name, **variables)

    def stage(self, name: str, **variables: str) -> Life:
        """Start a stage by hand, untracked."""
        return self.python("-m", f"stages.{name}", **{"PIPELINE_MLFLOW_RUN_ID": "none"} | variables)

    def python(self, *arguments: str, **variables: str) -> Life:
        """Start Python in it."""
        return self.start(sys.executable, *arguments, **variables)

    def processes(self) -> list[psutil.Process]:
        """All living processes that were started in it."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == str(self.root):
                    found.append(process)
        return found

    def edit(self, overlay: dict[str, Any]) -> None:
        """Put values over params.yaml, as an editor does."""
        small_pipeline.write_params(self.root, overlay)

    def lock(self) -> dict[str, Any]:
        """The stages of dvc.lock."""
        path = self.root / "dvc.lock"
        return (small_pipeline.read_yaml(path) or {}).get("stages", {}) if path.exists() else {}

    def git(self, *arguments: str) -> str:
        """Run git in it, and return its output."""
        done = subprocess.run(["git", *arguments], cwd=self.root, env=self.environment, capture_output=True, text=True)
        expect(done.returncode == 0, f"git {arguments[0]}: {done.stderr}")
        return done.stdout

    def status(self) -> Any:
        """What `dvc status` finds changed; an empty tree for nothing."""
        life = self.python("-m", "dvc", "status", "--json")
        life.end()
        return json.loads(life.said.splitlines()[-1])

    def checkpoints(self) -> dict[str, int]:
        """The step of the newest checkpoint of each training, by the training's key."""
        found: dict[str, int] = {}
        for path in (self.root / ".cache" / "finetune").glob("*/step-*"):
            with contextlib.suppress(ValueError):
                found[path.parent.name] = max(found.get(path.parent.name, 0), int(path.name.rpartition("-")[2]))
        return found


class Templates:
    """What the clones of a table are copied from: each is made once, when it is first wanted.

    Args:
        folder: an empty folder, which the caller removes.
        values: values over those of `small_pipeline.SMALL`.
        rows: rows of the dataset.
    """

    def __init__(self, folder: Path, values: Mapping[str, Any] = VALUES, rows: int = ROWS) -> None:
        self._folder = folder
        self._values = dict(values)
        self._rows = rows
        self._count = 0
        self._servers = contextlib.ExitStack()

    def __enter__(self) -> Templates:
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()

    @functools.cached_property
    def server(self) -> str:
        """A Prefect server that flows share, where not their own server is at stake: its start takes seconds."""
        environment = os.environ | {"PREFECT_HOME": str(self._folder / "prefect"), MARK: str(self._folder)}
        with mock.patch.dict(os.environ, environment):
            started = servers.start_prefect(servers.free_port(0))
        self._servers.enter_context(servers.running(started))
        return f"{started.address}/api"

    def fresh(self) -> Clone:
        """A clone in which nothing has run. Each of its flows starts a Prefect server of its own."""
        return self._copy(self._fresh)

    def tokenized(self) -> Clone:
        """One in which all has run that a training reads."""
        return self._copy(self._tokenized, self.server)

    def finished(self) -> Clone:
        """One in which all stages have run, undisturbed, by `dvc repro`."""
        return self._copy(self._finished, self.server)

    @functools.cached_property
    def _fresh(self) -> Path:
        clone = Clone(self._folder / "fresh" / "repository")
        clone.root.mkdir(parents=True)
        _copy_tree(clone.root)
        rows = json.dumps(small_pipeline.rows(self._rows))
        (clone.root / "assets" / "data" / "instructions.json").write_text(rows)
        clone.edit(small_pipeline.SMALL)
        clone.edit(self._values)
        _environment(clone.root / ".venv")
        clone.git("init", "-q", "-b", "main")
        # DVC's import of the smaller dataset is part of the commit.
        clone.python("-m", "dvc", "repro", "-q", "data.dvc").ends_with(0)
        shutil.rmtree(clone.root / "data")
        shutil.rmtree(clone.root / ".dvc" / "cache")
        clone.git("add", "-A")
        clone.git("commit", "-q", "-m", "a small pipeline")
        clone.python("-m", "compileall", "-q", "stages", "flows").ends_with(0)
        return clone.root

    @functools.cached_property
    def _tokenized(self) -> Path:
        return self._run("tokenized", self._fresh, "tokenize")

    @functools.cached_property
    def _finished(self) -> Path:
        return self._run("finished", self._tokenized)

    def _run(self, name: str, before: Path, *targets: str) -> Path:
        clone = _copied(before, self._folder / name)
        clone.door("dvc", *targets).ends_with(0)
        return clone.root

    def _copy(self, template: Path, prefect: str = "") -> Clone:
        self._count += 1
        clone = _copied(template, self._folder / f"clone-{self._count}")
        clone.prefect = prefect
        return clone


@contextlib.contextmanager
def ended(clone: Clone) -> Iterator[Clone]:
    """Kill what is left of a clone's processes after the block, and remove its files."""
    try:
        yield clone
    finally:
        for process in clone.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        for life in clone.lives:
            with contextlib.suppress(subprocess.TimeoutExpired):
                life.process.wait(10)
        shutil.rmtree(clone.root.parent, ignore_errors=True)


def _copied(template: Path, folder: Path) -> Clone:
    folder.mkdir(parents=True)
    # With the links between results and DVC's cache.
    root = folder / "repository"
    subprocess.run(["cp", "-a", str(template), str(root)], check=True)
    if (root / "mlflow.db").exists():
        _move_runs(root / "mlflow.db", f"file://{template}", f"file://{root}")
    return Clone(root)


def _move_runs(database: Path, before: str, after: str) -> None:
    """Let the runs of a copied database have their files in the copy."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            statement = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            connection.execute(statement, (before, after))


def _copy_tree(folder: Path) -> None:
    """Every file that a clone of the repository as it stands would have, but for dvc.lock."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def _environment(venv: Path) -> None:
    """What `make setup` makes, with this interpreter and its packages behind it."""
    (venv / "bin").mkdir(parents=True)
    for name, command in (("python", ""), ("dvc", "-m dvc")):
        program = venv / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        program.chmod(0o755)
    for name in ("installed", "installed-dev"):
        (venv / name).touch()
