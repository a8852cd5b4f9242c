"""Sets the answers of runs side by side: `python -m stages.judge.runs.versus A B [C ...]`.

The judge of params.yaml sees both answers to each row, once in each order, and says which is better. A run is what
`stages.judge.runs.compare` takes: a folder, a git revision, a DVC experiment, or an MLflow run. Compared are the rows
that all runs have with one prompt and one reference; which others there are is said. Each run is set against each
other one. No question is asked that this judge has answered before, in a run of the pipeline either.

`--json FILE` writes all figures. With the built-in judge the command needs the train rows in artifacts/split.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path

from stages.common.errors import ConfigError
from stages.common.plurals import counted
from stages.common.printable import printable
from stages.common.records import ModelName, write_metrics
from stages.common.results.judge import JUDGE_CACHE, PairVerdict
from stages.judge.job import compare_answers, identified, kept_tests, marked
from stages.judge.judges.opening import open_judge
from stages.judge.judges.protocol import JudgeBackend
from stages.judge.runs.answers import Shared, shared
from stages.judge.runs.arguments import add_resampling
from stages.judge.runs.pairs import compared, corrected, wins_by_instruction
from stages.judge.runs.side_by_side import LETTERS, SideBySide, letters, table
from stages.judge.runs.sources import Run, find_all
from stages.judge.scores.bradley_terry import strengths
from stages.judge.self_test import pair_test
from stages.judge.thresholds import require_outcomes
from stages.params import whole
from stages.params.judge import Judge
from stages.running import console, program, writable
from stages.running.arguments import Parser

#: The verdicts of each pair of runs, by their indices.
_Verdicts = dict[tuple[int, int], list[PairVerdict]]


def main() -> None:
    """Compare the runs of the command line, print the table, and write the file that is asked for.

    Raises:
        PipelineError: a run cannot be had, or the judge cannot compare.
    """
    options = _arguments()
    settings = whole.load().judge
    model: ModelName = options.model
    runs = [run.of_answers() for word in options.runs for run in find_all(word)]
    _require_two(runs, options.runs)
    rows = shared(runs, model)
    if settings.panel:
        console.say("judge.panel is not asked: versus asks the first judge alone")
    _require_rows(runs, rows)
    with contextlib.closing(open_judge(settings)) as judge:
        comparing = judge.comparing()
        if comparing.cacheable:
            writable.require(JUDGE_CACHE)
        tested = pair_test(comparing, settings, kept_tests(comparing))
        verdicts = _judged(comparing, rows, len(runs), settings)
    figures = {"model": model, "resamples": options.resamples, "seed": options.seed}
    pairs = [compared(runs[a], runs[b], found, **figures) for (a, b), found in verdicts.items()]
    wins = wins_by_instruction(verdicts, len(runs))
    found = SideBySide(
        judge=marked(identified(comparing.identity()), tested.mark),
        self_test=tested,
        model=model,
        runs=[run.name for run in runs],
        rows=rows.counts,
        pairs=corrected(pairs),
        strengths=strengths(wins, resamples=options.resamples, seed=options.seed) if len(runs) > 2 else [],
        instructions=len(wins),
    )
    if options.json:
        write_metrics(options.json, found.written())
    print(printable(table(found)))
    for one in verdicts.values():
        require_outcomes(one, settings.max_invalid, file=None)


def _require_two(runs: Sequence[Run], words: Sequence[str]) -> None:
    """Refuse a single run, or more runs than there are letters for.

    Raises:
        ConfigError: there are.
    """
    if not 2 <= len(runs) <= len(LETTERS):
        raise ConfigError(
            f"{' '.join(words)}: expected 2 to {counted(len(LETTERS), 'run')}, found {len(runs)}",
            "python -m stages.judge.runs.versus A B",
        )


def _require_rows(runs: Sequence[Run], rows: Shared) -> None:
    """Refuse runs without a row in common.

    Raises:
        ConfigError: there is none.
    """
    if not rows.rows:
        names = ", ".join(run.name for run in runs)
        raise ConfigError(
            f"{names}: expected rows with one prompt and one reference in all runs, found none: "
            f"{rows.counts.left_out(letters(len(runs)))}",
            "name runs of one dataset and one split",
        )


def _judged(comparing: JudgeBackend, rows: Shared, runs: int, settings: Judge) -> _Verdicts:
    """The verdicts of every pair of runs, each of which is asked for in a progress bar of its own."""
    names = letters(runs)
    return {
        (a, b): compare_answers(comparing, rows.questions(a, b), settings, f"{names[a]} and {names[b]}")
        for a, b in itertools.combinations(range(runs), 2)
    }


def _arguments() -> argparse.Namespace:
    parser = Parser(
        prog="python -m stages.judge.runs.versus",
        description="Let the judge of params.yaml compare the answers of runs, two side by side.",
    )
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help=f"2 to {counted(len(LETTERS), 'run')}: paths, git revisions, experiments or MLflow runs; a pattern such "
        "as 'small-*', mlflow:FILTER and a run of make seeds mean several",
    )
    parser.add_argument("--model", default="tuned", choices=["tuned", "base"], help="whose answers (tuned)")
    add_resampling(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    program.run("versus", main)
