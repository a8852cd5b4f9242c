"""What is looked for after every fault: wrong records, untracked runs, processes and files that are left over."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from stages.running.tracking import execution, mlflow_access
from tests.faults.clones import STAGES, Clone, Life
from tests.faults.truth import Truth, as_text, md5, wrong_records

#: Seconds that processes may take to end after the door has: a stage saves its work.
LEFT_SECONDS = 120.0
#: Files of a run in MLflow that are outputs of stages, by the path in the run.
_RESULTS = {
    "split/metrics.json": "artifacts/split/metrics.json",
    "tokenize/metrics.json": "artifacts/tokenize/metrics.json",
    "finetune/metrics.json": "artifacts/finetune/metrics.json",
    "finetune/history.jsonl": "artifacts/finetune/history.jsonl",
    "generate/metrics.json": "artifacts/generate/metrics.json",
    "judge/metrics.json": "artifacts/judge/metrics.json",
    "judge/verdicts.jsonl": "artifacts/judge/verdicts.jsonl",
}


def problems(clone: Clone, truth: Truth) -> list[str]:
    """A line for each thing that is wrong in a clone after a fault; all of its doors have ended or are ending."""
    left = left_processes(clone)
    runs = tracked(clone.root)
    return [
        *left,
        *left_files(clone),
        *wrong_records(clone, truth),
        *wrong_runs(runs, truth),
        *untracked(clone.lives, runs),
    ]


def left_processes(clone: Clone, seconds: float = LEFT_SECONDS) -> list[str]:
    """A line for each process of a clone that does not end within some seconds."""
    deadline = time.monotonic() + seconds
    while (left := clone.processes()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return [f"process {process.pid} is left: {_command(process)}" for process in left]


def left_files(clone: Clone) -> list[str]:
    """A line for each half-written file among the results."""
    found = (path for path in (clone.root / "artifacts").rglob(".*") if path.suffix in (".tmp", ".old"))
    return [f"{path.relative_to(clone.root)} is left" for path in sorted(found)]


def left_locks(root: Path, gpu_locks: Path) -> list[str]:
    """A line for each lock that is held, and each entry and folder of a lock that is left, with no process at work.

    Args:
        root: folder of the project.
        gpu_locks: folder of the locks of GPUs.
    """
    found = [f"{path} is locked" for path in _lock_files(root, gpu_locks) if _is_held(path)]
    with contextlib.suppress(FileNotFoundError):
        told = json.loads((root / ".dvc" / "tmp" / "rwlock").read_text(encoding="utf-8"))
        found += [f".dvc/tmp/rwlock: {kind} {path}" for kind, paths in told.items() for path in paths]
    kept = [root / ".git" / "index.lock", root / ".git" / "HEAD.lock"]
    for pattern in (
        ".cache/workspaces/run-*",
        ".dvc/tmp/exps/tmp*",
        ".dvc/tmp/exps/standalone/tmp*",
        ".git/worktrees/*",
    ):
        kept += sorted(root.glob(pattern))
    return found + [f"{path.relative_to(root)} is left" for path in kept if path.exists()]


def _lock_files(root: Path, gpu_locks: Path) -> Iterator[Path]:
    """Files that a process locks while it works."""
    yield root / ".dvc" / "tmp" / "lock"
    yield root / ".dvc" / "tmp" / "rwlock.lock"
    yield from sorted((root / ".dvc" / "tmp" / "exps").glob("*.lock"))
    yield root / ".cache" / "in-place.lock"
    yield from sorted(path for path in gpu_locks.rglob("*") if path.is_file())


def _is_held(path: Path) -> bool:
    """Whether a process has locked a file, in either of the ways of the kernel."""
    for lock in (fcntl.flock, fcntl.lockf):
        try:
            with open(path, "r+b") as stream:
                lock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
    return False


def tracked(root: Path, *, deleted: bool = False) -> list[Any]:
    """The MLflow runs of a folder, in the order of their beginnings; ``deleted``: those that its tables leave out."""
    if not (root / "mlflow.db").exists():
        return []
    mlflow_access.load()
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    ids = [one.experiment_id for one in client.search_experiments()]
    view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
    found = client.search_runs(ids, run_view_type=view, max_results=1000)
    return sorted(found, key=lambda run: run.info.start_time)


def wrong_runs(runs: Sequence[Any], truth: Truth) -> list[str]:
    """A line for each MLflow run that says other than what ran; the runs are in the order of their beginnings."""
    found = []
    for number, run in enumerate(runs):
        name = f"MLflow run {run.info.run_name}"
        owner = run.data.tags.get("pipeline.owner", "")
        # A run of a killed process is set KILLED by the next one that is created.
        if run.info.status == "RUNNING" and number + 1 < len(runs) and owner and execution.is_gone(owner):
            found.append(f"{name}: RUNNING, and its process has ended")
        if run.info.status == "FINISHED":
            found += [f"{name}: {what}" for what in _wrong_run(run, truth)]
    return found


def _wrong_run(run: Any, truth: Truth) -> Iterator[str]:
    files = truth.files.get(as_text(run.data.params))
    if files is None:
        yield "no undisturbed run had its parameters"
        return
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    for name, path in _RESULTS.items():
        if (folder / name).exists() and md5(folder / name) != files.get(path):
            yield f"{name} is not what an undisturbed run with its parameters made"
    missing = [name for name in STAGES if f"stage.{name}" not in run.data.tags]
    if (folder / "judge" / "metrics.json").exists() and missing:
        yield f"no tag of {', '.join(missing)}"


def untracked(lives: Iterable[Life], runs: Iterable[Any]) -> list[str]:
    """A line for each execution that came to a good end, ran a tracked stage, and has no finished MLflow run.

    Results that were published later are tracked.
    """
    free = [run.info.start_time / 1000 for run in runs if run.info.status == "FINISHED"]
    found = []
    for life in lives:
        if life.door and life.code == 0 and {"finetune", "generate", "judge"} & set(life.ran):
            own = next((began for began in free if began >= life.began - 1), None)
            if own is None:
                found.append(f"the run of {life.door} that began at {time.ctime(life.began)} is untracked")
            else:
                free.remove(own)
    return found


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:200]
    except psutil.Error:
        return f"{os.getpid()} cannot tell"
