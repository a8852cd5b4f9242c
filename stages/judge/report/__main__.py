"""Writes the report of a run as one page of HTML: `python -m flows.report [RUN]`.

Without RUN it is that of the results in this folder, in artifacts/report.html. RUN is what
`stages.judge.runs.compare` takes: a folder, a git revision, a DVC experiment, or an MLflow run. Of an MLflow run it is
the report that is kept with it, where there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from stages.common.errors import ConfigError
from stages.common.files import atomic_file
from stages.common.metrics.beside import Further
from stages.common.records import read_metrics, write_metrics
from stages.common.results.judge import VERDICTS
from stages.judge.report import facts, machine, others
from stages.judge.report.page import page
from stages.judge.runs.references import in_report, with_references, worth_asking
from stages.running import program, project, report, signals
from stages.running.arguments import Parser
from stages.running.console import say, size
from stages.running.tracking import champions, mlflow_access
from stages.running.tracking.mlflow_access import why

#: What comparisons with runs in a file of MLflow load when they are made.
_NEEDED_LATER = ("mlflow.store.tracking.sqlalchemy_store", "scipy.stats", "matplotlib.figure")


class _Compared(NamedTuple):
    """Comparisons with other runs; None: they are made with the page."""

    found: Further | None = None
    by_flow: bool = False


def main() -> None:
    """Write the page, and say where it is.

    Raises:
        ConfigError: the working directory is no project's, or the run has no scores.
        PipelineError: the run cannot be had.
    """
    owner = os.environ.get(report.OWNER)
    if owner is not None:
        signals.end_with_parent(int(owner))
    options = _arguments()
    compared = os.environ.get(report.FURTHER) if owner is not None else None
    if compared and report.COMPARES in os.environ:
        _load()
    told = os.read(sys.stdin.fileno(), 1) if compared else report.GO
    if not told:
        return  # who has begun it early does not want it
    project.require(Path.cwd())
    # Before the page: MLflow gets the comparisons, whatever comes of it.
    further = _further(compared) if options.run == "." else _Compared()
    target = _target(options)
    text = _own(further, made_here=told == report.MADE_HERE) if options.run == "." else others.text_of(options.run)
    with atomic_file(target) as stream:
        stream.write(text)
    say(f"report: {target} ({size(len(text.encode()))}); in a browser: {target.resolve().as_uri()}")


def _own(further: _Compared, *, made_here: bool) -> str:
    """The page of the results in this folder.

    Args:
        further: the comparisons.
        made_here: whether a stage of the run that is at work has made the results.
    """
    # A flow does not wait for it: its results are new, and Prefect's page says it of results from the cache.
    champion = "" if further.by_flow else _champion()
    found = facts.read(further=further.found, environment=machine.of_these_results(made_here=made_here))
    return page(found, report.mark(Path()), champion)


def _further(file: str | None) -> _Compared:
    """The comparisons of the results in this folder with other runs, made now if MLflow is to have them.

    Args:
        file: file that has them, where a flow has made them; None where nobody has begun this program early.

    Raises:
        ConfigError: there are no scores.
    """
    if not VERDICTS.exists():
        raise ConfigError(f"{VERDICTS}: no such file, so that there is nothing to report", "make run")
    if file and Path(file).exists():
        return _Compared(read_metrics(Path(file), Further, made_by="make report"), by_flow=True)
    if file and report.COMPARES in os.environ:
        return _Compared(_kept(Path(file).parent))
    return _Compared()


def _load() -> None:
    """Load what compares and draws, while the results are still made. What is wrong is told where it is used."""
    with contextlib.suppress(Exception):
        mlflow_access.load()
        for module in _NEEDED_LATER:
            importlib.import_module(module)


def _kept(folder: Path) -> Further:
    """Compare the results in this folder with other runs, and leave the files of that in ``folder``.

    Args:
        folder: folder for them, with the file that names the run.
    """
    run, seconds = (folder / report.RUN).read_text(encoding="utf-8"), report.COMPARING_SECONDS
    with with_references(Path(), Path(), run, references=worth_asking(Path()), seconds=seconds) as found:
        files = [str(shutil.copy2(file, folder)) for one in found for file in one.files]
        lines = [one.verdict for one in found if one.verdict]
        told = in_report(found)
        write_metrics(folder / report.KEPT, report.Kept(lines=lines, files=files, commit_tried=told.commit_tried))
        return told


def _champion() -> str:
    """The champion that has the results in this folder; empty where they are none's, or MLflow does not say."""
    try:
        return champions.of_results(Path(), Path())
    except Exception as error:
        say(f"report: it does not say whether the results are the champion's: {why(error)}")
        return ""


def _target(options: argparse.Namespace) -> Path:
    """The file that gets the page.

    Raises:
        ConfigError: it is a folder, or in none.
    """
    target = Path(options.to) if options.to else _place(options.run)
    if target.is_dir():
        fix = f"--to {target / report.REPORT.name}" if options.to else f"rm -r {target}"
        raise ConfigError(f"{target}: expected a file, found a folder", fix)
    if options.to and not target.parent.is_dir():
        raise ConfigError(f"{target.parent}: no such folder", f"mkdir -p {target.parent}, or another --to")
    return target


def _place(run: str) -> Path:
    """Where the report of a run goes."""
    if run == ".":
        return report.REPORT
    return report.OTHERS / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', run).strip('.-') or 'run'}.html"


def _arguments() -> argparse.Namespace:
    parser = Parser(prog="python -m flows.report", description=__doc__)
    parser.add_argument(
        "run", metavar="RUN", nargs="?", default=".", help="a run (default: the results in this folder)"
    )
    default = f"{report.REPORT}, and with RUN a file in {report.OTHERS}/"
    parser.add_argument("--to", metavar="FILE", help=f"the file to write (default: {default})")
    return parser.parse_args()


if __name__ == "__main__":
    program.run("report", main)
