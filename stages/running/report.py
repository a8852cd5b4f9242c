"""The report of a run, one page of HTML: where it is, of which results it is, and how it is made.

It is a copy of what is in files. So it is no output of a stage, and no fault in it makes a run a failure. The program
that makes it is apart: nothing here imports a stage.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from stages.common import paths
from stages.common.errors import DataError
from stages.common.metrics.beside import Further
from stages.common.printable import printable
from stages.common.records import write_metrics
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
#: The file with the comparisons with further runs, where the process that starts the program has made them.
FURTHER = "PIPELINE_REPORT_COMPARED"
#: It is there where a stage has made these results in the run that is at work.
MADE_HERE = "PIPELINE_REPORT_MADE_HERE"
#: Seconds that the program may take at most: it compares the run with another one, which reads files of both.
_SECONDS = 60.0
#: Characters of its message that are told at most.
_MOST = 500
#: Bytes at the beginning of a page in which it says of which results it is.
_HEAD_BYTES = 4096


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


def make(root: Path, further: Further | None = None, *, made_here: bool = False) -> bool:
    """Make the report of the results under a folder; a failure is told in one line.

    Args:
        root: folder with params.yaml, dvc.lock and artifacts/.
        further: the comparisons with further runs, where they have been made. None: the program makes them, which
            takes it seconds.
        made_here: whether a stage of the run that is at work has made results, so that they are this machine's.

    Returns:
        Whether it is there. Without scores there is none.
    """
    if not (root / VERDICTS).exists():
        return False
    environment = os.environ | {OWNER: str(os.getpid()), MADE_HERE: "1" if made_here else ""}
    try:
        with temporary.folder() as folder:
            if further is not None:
                environment[FURTHER] = str(folder / "compared.json")
                write_metrics(folder / "compared.json", further)
            done = subprocess.run(
                [sys.executable, "-m", PROGRAM],
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=_SECONDS,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"not ready after {_SECONDS:g} s" if isinstance(error, subprocess.TimeoutExpired) else str(error)
        return _not_made(why)
    if done.returncode != 0:
        # After a traceback, where there is one.
        told = done.stderr.rpartition("\nreport: ")[2] or done.stderr
        return _not_made(" ".join(told.removeprefix("report: ").split())[-_MOST:])
    return True


def _not_made(why: str) -> bool:
    say(f"report: not made, and no result depends on it; make report tries again: {printable(why)}")
    return False
