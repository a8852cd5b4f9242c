"""`python -m tests.every_door`: run the pipeline by every door, and print a table of what came of it in Markdown.

It exits with 1 if a cell is wrong. Rows come to standard error one by one, and the whole table to standard output.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Generator
from pathlib import Path

from tests import printed_table
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
    doors = [door for door in DOORS if re.search(asked.only, f"{door.name}: {door.values}", re.IGNORECASE)]

    def rows(folder: Path) -> Generator[Row, None, None]:
        with made(folder) as project:
            yield from table.run(project, doors)

    return printed_table.run(
        "every-door",
        rows,
        told=lambda row: f"{'WRONG' if row.wrong else 'ok':<6} {row.seconds:5.0f} s  {table.line(row)}",
        markdown=table.markdown,
        wrong=lambda row: bool(row.wrong),
    )


if __name__ == "__main__":
    sys.exit(main())
