"""`python -m tests.every_door`: run the pipeline by every door, and print a table of what came of it in Markdown.

It exits with 1 if a cell is wrong. Rows come to standard error one by one, and the whole table to standard output.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.every_door import table
from tests.every_door.doors import DOORS
from tests.every_door.project import made
from tests.every_door.table import Row


def main() -> int:
    """Print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.every_door", description=__doc__)
    parser.add_argument(
        "--only", metavar="PATTERN", default="", help="runs whose door or values have this regular expression"
    )
    asked = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a job in the background would not be asked to clean up
        signal.signal(number, _stop)
    doors = [door for door in DOORS if re.search(asked.only, f"{door.name}: {door.values}", re.IGNORECASE)]
    folder = Path(tempfile.mkdtemp(prefix="every-door-"))
    rows: list[Row] = []
    began = time.monotonic()
    try:
        with made(folder) as project:
            for row in table.run(project, doors):
                rows.append(row)
                told = f"{'WRONG' if row.wrong else 'ok':<6} {row.seconds:5.0f} s  {table.line(row)}"
                print(told, file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        print(table.markdown(rows))
        print(f"\n{(time.monotonic() - began) / 60:.1f} minutes")
    return int(not rows or any(row.wrong for row in rows))


def _stop(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
