"""How time and peak memory grow with processes, rows, context, model size and judged answers.

The project's own stages run in temporary folders, each in a process of its own, one after the other. A run of all parts
writes performance.md and its plot; with --only the tables are printed, and no page is written.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import importlib.metadata
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import psutil

from benchmarks import child
from benchmarks.arguments import at_least, names_of
from benchmarks.contenders import say
from benchmarks.scaling import data_parts, page, picture, training_parts
from benchmarks.scaling.figures import Part, PartName, Point, Report
from benchmarks.scaling.tables import HEADINGS, table
from stages.common import cores
from stages.common.errors import ConfigError, TemporaryFailure
from stages.common.files import atomic_file, read_text, write_json
from stages.running import made_on
from stages.running.arguments import Parser
from stages.running.signals import Interrupted, raise_at_once

COMMAND = "python -m benchmarks.scaling"
PAGE, PICTURE = "performance.md", "images/performance.png"
#: Sizes of each part, of which --brief leaves out the largest; processes are few, and stay.
PROCESSES = (1, 2, 4)
ROWS_MOST = 100_000
CONTEXTS = (64, 128, 256, 512, 1024)
MODELS = tuple(training_parts.SIZES)
ANSWERS = (200, 2_000, 20_000)

Measure = Callable[[Path], tuple[list[Point], list[str]]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write what is asked for."""
    options = parser().parse_args(arguments)
    if not options.only:
        read_page(options.docs)  # before ten minutes are spent
    if options.json and not options.json.absolute().parent.is_dir():
        raise ConfigError(f"--json {options.json}: no such folder", f"mkdir -p {options.json.parent}")
    raise_at_once()
    report = Report(str(datetime.date.today()), machine(), cores.available(), [], options.brief)
    try:
        for name, measure in parts_of(options).items():
            say(f"measuring: {HEADINGS[name]}")
            report.parts.append(one_part(name, measure))
            print("\n".join(["", f"### {HEADINGS[name]}", "", *table(report.parts[-1])]), flush=True)
            if options.json:
                write_json(options.json, asdict(report))
    except Interrupted as stopped:
        left = "the page is as it was, and what is printed above is all that was measured"
        raise TemporaryFailure(f"stopped by {stopped}; {left}", "run the same command again") from None
    print("\n".join(["", *page.made_on(report)]))
    if not options.only:
        write_page(options.docs, report)


def parser() -> Parser:
    """The program's arguments."""
    names = get_args(PartName)
    made = Parser(prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", type=names_of(names), default=[], help=f"any of {','.join(names)}")
    made.add_argument("--brief", action="store_true", help="without the largest sizes, which take most of the time")
    made.add_argument(
        "--rows-most", type=at_least(1000), default=ROWS_MOST, help="most rows: 1,000, ten times that, ..."
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="file for the figures, written after each part")
    made.add_argument("--docs", type=Path, default=child.ROOT / "docs", help=f"folder of {PAGE} and {PICTURE}")
    return made


def parts_of(options: argparse.Namespace) -> dict[PartName, Measure]:
    """How each part that is asked for is measured, by its name."""

    def but_largest(sizes: Sequence[Any]) -> Sequence[Any]:
        return sizes[:-1] if options.brief else sizes

    found: dict[PartName, Measure] = {
        "processes": functools.partial(training_parts.processes, counts=PROCESSES),
        "rows": functools.partial(data_parts.rows, counts=but_largest(tens(options.rows_most))),
        "context": functools.partial(training_parts.context, lengths=but_largest(CONTEXTS)),
        "model": functools.partial(training_parts.model, names=but_largest(MODELS)),
        "judging": functools.partial(data_parts.judging, counts=but_largest(ANSWERS)),
    }
    return {name: measure for name, measure in found.items() if not options.only or name in options.only}


def tens(most: int) -> list[int]:
    """1,000 and ten times the one before, up to ``most``."""
    found = [1000]
    while found[-1] * 10 <= most:
        found.append(found[-1] * 10)
    return found


def one_part(name: PartName, measure: Measure) -> Part:
    """Measure a part in a temporary folder, and how busy other processes are meanwhile."""
    started, busy, own = time.perf_counter(), _busy_seconds(), _own_seconds()
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        points, left_out = measure(Path(folder, "project"))
    seconds = time.perf_counter() - started
    others = (_busy_seconds() - busy - (_own_seconds() - own)) / seconds
    return Part(name, points, seconds, max(0.0, others), left_out)


def _busy_seconds() -> float:
    """CPU seconds that all processes have used since the machine was started."""
    times = psutil.cpu_times()
    # Linux counts the time of processes of low priority apart.
    return float(times.user + getattr(times, "nice", 0.0) + times.system)


def _own_seconds() -> float:
    """CPU seconds of this process, and of those that it has started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def machine() -> str:
    """Hardware and versions, in words."""
    processor = made_on.processor()
    there = cores.available()
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{there} core{'s' * (there != 1)} ({processor['processor']}, {processor['capability']}"
        f"{', AMX' if any(unit.startswith('amx') for unit in processor['units']) else ''}), {memory:.0f} GiB, "
        f"{platform.system()}, Python {platform.python_version()}, torch {importlib.metadata.version('torch')}"
    )


def read_page(docs: Path) -> str:
    """The page as it is.

    Raises:
        DataError: it is missing, or has no marks.
    """
    path = docs / PAGE
    text = read_text(path, made_by=f"git checkout {path}")
    page.replaced(text, "", name=str(path))
    return text


def write_page(docs: Path, report: Report) -> None:
    """Write the plot, and the part of the page between its marks; errors as `read_page`."""
    path = docs / PAGE
    made = page.replaced(read_page(docs), page.between(report, PICTURE), name=str(path))
    (docs / PICTURE).parent.mkdir(exist_ok=True)
    picture.draw(docs / PICTURE, report.parts)
    with atomic_file(path) as stream:
        stream.write(made)
    print(f"written: {path}, {docs / PICTURE}", file=sys.stderr)


if __name__ == "__main__":
    child.run(main)
