"""Compares runs, or groups of runs: `python -m stages.judge.runs.compare A B [C ...]`, or `A1 A2 ... vs B1 B2 ...`.

Without `vs` each of B, C, ... is compared with A. With it, the runs between two `vs` are a group: trainings of one
recipe that differ in finetune.seed, which is checked. Then the result allows for the noise of training seeds. A run is
a folder (a repository, or its artifacts/judge), a git revision, a DVC experiment, or an MLflow run (id, name). A
pattern such as 'small-*', `mlflow:` with a filter of MLflow, and a run of `make seeds` mean several runs.

`--json FILE` writes the comparisons as JSON, `--figure FILE` draws them. "No detectable difference" is a result: the
smallest true difference that so many rows and trainings would show stands beside it. The costs of each kind of fault
follow. Where the results of revision A are another machine's, the last other run in the folder or in MLflow takes its
place.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from stages.common.errors import ConfigError
from stages.common.printable import printable
from stages.common.records import write_metrics
from stages.judge.runs import group
from stages.judge.runs.arguments import add_resampling
from stages.judge.runs.group import Group
from stages.judge.runs.plot import plot
from stages.judge.runs.results import as_file, compare_groups
from stages.judge.runs.sources import NotHere, find_all, in_place_of
from stages.judge.runs.table import table
from stages.running import program
from stages.running.arguments import Parser

#: What stands between two groups.
VS = "vs"


def main() -> None:
    """Compare the runs of the command line, and print the table."""
    print(printable(told()))


def told(arguments: Sequence[str] | None = None) -> str:
    """Read the runs, compare them, and write the files that are asked for.

    Args:
        arguments: arguments of the program; those of the command line if None.

    Returns:
        The table, of one line a row.

    Raises:
        PipelineError: the arguments are wrong, or a run cannot be had or compared.
    """
    options = _arguments(arguments)
    note = ""
    first, *rest = _words(options.runs)
    missing: NotHere | None = None
    try:
        a = _found(first)
    except NotHere as error:
        if len(first) > 1:
            raise
        missing = error
    others = [_found(words) for words in rest]
    if missing:
        run, called = in_place_of(missing, [run for one in others for run in one.runs])
        a = dataclasses.replace(group.of_runs(run.name, [run]), name=called)
        note = f"note: {missing.what}\n  compared with {called}\n  to fix it: {missing.fix}\n\n"
    if options.last:
        others[-1] = _called(others[-1], options.last)
    groups = [a, *others]
    for one in others:
        group.require_apart(a, one)
    if options.model == "tuned":
        groups = [group.with_known(one) for one in groups]
    found = compare_groups(groups, model=options.model, resamples=options.resamples, seed=options.seed)
    if options.json:
        write_metrics(options.json, as_file(found, options.model))
    if options.figure:
        plot(options.figure, found)
    return note + table(found)


def _words(given: Sequence[str]) -> list[list[str]]:
    """The words of each group: without `vs` every word is a group of its own.

    Raises:
        ConfigError: there are no two groups.
    """
    if VS not in given:
        groups = [[word] for word in given]
    else:
        groups = [[]]
        for word in given:
            if word == VS:
                groups.append([])
            else:
                groups[-1].append(word)
    if len(groups) < 2 or not all(groups):
        raise ConfigError(
            f"{' '.join(given)}: expected two runs, or groups with {VS} between them",
            f"python -m stages.judge.runs.compare A1 A2 {VS} B1 B2",
        )
    return groups


def _found(words: Sequence[str]) -> Group:
    """The group that some words of the command line mean; errors as `find_all` and `group.of_runs`."""
    return group.of_runs(" ".join(words), [run for word in words for run in find_all(word)])


def _called(one: Group, name: str) -> Group:
    """A group under another name, and with it the run that is all of it."""
    runs = (dataclasses.replace(one.runs[0], name=name),) if len(one.runs) == 1 else one.runs
    return dataclasses.replace(one, name=name, runs=runs)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    told = "Compare the scores of runs, or of groups of runs, row by row."
    parser = Parser(prog="python -m stages.judge.runs.compare", description=told)
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help="A and the runs to compare with it: paths, git revisions, experiments or MLflow runs; or groups of runs "
        "of one recipe, with vs between them; a pattern such as 'small-*', mlflow:FILTER and a run of make seeds mean "
        "several runs",
    )
    parser.add_argument("--model", default="tuned", choices=["tuned", "base"], help="whose answers (tuned)")
    parser.add_argument("--as", dest="last", metavar="NAME", help="what to call the last run (as it was given)")
    add_resampling(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparisons as JSON")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the differences with their intervals as PNG")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    program.run("compare", main)
