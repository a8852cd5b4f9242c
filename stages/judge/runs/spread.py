"""How much trainings of one recipe differ: `python -m stages.judge.runs.spread RUN RUN [...]`, a line for each.

The runs are named as for `stages.judge.runs.compare`, and are of one recipe with different seeds. Below them are the
recipe's mean with an interval over seeds and instructions, the noise of seeds, and the difference of two recipes that
so many trainings of each would find. `--json FILE` writes the figures. `python -m flows.seeds N` makes such runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.common.errors import ConfigError
from stages.common.plurals import counted
from stages.common.printable import printable
from stages.common.records import Metrics, write_metrics
from stages.judge.runs import group
from stages.judge.runs.comparison import POWER, SeedNoise, scores_on
from stages.judge.runs.group import Group
from stages.judge.runs.sources import find_all
from stages.judge.scores import two_level
from stages.judge.scores.bootstrap import LEAST
from stages.judge.scores.figures import rounded
from stages.judge.scores.statistics import SCALE
from stages.judge.scores.two_level import Estimate
from stages.running import program
from stages.running.arguments import Parser

#: Decimal places in the JSON file.
PLACES = 6


class Training(Metrics):
    """One training: its name, its seed and the mean of its scores on the rows that all trainings have scored."""

    name: str
    seed: int | None
    mean: float


class Spread(Metrics):
    """Trainings of one recipe, in points; what too few rows cannot say is None.

    Args:
        trainings: the trainings.
        n: rows that all of them have scored.
        clusters: different instructions among the rows.
        mean: mean over trainings and rows.
        low: lower end of its 95 % interval, over seeds and instructions, cut at 0 and 100.
        high: upper end of this interval.
        seeds: how much the trainings differ.
        detectable: the smallest true difference of two recipes that so many trainings of each, on these rows, would
            find about 3 times in 4, at best: where both do equally well on each instruction.
    """

    trainings: list[Training]
    n: int
    clusters: int
    mean: float
    low: float | None
    high: float | None
    seeds: SeedNoise
    detectable: float | None


def main() -> None:
    """Read the runs, and print how much they differ."""
    options = _arguments()
    text, figures = told(options.runs)
    print(printable(text))
    if options.json:
        write_metrics(options.json, figures)


def told(words: Sequence[str]) -> tuple[str, Spread]:
    """The table of some trainings, and its figures.

    Args:
        words: runs of one recipe, as for `stages.judge.runs.compare`.

    Raises:
        PipelineError: a run cannot be had, or they cannot be one group.
    """
    runs = [run for word in words for run in find_all(word)]
    found = group.of_runs(" ".join(words), runs)
    spread = spread_of(found)
    text = "\n".join([*_doubts(found), *(f"note: {note}" for note in found.notes), *table(spread)])
    return printable(text), _written(spread)


def _doubts(found: Group) -> list[str]:
    """The marks of a judge that is not to be believed."""
    marks = dict.fromkeys(run.judge.mark for run in found.runs if run.judge.mark)
    return [f"WARNING     the judge: {mark.upper()}" for mark in marks]


def _arguments() -> argparse.Namespace:
    told = "Say how much trainings of one recipe differ."
    parser = Parser(prog="python -m stages.judge.runs.spread", description=told)
    parser.add_argument("runs", metavar="RUN", nargs="+", help="runs of one recipe, as for stages.judge.runs.compare")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    return parser.parse_args()


def spread_of(found: Group) -> Spread:
    """How much the trainings of a group differ.

    Raises:
        ConfigError: it has fewer than two trainings, or they share fewer than two instructions.
    """
    scores, clusters = scores_on([run.of("tuned") for run in found.runs])
    seeds = two_level.seeds_of([(scores, clusters)])
    if seeds is None:
        what = (
            f"{found.name}: {counted(len(found.runs), 'training')}, with {counted(len(set(clusters)), 'instruction')}"
        )
        raise ConfigError(f"{what} that all have: expected two of each at least", "python -m flows.seeds 5")
    count = len(set(clusters))
    estimate: Estimate | None = two_level.mean(scores, clusters, seeds) if count >= LEAST else None
    low, high = estimate.interval(SCALE) if estimate else (None, None)
    means = scores.mean(axis=1)
    return Spread(
        trainings=[
            Training(name=run.name, seed=run.seed, mean=float(mean))
            for run, mean in zip(found.runs, means, strict=True)
        ],
        n=len(clusters),
        clusters=count,
        mean=float(np.mean(means)),
        low=low,
        high=high,
        seeds=SeedNoise.of(seeds),
        detectable=two_level.least_detectable(seeds, len(found.runs), POWER) if estimate else None,
    )


def table(found: Spread) -> list[str]:
    """The lines that show it."""
    width = max(len(str(one.seed)) for one in found.trainings)
    lines = [
        f"{'' if index else 'trainings':<12}seed {one.seed!s:>{width}}   {one.mean:5.1f} of 100 points   {one.name}"
        for index, one in enumerate(found.trainings)
    ]
    interval = f"[{found.low:.1f}, {found.high:.1f}]" if found.low is not None and found.high is not None else ""
    rows = f"{counted(found.n, 'row')} of {counted(found.clusters, 'instruction')}"
    over = f" {interval}, 95 % interval over seeds and instructions" if interval else f", no interval: {_why(found)}"
    lines.append(f"mean        {found.mean:.1f} of 100 points{over}, on {rows}")
    lines.append(
        f"seeds       trainings differ by {found.seeds.sd:.1f} points (standard deviation), by "
        f"{found.seeds.sd_beyond_rows:.1f} beyond what these rows explain"
    )
    if found.detectable is not None:
        each = counted(len(found.trainings), "training")
        lines.append(
            f"detectable  between two recipes with {each} each: {found.detectable:.1f} points, "
            "at best, about 3 times in 4"
        )
    elif interval:
        lines.append("detectable  not known: it takes four trainings of each recipe")
    return lines


def _why(found: Spread) -> str:
    """Why a mean has no interval."""
    if found.clusters < LEAST:
        return f"{found.clusters} of the {LEAST} instructions that it takes"
    return "the scores do not vary"


def _written(found: Spread) -> Spread:
    trainings = [rounded(one, PLACES) for one in found.trainings]
    return rounded(found, PLACES).model_copy(update={"trainings": trainings})


if __name__ == "__main__":
    program.run("spread", main)
