"""Compares runs: `python -m stages.judge.runs.compare A B [C ...]`, each of B, C, ... against A.

A run is a folder (a repository, or its artifacts/judge), a git revision, a DVC experiment, or an MLflow run (id, name).
`--json FILE` writes the comparisons as JSON, `--figure FILE` draws them. "No detectable difference" is a result: the
smallest true difference that so many rows would show stands beside it. The costs of each kind of fault follow. Where
the results of revision A are another machine's, the last other run in the folder or in MLflow takes its place.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

from stages.common.printable import printable
from stages.common.records import write_metrics
from stages.judge.runs.plot import plot
from stages.judge.runs.results import as_file, compare_runs
from stages.judge.runs.sources import NotHere, find_run, in_place_of
from stages.judge.runs.table import table
from stages.running import program


def main() -> None:
    """Read the runs, compare them, and print the table."""
    options = _arguments()
    missing: NotHere | None = None
    try:
        first = find_run(options.a)
    except NotHere as error:
        missing = error
    others = [find_run(name) for name in options.others]
    if missing:
        first = in_place_of(missing, others)
        note = f"note: {missing.what}\n  compared with {first.name}\n  to fix it: {missing.fix}"
        print(printable(f"{note}\n"))
    if options.last:
        others[-1] = dataclasses.replace(others[-1], name=options.last)
    runs = [first, *others]
    found = compare_runs(runs, model=options.model, resamples=options.resamples, seed=options.seed)
    print(printable(table(found)))
    if options.json:
        write_metrics(options.json, as_file(found, options.model))
    if options.figure:
        plot(options.figure, found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the scores of runs, row by row.")
    parser.add_argument(
        "a", metavar="A", help="the run to compare with: a path, git revision, experiment or MLflow run"
    )
    parser.add_argument("others", metavar="B", nargs="+", help="the runs to compare with it")
    parser.add_argument("--model", default="tuned", choices=["tuned", "base"], help="whose answers (tuned)")
    parser.add_argument("--as", dest="last", metavar="NAME", help="what to call the last run (as it was given)")
    parser.add_argument(
        "--resamples",
        type=_from(100),
        default=10_000,
        help="resamples of the bootstrap and the permutation test (10000)",
    )
    parser.add_argument("--seed", type=_from(0), default=123, help="seed of both (123)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparisons as JSON")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the differences with their intervals as PNG")
    return parser.parse_args()


def _from(least: int) -> Callable[[str], int]:
    """A whole number of at least ``least``, as argparse reads it."""

    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, found {text}")
        return int(text)

    return whole


if __name__ == "__main__":
    program.run("compare", main)
