"""`python -m tests.faults`: inject every fault, kill runs in chains, and print a table of what came of it.

It exits with 1 if a row is FAIL. Rows come to standard error one by one, and the whole table to standard output.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.faults import catalogue, chains, table, tested
from tests.faults.clones import Templates, ended
from tests.faults.table import Bench, Row
from tests.faults.truth import Truth


def main() -> int:
    """Print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", metavar="PATTERN", default="", help="faults whose name has this regular expression")
    parser.add_argument("--kills", type=int, default=25, help="kills in chains over the doors; 0 for none")
    parser.add_argument("--seed", type=int, default=0, help="seed of the doors and the moments of the kills")
    asked = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a job in the background would not be asked to clean up
        signal.signal(number, _stop)
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    rows: list[Row] = []
    began = time.monotonic()
    try:
        with Templates(folder) as templates:
            for row in _rows(Bench(templates, Truth(), asked.seed), asked):
                rows.append(row)
                told = f"{row.result:<8} {row.seconds:5.0f} s  {row.fault} ({row.door}): {row.seen}"
                print(told, file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table.markdown(rows))
    print(f"\nseed {asked.seed}, {(time.monotonic() - began) / 60:.1f} minutes")
    return int(not rows or any(row.result == table.FAIL for row in rows))


def _stop(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _rows(bench: Bench, asked: argparse.Namespace) -> Iterator[Row]:
    """All rows whose name has the pattern."""
    wanted = re.compile(asked.only, re.IGNORECASE)
    faults = [fault for fault in catalogue.FAULTS if wanted.search(fault.name)]
    others = [fault for fault in tested.FAULTS if wanted.search(fault.name)]
    kills = asked.kills if wanted.search("kill") else 0
    if faults or kills:
        with ended(bench.templates.finished()) as undisturbed:
            bench.truth.learn(undisturbed)
    if kills or any("isolated" in fault.door for fault in faults):
        bench.learn(chains.ISOLATED)
    yield from table.run(faults, bench)
    yield from tested.run(others)
    yield from chains.run(bench, kills)


if __name__ == "__main__":
    sys.exit(main())
