"""Asks stages what they need before they run: in a process of its own, which prints rows as JSON.

A stage's check is the module ``preflight`` in its folder. It is no part of the stage's own program, so that a change to
it makes no stage stale. It is started by name, as stages are: nothing here imports a stage.

`python -m stages.running.checks.asking STAGE ...` gets params.yaml as JSON on standard input, since a run with other
values has no file with them yet. All checks are in one process, as most of their time goes into imports that they
share. Each has a thread, so that a server that does not answer holds up no other check.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from stages.common.printable import printable
from stages.params import reading, whole
from stages.params.whole import Params
from stages.running import proxies, streams
from stages.running.checks.row import Row, guarded, warning

#: The stages that have a check.
CHECKED = ("judge", "download", "split", "finetune", "generate")
#: The longest time for the checks, in seconds, and before that for the process to start: a busy machine is no fault.
SECONDS = 8.0
_START_SECONDS = 60.0
_READY = "ready"
#: One thread prints at a time: `print` writes a line and its end apart, and half of another may come between.
_printing = threading.Lock()


def ask(
    root: Path,
    values: Mapping[str, object],
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
        seconds: longest time for all of them, once their process has started.
        after_problem: longest time for the rest once one has found a problem; None: as long as they have.
    """
    asked = [stage for stage in CHECKED if stage in stages]
    if not asked:
        return
    deadline = time.monotonic() + _START_SECONDS
    lines: queue.Queue[str | None] = queue.Queue()
    with _process(root, asked) as process:
        threading.Thread(target=_talk, args=(process, json.dumps(reading.plain(values)), lines), daemon=True).start()
        while True:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                yield from (warning(stage, "its check has not ended in time") for stage in asked)
                return
            if line is None:
                yield from (warning(stage, f"could not be checked: {_last_words(process)}") for stage in asked)
                return
            if line.strip() == _READY:
                deadline = time.monotonic() + seconds
            elif line.strip() in asked:
                asked.remove(line.strip())
                if not asked:
                    return
            if not line.startswith("{"):
                continue  # the name of a stage, or what a library says
            try:
                row = Row.model_validate_json(line)
            except ValidationError:
                row = warning("checks", f"a row of a check cannot be read: {line.strip()[:200]}")
            yield row
            if row.state == "problem" and after_problem is not None:
                deadline = min(deadline, time.monotonic() + after_problem)


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Rows in the order in which the stages run."""
    order = list(Params.model_fields)
    names = {"dataset": "download", "tokenizer": "download", "weights": "download", "checks": "download"}
    first = ((row.name.split()[0], row) for row in rows)
    return [row for _, row in sorted(first, key=lambda one: order.index(names.get(one[0], one[0])))]


@contextlib.contextmanager
def _process(root: Path, stages: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "stages.running.checks.asking", *stages],
        cwd=root,
        env=proxies.with_socks() | {"PYTHONIOENCODING": "utf-8"},
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


def _talk(process: subprocess.Popen[str], given: str, lines: queue.Queue[str | None]) -> None:
    """Give the process the values, and put what it prints into a queue, and then None."""
    assert process.stdin
    assert process.stdout
    with contextlib.suppress(OSError, ValueError):  # it has ended, or the asking has
        process.stdin.write(given)
        process.stdin.close()
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def _last_words(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    return (process.stderr.read().strip().splitlines() or [f"it ended with {process.wait()}"])[-1][:200]


def main() -> None:
    """Run the checks that the command line names, and print their rows, and each stage's name at its end."""
    params = whole.check(json.load(sys.stdin))
    # One after the other: of two threads that import, one may meet a library's module before it is complete.
    checks = [(stage, _loaded(stage, params)) for stage in sys.argv[1:]]
    _print(_READY)
    threads = [threading.Thread(target=_check, args=(*check, params)) for check in checks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.flush()
    os._exit(0)  # a look-up of a host's name may go on for long in a thread of a library


def _loaded(stage: str, params: Params) -> Callable[[Params], Iterator[Row]]:
    """A stage's check, ready to be called; one that cannot be loaded raises that error when it is called.

    A module may have a function ``prepare`` for large imports that only some values need.
    """
    try:
        module = runpy.run_module(f"stages.{stage}.preflight")
        if "prepare" in module:
            module["prepare"](params)
        found: Callable[[Params], Iterator[Row]] = module["rows"]
    except Exception as error:
        wrong = error

        def fail(_: Params) -> Iterator[Row]:
            raise wrong

        return fail
    return found


def _check(stage: str, rows: Callable[[Params], Iterator[Row]], params: Params) -> None:
    for row in guarded(stage, lambda: rows(params)):
        _print(row.model_dump_json())
    _print(stage)


def _print(line: str) -> None:
    with _printing:
        print(printable(line), flush=True)


if __name__ == "__main__":
    streams.prepare()
    main()
