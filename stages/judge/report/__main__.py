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

from stages.common import paths
from stages.common.errors import ConfigError
from stages.common.files import atomic_file
from stages.common.metrics.beside import Further
from stages.common.records import read_metrics, write_metrics
from stages.common.results.judge import VERDICTS
from stages.judge.report import facts, machine, others
from stages.judge.report.page import page
from stages.judge.runs.references import in_report, with_references, worth_asking
from stages.running import program, report, signals
from stages.running.arguments import Parser
from stages.running.console import say, size
from stages.running.tracking import champions, mlflow_access
from stages.running.tracking.mlflow_access import why

#: What comparisons with runs in a file of MLflow load when they are made.
_NEEDED_LATER = ("mlflow.store.tracking.sqlalchemy_store", "scipy.stats", "matplotlib.figure")


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
    if not paths.PARAMS.exists():
        raise ConfigError(f"{Path().resolve()}: no {paths.PARAMS} here", "run the command in the project's folder")
    target = Path(options.to) if options.to else _place(options.run)
    if target.is_dir():
        fix = f"--to {target / report.REPORT.name}" if options.to else f"rm -r {target}"
        raise ConfigError(f"{target}: expected a file, found a folder", fix)
    if options.to and not target.parent.is_dir():
        raise ConfigError(f"{target.parent}: no such folder", f"mkdir -p {target.parent}, or another --to")
    text = _own(compared, made_here=told == report.MADE_HERE) if options.run == "." else others.text_of(options.run)
    with atomic_file(target) as stream:
        stream.write(text)
    say(f"report: {target} ({size(len(text.encode()))}); in a browser: {target.resolve().as_uri()}")


def _own(further: str | None, *, made_here: bool) -> str:
    """The page of the results in this folder.

    Args:
        further: file with the comparisons, where they have been made.
        made_here: whether a stage of the run that is at work has made them.
    """
    if not VERDICTS.exists():
        raise ConfigError(f"{VERDICTS}: no such file, so that there is nothing to report", "make run")
    there = further is not None and Path(further).exists()
    if further and there:
        compared = read_metrics(Path(further), Further, made_by="make report")
    elif further and report.COMPARES in os.environ:
        compared = _kept(Path(further).parent)
    else:
        compared = None
    # A flow does not wait for it: its results are new, and Prefect's page says it of results from the cache.
    champion = "" if there else _champion()
    found = facts.read(further=compared, environment=machine.of_these_results(made_here=made_here))
    return page(found, report.mark(Path()), champion)


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
