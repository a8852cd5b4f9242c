"""Asks stages what they need before they run: in a process of its own, which prints rows as JSON.

A stage's check is the module ``preflight`` in its folder. It is no part of the stage's own program, so that a change to
it makes no stage stale. It is started by name, as stages are: nothing here imports a stage.

`python -m stages.running.checks.asking [--tree FOLDER] STAGE ...` gets params.yaml as JSON on standard input, since a
run with other values has no file with them yet. All checks are in one process, as most of their time goes into imports
that they share. Each has a thread, so that a server that does not answer holds up no other check.

A check has a function ``rows``, and may have one ``further`` for what can stay unknown, such as what a small dataset
comes to: it is asked after the first, and nothing is told of it where its time is over.
"""

from __future__ import annotations

import contextlib
import functools
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

from stages.common import paths
from stages.common.printable import printable
from stages.params import reading, whole
from stages.params.whole import Params
from stages.running import proxies, streams, temporary
from stages.running.arguments import Parser
from stages.running.checks.row import Row, guarded, warning

#: The stages that have a check.
CHECKED = ("judge", "download", "split", "finetune", "generate")
#: The longest time for the checks, in seconds, and before that for the process to start: a busy machine is no fault.
SECONDS = 8.0
_START_SECONDS = 60.0
#: The longest time for what can stay unknown, in seconds, once all else is told.
_FURTHER_SECONDS = 3.0
#: Lines that are no rows: the checks begin; the rows of a stage are told; and then its further ones.
_READY, _TOLD, _ENDED = "ready", "told", "ended"
#: One thread prints at a time: `print` writes a line and its end apart, and half of another may come between.
_printing = threading.Lock()


def ask(
    root: Path,
    values: Mapping[str, object],
    stages: Sequence[str],
    *,
    tree: Path | None = None,
    seconds: float = SECONDS,
    after_problem: float | None = None,
) -> Iterator[Row]:
    """The rows of some stages' checks, as they come. Checks that are still at work when the caller stops are ended.

    Args:
        root: the user's folder, whose code the checks are.
        values: params.yaml, as a tree.
        stages: names of the stages; those without a check are passed over.
        tree: folder whose files the stages read: that of a copy; None: the user's own.
        seconds: longest time for all of them, once their process has started.
        after_problem: longest time for the rest once one has found a problem; None: as long as they have.
    """
    asked = [stage for stage in CHECKED if stage in stages]
    if not asked:
        return
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(temporary.folder())
        except OSError as error:
            yield from (
                warning(stage, f"could not be checked: no folder takes temporary files: {error}") for stage in asked
            )
            return
        process = stack.enter_context(_process(root, tree, asked, folder))
        yield from _told(process, json.dumps(reading.plain(values)), asked, seconds, after_problem)


def _told(
    process: subprocess.Popen[str], given: str, asked: Sequence[str], seconds: float, after_problem: float | None
) -> Iterator[Row]:
    """The rows that a process of checks prints, as `ask` has them."""
    deadline = time.monotonic() + _START_SECONDS
    waiting = {f"{end} {stage}": stage for end in (_TOLD, _ENDED) for stage in asked}
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_talk, args=(process, given, lines), daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            yield from (warning(stage, "its check has not ended in time") for stage in _not_told(waiting))
            return
        if line is None:
            last = _last_words(process)
            yield from (warning(stage, f"could not be checked: {last}") for stage in _not_told(waiting))
            return
        if line.strip() == _READY:
            deadline = time.monotonic() + seconds
        elif waiting.pop(line.strip(), None):
            if not waiting:
                return
            if not _not_told(waiting):
                deadline = min(deadline, time.monotonic() + _FURTHER_SECONDS)
        if not line.startswith("{"):
            continue  # the end of a check, or what a library says
        try:
            row = Row.model_validate_json(line)
        except ValidationError:
            row = warning("checks", f"a row of a check cannot be read: {line.strip()[:200]}")
        yield row
        if row.state == "problem" and after_problem is not None:
            deadline = min(deadline, time.monotonic() + after_problem)


def _not_told(waiting: Mapping[str, str]) -> list[str]:
    """The stages whose rows are still to come, of the lines that are waited for."""
    return [stage for line, stage in waiting.items() if line.startswith(_TOLD)]


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Rows in the order in which the stages run."""
    order = list(Params.model_fields)
    names = {"dataset": "download", "tokenizer": "download", "weights": "download", "checks": "download"}
    first = ((row.name.split()[0], row) for row in rows)
    return [row for _, row in sorted(first, key=lambda one: order.index(names.get(one[0], one[0])))]


@contextlib.contextmanager
def _process(root: Path, tree: Path | None, stages: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of checks. Its temporary files are in a folder of this process: when it is killed, it removes none."""
    in_copy = tree is not None and tree.resolve() != root.resolve()
    given = {paths.ROOT_VARIABLE: str(root.resolve())} if in_copy else {}
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "stages.running.checks.asking"),
            *(("--tree", str(tree.resolve())) if tree is not None and in_copy else ()),
            *stages,
        ],
        cwd=root,
        env=proxies.with_socks() | {"PYTHONIOENCODING": "utf-8", "TMPDIR": str(folder)} | given,
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
    """Run the checks that the command line names, and print their rows, and a line at the end of each."""
    parser = Parser(prog="python -m stages.running.checks.asking", description=main.__doc__)
    parser.add_argument("--tree", help="folder of a copy, whose files the stages read")
    parser.add_argument("stages", nargs="+")
    asked = parser.parse_args()
    params = whole.check(json.load(sys.stdin))
    # One after the other: of two threads that import, one may meet a library's module before it is complete.
    checks = [(stage, _loaded(stage, params)) for stage in asked.stages]
    if asked.tree is not None:
        os.chdir(
            asked.tree
        )  # relative paths of params.yaml are those of the copy; the code is that of the user's folder
    _print(_READY)
    threads = [threading.Thread(target=_check, args=(*check, params)) for check in checks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.flush()
    os._exit(0)  # a look-up of a host's name may go on for long in a thread of a library


#: A stage's check: its rows, and its further ones.
_Check = tuple[Callable[[Params], Iterator[Row]], Callable[[Params], Iterator[Row]]]


def _loaded(stage: str, params: Params) -> _Check:
    """A stage's check, ready to be called; one that cannot be loaded raises that error when it is called.

    A module may have a function ``prepare`` for large imports that only some values need.
    """
    try:
        module = runpy.run_module(f"stages.{stage}.preflight")
        if "prepare" in module:
            module["prepare"](params)
        return module["rows"], module.get("further", _nothing)
    except Exception as error:
        wrong = error

        def fail(_: Params) -> Iterator[Row]:
            raise wrong

        return fail, _nothing


def _nothing(_: Params) -> Iterator[Row]:
    return iter(())


def _check(stage: str, check: _Check, params: Params) -> None:
    for rows, end in zip(check, (_TOLD, _ENDED), strict=True):
        for row in guarded(stage, functools.partial(rows, params)):
            _print(row.model_dump_json())
        _print(f"{end} {stage}")


def _print(line: str) -> None:
    with _printing:
        print(printable(line), flush=True)


if __name__ == "__main__":
    streams.prepare()
    main()
