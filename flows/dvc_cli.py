"""What the flow asks DVC by its command line: the order of the stages, and whether everything is up to date."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import psutil

from flows.tool_settings import search_path
from stages.common.errors import ConfigError, TemporaryFailure
from stages.running.proxies import with_socks
from stages.running.tracking import execution

#: The DVC of this interpreter, whatever PATH says.
COMMAND = (sys.executable, "-m", "dvc")


_ORDER = ("dag", "--dot")
#: Seconds for which DVC's answer about the order is good where it was asked ahead.
_AHEAD_SECONDS = 30.0
#: DVC overwrites its lock file. It is read this many times, this many seconds apart, before it counts as broken.
_READS = 20
_READ_SECONDS = 0.1


def environment() -> dict[str, str]:
    """The environment for DVC.

    `python` in a stage's command is this interpreter. Output comes line by line and in UTF-8, as this process reads it.
    """
    return {**with_socks(), "PATH": search_path(), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def ask(root: Path, *arguments: str) -> Answer:
    """Run a short DVC command in ``root`` and return its exit code and output."""
    with _asked(root, *arguments) as process:
        return Answer(*process.communicate(), process.returncode)


class Answer(NamedTuple):
    """What a DVC command printed, and its exit code."""

    stdout: str
    stderr: str
    returncode: int


def _asked(root: Path, *arguments: str) -> subprocess.Popen[str]:
    repair_rwlock(root)
    command = [*COMMAND, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=root, env=environment(), stdout=pipe, stderr=pipe, text=True)


def up_to_date(root: Path) -> bool:
    """True if `dvc repro` in ``root`` would do nothing."""
    answer = ask(root, "status", "--json")
    return answer.returncode == 0 and json.loads(answer.stdout or "null") == {}


@dataclass(frozen=True)
class _Ahead:
    """The order of the stages, for which DVC was asked before anybody wanted it.

    Args:
        files: when the files that it reads were changed last.
        until: when the answer is too old, by `time.monotonic`.
        process: the DVC that says it.
    """

    files: dict[Path, int]
    until: float
    process: subprocess.Popen[str]

    def answer(self, root: Path) -> Answer | None:
        """What it says; None where that may be out of date."""
        with self.process as process:
            out, errors = process.communicate()
        is_new = time.monotonic() < self.until and self.files == _pipeline_files(root)
        return Answer(out, errors, process.returncode) if is_new else None


#: By folder, of those that nobody has taken yet.
_ahead: dict[Path, _Ahead] = {}


def ask_order_ahead(root: Path) -> None:
    """Begin to ask for `stages_in_order` of a folder, which takes DVC most of a second."""
    _ahead[root] = _Ahead(_pipeline_files(root), time.monotonic() + _AHEAD_SECONDS, _asked(root, *_ORDER))


def _pipeline_files(root: Path) -> dict[Path, int]:
    """When each file of the pipeline in a folder was changed last."""
    return {path: path.stat().st_mtime_ns for path in (root / "dvc.yaml", *root.glob("*.dvc")) if path.is_file()}


def stages_in_order(root: Path) -> list[str]:
    """The names of all stages and .dvc files, each after those it depends on; independent ones by name.

    Raises:
        ConfigError: DVC cannot read the pipeline, or there is none.
    """
    ahead = _ahead.pop(root, None)
    answer = (ahead and ahead.answer(root)) or ask(root, *_ORDER)
    if answer.returncode != 0:
        raise ConfigError(f"dvc.yaml: DVC cannot read the pipeline: {answer.stderr.strip()}", "correct dvc.yaml")
    order = parse_dot(answer.stdout)
    if not order:
        raise ConfigError(f"{root / 'dvc.yaml'}: no stages", "git checkout -- dvc.yaml")
    return order


def parse_dot(text: str) -> list[str]:
    """The nodes of a graph in DOT as `dvc dag --dot` writes it, each after the nodes that have an edge to it.

    ``"a" -> "b"`` means that b depends on a.

    >>> parse_dot('strict digraph  {"b"; "a"; "c"; "a" -> "b"; "b" -> "c";}')
    ['a', 'b', 'c']
    """
    graph: dict[str, set[str]] = {name: set() for name in re.findall(r'"([^"]+)"', text)}
    for before, after in re.findall(r'"([^"]+)"\s*->\s*"([^"]+)"', text):
        graph[after].add(before)
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def repair_rwlock(root: Path) -> None:
    """Remove DVC's lock file if a killed DVC left it half written: every DVC command would fail.

    Raises:
        TemporaryFailure: the file is half written, and a DVC runs in ``root`` that may be writing it.
    """
    path = root / ".dvc" / "tmp" / "rwlock"
    for _ in range(_READS):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except ValueError:
            if (pid := _living_dvc(root)) is None:
                path.unlink(missing_ok=True)
                return
            time.sleep(_READ_SECONDS)  # it is writing the file at this moment
        else:
            return
    raise TemporaryFailure(f"{path}: half written, and DVC (process {pid}) is at work", "wait for it")


def _living_dvc(root: Path) -> int | None:
    """The process id of a DVC that works in ``root``, started there or in a folder below it."""
    for process in psutil.process_iter(["pid", "cwd", "cmdline"]):
        is_dvc = execution.arguments_of_dvc(process.info["cmdline"] or ()) is not None
        if is_dvc and process.info["cwd"] and _repository(Path(process.info["cwd"])) == root.resolve():
            return int(process.info["pid"])
    return None


def _repository(folder: Path) -> Path | None:
    """The root that DVC uses when it is started in a folder. An isolated run below the project has one of its own."""
    return next((above for above in (folder, *folder.parents) if os.path.isdir(above / ".dvc")), None)  # noqa: PTH112
