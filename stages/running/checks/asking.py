"""Asks stages what they need before they run: each in a process of its own, which prints its rows as JSON.

A stage's check is the module ``preflight`` in its folder, whose ``main`` is `answer`. It is no part of the stage's own
program, so that it makes no stage stale. It gets params.yaml as JSON on standard input: a run with other values has no
file with them yet.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.params import reading, whole
from stages.params.whole import Params
from stages.running import proxies, streams
from stages.running.checks.row import Row, guarded, warning

#: The stages that have a check, and the longest time for its answer, in seconds.
CHECKED = ("download", "finetune", "generate", "judge")
SECONDS = 8.0


def answer(stage: str, rows: Callable[[Params], Iterator[Row]]) -> None:
    """Print the rows of a stage's check; by hand, with nothing on standard input, for params.yaml as it is."""
    streams.prepare()
    given = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()

    def check() -> Iterator[Row]:
        yield from rows(whole.check(json.loads(given)) if given.strip() else whole.load())

    for row in guarded(stage, check):
        print(row.model_dump_json(), flush=True)


def ask(
    root: Path,
    values: Mapping[str, Any],
    stages: Sequence[str],
    *,
    seconds: float = SECONDS,
    after_problem: float | None = None,
) -> Iterator[Row]:
    """The rows of some stages' checks, as they come. Checks that are still at work when the caller stops are ended.

    Args:
        root: folder that the checks run in.
        values: params.yaml, as a tree.
        stages: names of the stages; those without a check are passed over.
        seconds: longest time for all of them.
        after_problem: longest time for the rest once one has found a problem; None: as long as they have.
    """
    asked = [stage for stage in stages if stage in CHECKED]
    given = json.dumps(reading.plain(values))
    answers: queue.Queue[Row | None] = queue.Queue()
    with contextlib.ExitStack() as stack:
        deadline = time.monotonic() + seconds
        processes = {stage: stack.enter_context(_process(root, stage)) for stage in asked}
        for stage, process in processes.items():
            threading.Thread(target=_read, args=(stage, process, given, answers), daemon=True).start()
        for _ in asked:
            while True:
                try:
                    row = answers.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    slow = [stage for stage, process in processes.items() if process.poll() is None]
                    yield from (warning(stage, "its check has not ended in time") for stage in slow)
                    return
                if row is None:
                    break
                yield row
                if row.state == "problem" and after_problem is not None:
                    deadline = min(deadline, time.monotonic() + after_problem)


@contextlib.contextmanager
def _process(root: Path, stage: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}.preflight"],
        cwd=root,
        env=proxies.with_socks(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _read(stage: str, process: subprocess.Popen[str], given: str, answers: queue.Queue[Row | None]) -> None:
    """Put the rows of a check into a queue, and then None."""
    try:
        said, errors = process.communicate(given)
        for line in said.splitlines():
            answers.put(Row.model_validate_json(line))
        if process.returncode > 0:
            last = (errors.strip().splitlines() or ["no message"])[-1]
            answers.put(warning(stage, f"could not be checked: {last[:200]}"))
    except (OSError, ValueError, ValidationError) as error:
        answers.put(warning(stage, f"could not be checked: {' '.join(str(error).split())[:200]}"))
    finally:
        answers.put(None)
