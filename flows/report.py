"""Make the report of a run, as a program: `python -m flows.report [RUN] [--to FILE]`.

It replaces this process by `stages.judge.report`: flows imports no stage.
"""

from __future__ import annotations

import os
import sys

from flows.tool_settings import set_defaults
from stages.running import program, report


def main() -> None:
    """Become the program."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", report.PROGRAM, *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    set_defaults()
    program.run("report", main)
