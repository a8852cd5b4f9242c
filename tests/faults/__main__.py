"""`python -m tests.faults`: inject every fault, kill runs in chains, and print a table of what came of it.

It exits with 1 if a row is FAIL. Rows come to standard error one by one, and the whole table to standard output.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

from tests import printed_table
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

    def rows(folder: Path) -> Generator[Row, None, None]:
        with Templates(folder) as templates:
            yield from _rows(Bench(templates, Truth(), asked.seed), asked)

    return printed_table.run(
        "faults",
        rows,
        told=lambda row: f"{row.result:<8} {row.seconds:5.0f} s  {row.fault} ({row.door}): {row.seen}",
        markdown=table.markdown,
        wrong=lambda row: row.result == table.FAIL,
        note=f"seed {asked.seed}, ",
    )


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
