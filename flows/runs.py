"""The runs of this project, the newest first: `python -m flows.runs [--json] [-n N] [--all]`.

One line for each execution, by whichever door, and below it the values that differ from params.yaml of its commit. They
are read from MLflow. Where its server is away, they are those of mlflow.db in this folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from flows.tool_settings import set_defaults
from stages.common.plurals import counted
from stages.common.printable import printable
from stages.common.secrecy import hidden
from stages.params.differences import ABSENT, differences, shown
from stages.running import committed, program, project, report, streams
from stages.running.arguments import Parser, whole_number
from stages.running.console import WIDTH, say
from stages.running.tracking import links, listing, metric_names
from stages.running.tracking.listing import Listing, Run

#: Runs that are shown unless more are asked for.
MOST = 20
#: The fewest columns of a line, and `console.WIDTH` where the terminal does not say.
LEAST_WIDTH = 80
_INDENT = "    "

#: What the table has of a run, by the head of its column; what a run lacks is a dash.
_HEADS = ("started", "run", "door", "state", "val. loss", "right", "score of 100 [95 %]", "judge", "commit")
#: Columns that a narrow terminal lacks, in the order in which they go. In 120 characters there is always room for the
#: judge: what a score says depends on who gave it.
_LEFT_OUT_FIRST = ("door", "commit", "val. loss", "judge")
#: Characters that a cell may take, by column: longer ones are cut.
_MOST_OF = {"run": 32, "judge": 14}
#: Characters that are left of a run's name, of which columns are left out only where that is not enough.
_LEAST_NAME = 12
_LINES_OF_A_REASON = 2


def main() -> None:
    """Print the runs, and what was in the way of reading them.

    Raises:
        ConfigError: the working directory is no project's.
    """
    asked = _arguments()
    root = Path.cwd()
    project.require(root)
    found = listing.listed(root, None if asked.all else asked.n)
    changed = Differences(root)
    if asked.json:
        with streams.results():
            print(printable(json.dumps(as_json(found, changed), indent=2)))
        return
    for note in found.notes:
        print(printable(f"runs: {note}"), file=sys.stderr, flush=True)
    with streams.results():
        _print(root, found, changed)


def _print(root: Path, found: Listing, changed: Differences) -> None:
    if not found.runs:
        say(f"no runs at {found.source}: make run makes one" if found.source else "no runs: make run makes one")
        return
    width = max(LEAST_WIDTH, shutil.get_terminal_size((WIDTH, 0)).columns)
    for line in table(found.runs, changed, width):
        print(printable(line))
    for line in of_data(found.runs):
        say(line)
    if found.more:
        say(f"the newest {len(found.runs)}; -n N shows N, and --all shows all")
    for line in reports(root):
        say(line)


def _arguments() -> argparse.Namespace:
    parser = Parser(prog="python -m flows.runs", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the runs as JSON, with ids and all metrics")
    parser.add_argument(
        "-n", type=whole_number(1), default=MOST, metavar="N", help="show the newest N (default: %(default)s)"
    )
    parser.add_argument("--all", action="store_true", help="show all runs")
    return parser.parse_args()


class Differences:
    """How the values of runs differ from those of params.yaml in their commits.

    Args:
        root: folder of the project, in a git repository.
        values: function that gives the tree of params.yaml in a commit; None where it is not known here.
    """

    def __init__(self, root: Path, values: Callable[[Path, str], Mapping[str, Any] | None] = committed.values) -> None:
        self._root, self._values = root, values
        self._committed: dict[str, Mapping[str, Any] | None] = {}

    def of(self, run: Run) -> dict[str, str] | None:
        """The values that differ, by dotted key; None where the commit is not known here."""
        commit = run.commit
        if commit not in self._committed:
            self._committed[commit] = self._values(self._root, commit) if commit else None
        there = self._committed[commit]
        if there is None:
            return None
        found = differences(there, run.values)
        return {key: shown(there) for key, _, there in found if there is not ABSENT}


def table(runs: Sequence[Run], changed: Differences, width: int) -> Iterator[str]:
    """The lines of the table.

    Args:
        runs: at least one run.
        changed: their differences from their commits.
        width: characters of a line. Where it is too short the names are cut, and then the columns of what a person
            reads last are left out.
    """
    heads = list(_HEADS)
    rows = [_cells(run) for run in runs]
    for head in _LEFT_OUT_FIRST:
        if _width_of(heads, [row | {"run": _cut(row["run"], _LEAST_NAME)} for row in rows]) > width:
            heads.remove(head)
    excess = max(0, _width_of(heads, rows) - width)
    name = max(_LEAST_NAME, max(len(row["run"]) for row in rows) - excess)
    rows = [row | {"run": _cut_within(row["run"], name)} for row in rows]
    widths = {head: max(len(head), *(len(row[head]) for row in rows)) for head in heads}
    yield "  ".join(f"{head:<{widths[head]}}" for head in heads).rstrip()
    for run, row in zip(runs, rows, strict=True):
        yield "  ".join(f"{row[head]:<{widths[head]}}" for head in heads).rstrip()
        yield from _reason(run, width)
        if run.champion:
            yield printable(f"{_INDENT}the champion: {run.champion}")
        if run.judge_mark:
            yield printable(f"{_INDENT}WARNING: the judge: {run.judge_mark.upper()}")
        yield from _values(changed.of(run), width)


def of_data(runs: Sequence[Run]) -> Iterator[str]:
    """That the scores are of several datasets, where they are."""
    known = [run.values["download"].get("data") for run in runs if _score(run.metrics) and "download" in run.values]
    if (count := len({json.dumps(data, sort_keys=True, default=str) for data in known})) > 1:
        yield f"these scores are of {count} datasets (download.data): those of other test rows are not comparable"


def reports(root: Path) -> Iterator[str]:
    """Where the report of the results in the folder is, and how that of any run is had."""
    if report.is_current(root):
        yield f"report of {' '.join(links.name_lines(root)) or 'the results here'}: {report.REPORT}"
    yield "report of a run: python -m flows.report RUN"


def _cells(run: Run) -> dict[str, str]:
    started = datetime.fromtimestamp(run.started / 1000).astimezone()
    # Before it ends, a training has losses on the way alone.
    ended = run.state == "finished"
    loss = run.metrics.get(metric_names.KEPT_LOSS, run.metrics.get(metric_names.VAL_LOSS) if ended else None)
    commit = run.commit[:7] + ("*" if run.tags.get("git.dirty") == "true" else "")
    cells = {
        "started": f"{started:%y-%m-%d %H:%M}",
        "run": run.short_name,
        "door": run.door,
        "state": run.state,
        "val. loss": "" if loss is None else f"{loss:z.3f}",
        "right": _right(run.metrics),
        "score of 100 [95 %]": _score(run.metrics),
        "judge": run.judge,
        "commit": commit,
    }
    plain = {head: " ".join(printable(text).split()) or "-" for head, text in cells.items()}
    cut = {head: _cut_within if head == "run" else _cut for head in plain}
    return {head: cut[head](text, _MOST_OF.get(head, 99)) for head, text in plain.items()}


def _score(metrics: Mapping[str, float]) -> str:
    of_interval = (metric_names.SCORE, metric_names.SCORE_LOWER, metric_names.SCORE_UPPER)
    mean, low, high = (metrics.get(name) for name in of_interval)
    if mean is None:
        return _score_of_seeds(metrics)
    return _with_ends(mean, low, high)


def _score_of_seeds(metrics: Mapping[str, float]) -> str:
    """The mean score of a group of trainings, and their number; nothing of a run that is none."""
    trainings, mean = metrics.get(metric_names.SEEDS), metrics.get(metric_names.SEEDS_SCORE)
    if trainings is None or mean is None:
        return ""
    ends = (metrics.get(name) for name in (metric_names.SEEDS_SCORE_LOWER, metric_names.SEEDS_SCORE_UPPER))
    return f"{_with_ends(mean, *ends)}, {counted(round(trainings), 'seed')}"


def _with_ends(mean: float, low: float | None, high: float | None) -> str:
    return f"{mean:z.1f}" + ("" if low is None or high is None else f" [{low:z.1f}, {high:z.1f}]")


def _right(metrics: Mapping[str, float]) -> str:
    """How many answers are right; nothing where the judge does not say so."""
    right, of = metrics.get(metric_names.RIGHT_N), metrics.get(metric_names.RIGHT_OF)
    return "" if right is None or of is None else f"{right:.0f} of {of:.0f}"


def _values(found: Mapping[str, str] | None, width: int) -> list[str]:
    """The lines with the values of a run that differ, which are broken between two of them."""
    if not found:
        return []
    items = [f"{key}={value}".replace(" ", chr(0xA0)) for key, value in found.items()]
    lines = textwrap.wrap(
        printable(" ".join(items)),
        width,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_on_hyphens=False,
    )
    return [line.replace(chr(0xA0), " ") for line in lines]


def _width_of(heads: Sequence[str], rows: Sequence[Mapping[str, str]]) -> int:
    return sum(max(len(head), *(len(row[head]) for row in rows)) + 2 for head in heads) - 2


def _reason(run: Run, width: int) -> list[str]:
    """The lines that say why a run was broken off, as far as MLflow knows."""
    if not run.ended or run.state not in ("failed", "killed"):
        return []
    said = " ".join(printable(hidden(run.ended)).split())
    return textwrap.wrap(
        f"{run.state}: {said}",
        width,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        max_lines=_LINES_OF_A_REASON,
        placeholder=" …",
        break_on_hyphens=False,
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _cut_within(text: str, most: int) -> str:
    """A text cut in its middle: the end of a run's name tells it from its neighbours, as -seed-124 does.

    >>> _cut_within("arboreal-barnacle-seed-124", 16)
    'arborea…seed-124'
    """
    last = most // 2
    return text if len(text) <= most else f"{text[: most - 1 - last]}…{text[-last:]}"


def as_json(found: Listing, changed: Differences) -> dict[str, object]:
    """The runs with everything that the table leaves out."""
    return {
        "source": found.source,
        "notes": found.notes,
        "more": found.more,
        "runs": [
            {
                "name": run.name,
                "short_name": run.short_name,
                "run_id": run.run_id,
                "started": datetime.fromtimestamp(run.started / 1000).astimezone().isoformat(timespec="seconds"),
                "door": run.door,
                "state": run.state,
                "ended": hidden(run.ended) or None,
                "commit": run.commit or None,
                "dirty": {"true": True, "params": False, "false": False}.get(run.tags.get("git.dirty", "")),
                "differs": changed.of(run),
                "judge": run.judge or None,
                "judge_mark": run.judge_mark or None,
                "champion": run.champion or None,
                "metrics": {name: value + 0.0 for name, value in sorted(run.metrics.items())},
            }
            for run in found.runs
        ],
    }


if __name__ == "__main__":
    set_defaults()
    program.run("runs", main)
