"""The report of a run, one page of HTML: where it is, of which results it is, and how it is made.

It is a copy of what is in files. So it is no output of a stage, and no fault in it makes a run a failure. The program
that makes it is apart: nothing here imports a stage.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from stages.common import paths
from stages.common.errors import DataError
from stages.common.metrics.beside import Further
from stages.common.printable import printable
from stages.common.records import Metrics, read_metrics, write_metrics
from stages.common.results.judge import VERDICTS
from stages.running import temporary
from stages.running.console import say
from stages.running.tracking import published

#: The report of the results in the working directory. DVC knows nothing of it, and leaves it there.
REPORT = paths.ARTIFACTS / "report.html"
#: The folder of the reports of other runs.
OTHERS = paths.ARTIFACTS / "reports"
PROGRAM = "stages.judge.report"
#: The process that the program ends with; it is in this variable of its environment.
OWNER = "PIPELINE_REPORT_OWNER"
#: The file that gets the comparisons with further runs, where the process that starts the program makes them. With this
#: variable the program waits for a byte of its standard input, and without one it has nothing to do.
FURTHER = "PIPELINE_REPORT_COMPARED"
#: Whether the program makes them itself, with their figures, and leaves them beside that file: its environment has this
#: variable then. The short name of the run in MLflow is in one file there, and what it has made in the other.
COMPARES = "PIPELINE_REPORT_COMPARES"
RUN, KEPT = "run.txt", "kept.json"
#: The byte that lets it go, and the one that says besides that a stage of the run at work has made these results here.
GO, MADE_HERE = b"1", b"2"
#: Seconds that the program may take at most, and of these the comparisons, which read files of other runs.
_SECONDS = 60.0
COMPARING_SECONDS = 40.0
#: Characters of its message that are told at most.
_MOST = 500
#: Bytes at the beginning of a page in which it says of which results it is.
_HEAD_BYTES = 4096


class Kept(Metrics):
    """Comparisons of the results with other runs.

    Args:
        lines: what was found, a line each.
        files: paths of the files that they have written.
        commit_tried: whether the last commit was compared with, whatever came of it.
    """

    lines: list[str]
    files: list[str]
    commit_tried: bool


def mark(root: Path) -> str:
    """What the page of the results under a folder says it is about.

    Raises:
        DataError: dvc.lock is not YAML.
    """
    return f"results {published.digest(root)}"


def is_current(root: Path) -> bool:
    """Whether the report under a folder is there and is that of the results there."""
    with contextlib.suppress(OSError, DataError), open(root / REPORT, "rb") as stream:
        head = stream.read(_HEAD_BYTES).decode("utf-8", errors="replace")
        return f'<meta name="about" content="{mark(root)}">' in head
    return False


class Making:
    """The program that makes the report of the results under a folder, begun before there are any: it takes a second to
    start. It waits to be told `go`. A failure is told in one line.

    Args:
        root: folder with params.yaml and dvc.lock.
        folder: folder for the comparisons with further runs; None: there is none, and so no report.
        wrong: why there is none.
        compares: whether the program makes the comparisons with other runs, and keeps them.
    """

    def __init__(self, root: Path, folder: Path | None, wrong: str = "", *, compares: bool = False) -> None:
        self._root = root
        self._until = 0.0
        self._waiting = threading.Lock()
        self._made: bool | None = None
        self._wrong = wrong
        self._process: subprocess.Popen[str] | None = None
        if folder is None:
            return
        self._compared = folder.resolve() / "compared.json"
        environment = os.environ | {OWNER: str(os.getpid()), FURTHER: str(self._compared)}
        environment |= {COMPARES: "1"} if compares else {}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", PROGRAM],
                cwd=root,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except OSError as error:
            self._wrong = str(error)

    def go(self, further: Further | None = None, *, made_here: bool = False, run: str = "") -> None:
        """Let it begin.

        Args:
            further: the comparisons with further runs, where they have been made. None: the program makes them, which
                takes it seconds.
            made_here: whether a stage of the run that is at work has made results, so that they are this machine's.
            run: short name of the run in MLflow that gets the comparisons, where the program keeps them.
        """
        self._until = time.monotonic() + _SECONDS
        if self._process is None or not (self._root / VERDICTS).exists():
            return
        try:
            if further is not None:
                write_metrics(self._compared, further)
            self._compared.with_name(RUN).write_text(run, encoding="utf-8")
            self._close(MADE_HERE if made_here else GO)
        except OSError as error:
            self._wrong = str(error)

    def made(self) -> bool:
        """Wait for it; several threads may.

        Returns:
            Whether the report is there. Without scores there is none.
        """
        with self._waiting:
            if self._made is None:
                self._made = (self._root / VERDICTS).exists() and self._ended_well()
            return self._made

    def comparisons(self) -> Kept | None:
        """What the program has kept of the comparisons, once it is `made`; None where it has made none."""
        if self._process is None:
            return None
        try:
            return read_metrics(self._compared.with_name(KEPT), Kept, made_by="make report")
        except DataError:
            return None

    def _ended_well(self) -> bool:
        if self._process is None or self._wrong:
            return _not_made(self._wrong)
        try:
            _, said = self._process.communicate(timeout=max(0.0, self._until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return _not_made(f"not ready after {_SECONDS:g} s")
        if self._process.returncode != 0:
            # After a traceback, where there is one.
            told = said.rpartition("\nreport: ")[2] or said
            told = " ".join(told.removeprefix("report: ").replace("\n  to fix it:", "; to fix it:").split())[-_MOST:]
            return _not_made(told or f"it ended with {self._process.returncode}")
        return True

    def end(self) -> None:
        """End it, if it still waits or works."""
        if self._process is None:
            return
        self._close(b"")
        self._process.kill()
        self._process.wait()
        assert self._process.stderr
        self._process.stderr.close()

    def _close(self, last: bytes) -> None:
        assert self._process
        stream, self._process.stdin = self._process.stdin, None
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended, and `made` says why
                if last:
                    os.write(stream.fileno(), last)
            stream.close()


@contextlib.contextmanager
def begun(root: Path, *, compares: bool = False) -> Iterator[Making]:
    """Begin the program that makes the report of the results under a folder; it ends with the block.

    Args:
        root: folder with params.yaml, dvc.lock and, when it is told to go, artifacts/.
        compares: whether the program makes the comparisons with other runs, and keeps them.
    """
    with contextlib.ExitStack() as stack:
        try:
            making = Making(root, stack.enter_context(temporary.folder()), compares=compares)
        except OSError as error:
            making = Making(root, None, str(error))
        stack.callback(making.end)
        yield making


def make(root: Path, further: Further | None = None, *, made_here: bool = False) -> bool:
    """Make the report of the results under a folder; arguments and result as of `Making`."""
    if not (root / VERDICTS).exists():
        return False
    with begun(root) as making:
        making.go(further, made_here=made_here)
        return making.made()


def ensure(root: Path) -> None:
    """Make the report of the results under a folder where it is missing; nothing without scores.

    One that is there is left as it is, also where it is that of other results: to make it takes seconds, and where it
    cannot be made, each run with nothing to do would try.

    Args:
        root: folder with params.yaml, dvc.lock and artifacts/.
    """
    if (root / VERDICTS).exists() and not os.path.lexists(root / REPORT):
        say(f"report: {REPORT} is not there: making it (some seconds)")
        make(root)


def _not_made(why: str) -> bool:
    say(f"report: not made, and no result depends on it; make report tries again: {printable(why)}")
    return False
