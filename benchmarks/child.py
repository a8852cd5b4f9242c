"""What is measured runs in a process of its own: its peak memory is its own, and no other library is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stages.common.errors import PipelineError
from stages.running import streams

ROOT = Path(__file__).resolve().parent.parent

#: The last lines of a child's output that the message of its failure quotes.
LAST_LINES = 3


class ChildFailed(PipelineError):
    """A process ended with an error; the message quotes the end of its output."""

    def __init__(self, module: str, returncode: int, said: Sequence[str]) -> None:
        how = f"killed by signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
        super().__init__(f"{module}: {how}: {' / '.join(said[-LAST_LINES:]) or 'no output'}")


def start(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
    """Run ``python -m MODULE ARGUMENTS`` from the repository root to its end.

    Args:
        module: a module of this package.
        arguments: arguments of the program.
        environment: variables that are added to those of this process.

    Raises:
        ChildFailed: the process ended with an error.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = [line.rstrip() for line in done.stdout.splitlines() if line.strip()]
        raise ChildFailed(module, done.returncode, said)


def run(main: Callable[[], None]) -> None:
    """Run a child's ``main``; an error that is told in one message is told without a traceback."""
    streams.prepare()
    try:
        main()
    except PipelineError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
