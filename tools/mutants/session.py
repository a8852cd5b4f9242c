"""Runs the tests of one module against its mutants: pytest collects once, and each mutant has a forked process.

    python -m tools.mutants.session PLAN

It runs in a copy of the repository, which holds the module as it is; a mutant is in the imported module and, for the
programs that a test starts, in the file. Each line of its output is a JSON object, an `Outcome`.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

import psutil
import pytest

from stages.running import streams
from tools.mutants.operators import Mutant, mutants
from tools.mutants.patching import CannotBeImported, functions_of, module_of, put

#: A test may take so many times as long with a mutant as without it, and some seconds more.
SLOWER = 5.0
#: It may wait so many times as long for its turn: on a busy machine every test would be too slow.
BUSY = 4
#: The exit code of a forked process in which a test failed.
KILLED = 1
#: That of one that could not put the mutant into the module.
NOT_PUT = 3
#: Examples of a property; each survivor costs all of them.
EXAMPLES = 25
#: Our own packages, which are imported as the tests do it.
OURS = ("stages", "flows", "tests", "tools", "assets", "benchmarks")
#: Where tests write; each forked process empties it.
TEMPORARY = "../temporary"


@dataclass(frozen=True)
class Plan:
    """What a session does.

    Args:
        module: file of the module, relative to the repository.
        tests: test files that reach it, relative to the repository.
        names: names of the mutants to try.
        seconds: seconds that a test may compute with a mutant beyond `SLOWER` times what it takes without.
    """

    module: str
    tests: list[str]
    names: list[str]
    seconds: float = 10.0


@dataclass(frozen=True)
class Outcome:
    """What came of a mutant.

    Args:
        name: name of the mutant.
        line: its line.
        killer: the test that failed or took too long; None of a survivor.
        tests: number of tests that reach its statement.
        timed_out: whether the test took too long.
    """

    name: str
    line: int
    killer: str | None
    tests: int
    timed_out: bool = False


@dataclass
class _Measured:
    """How long a test takes, and the lines of the module that it runs."""

    seconds: float
    lines: set[int] = field(default_factory=set)


class Session:
    """A pytest plugin that takes the place of pytest's own loop over the tests."""

    def __init__(self, plan: Plan, out: Any) -> None:
        self.plan, self.out = plan, out
        self.path = str(Path(plan.module).resolve())
        self.failed = False
        self.functions: dict[tuple[str, int], list[FunctionType]] = {}

    def pytest_collection(self) -> None:
        """Before tests are imported: fewer examples of each property, and none that fails is made smaller.

        Either takes longer than the tests that it would add to.
        """
        import hypothesis  # pytest refuses it before its own start

        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile("mutants", hypothesis.settings(), phases=phases, max_examples=EXAMPLES)
        hypothesis.settings.load_profile("mutants")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        self.failed = self.failed or report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Measure every test, then try every mutant."""
        if session.testsfailed:
            return False
        measured = self._measured(session.items)
        self.functions = functions_of(self.path)
        # Forked processes share the memory of this one as long as neither writes to it, which collecting garbage does.
        gc.freeze()
        source = Path(self.path).read_text(encoding="utf-8")
        tree = ast.parse(source)
        chosen = [found for found in mutants(tree) if found.name in self.plan.names]
        self._control(chosen, tree, session.items)
        for mutant in chosen:
            items = self._reaching(mutant, session.items, measured)
            outcome = self._tried(mutant, tree, items, measured)
            Path(self.path).write_text(source, encoding="utf-8")
            print(json.dumps(asdict(outcome)), file=self.out, flush=True)
        return True

    def _measured(self, items: Sequence[pytest.Item]) -> dict[str, _Measured]:
        """What each test takes without a mutant.

        Raises:
            SystemExit: a test fails.
        """
        kept = Path("../measured.json").resolve()

        def measure() -> int:
            found = []
            before = set(sys.modules)
            for at, item in enumerate(items):
                began = time.perf_counter()
                with _lines_of(self.path) as lines:
                    self._run([item], items[at + 1 :])
                if self.failed:
                    kept.write_text(item.nodeid, encoding="utf-8")
                    return KILLED
                found.append((item.nodeid, time.perf_counter() - began, sorted(lines)))
            imported = [name for name in sys.modules if name not in before]
            kept.write_text(json.dumps([found, imported]), encoding="utf-8")
            return 0

        if _forked(measure, lambda _: None)[0] != 0:
            sys.exit(f"{kept.read_text(encoding='utf-8')} fails without a mutant")
        rows, imported = json.loads(kept.read_text(encoding="utf-8"))
        _import(imported)
        return {name: _Measured(seconds, set(lines)) for name, seconds, lines in rows}

    def _control(self, chosen: Sequence[Mutant], tree: ast.Module, items: Sequence[pytest.Item]) -> None:
        """Put the same code in place of itself: a test that fails with it would kill every mutant.

        Raises:
            SystemExit: a test fails, or the code cannot be put in.
        """
        kept = Path("../control").resolve()

        def attempt() -> int:
            for function in {mutant.function: None for mutant in chosen}:
                same = Mutant("the same code", 0, 0, 0, function, lambda: None)
                source = put(same, tree, self.path, self.functions)
            Path(self.path).write_text(source, encoding="utf-8")
            for at, item in enumerate(items):
                kept.write_text(item.nodeid, encoding="utf-8")
                self._run([item], items[at + 1 :])
                if self.failed:
                    return KILLED
            return 0

        kept.write_text("to put in the same code", encoding="utf-8")
        before = Path(self.path).read_text(encoding="utf-8")
        code, _ = _forked(attempt, lambda _: None)
        Path(self.path).write_text(before, encoding="utf-8")
        if code != 0:
            sys.exit(f"{self.plan.module}: {kept.read_text(encoding='utf-8')} fails where nothing was changed")

    def _reaching(
        self, mutant: Mutant, items: Sequence[pytest.Item], measured: dict[str, _Measured]
    ) -> list[pytest.Item]:
        """The tests that run a mutant's statement, the quickest first; all for what runs at import or elsewhere."""
        where = set(range(mutant.first, mutant.last + 1))
        everywhere = mutant.function is None or module_of(self.path) is None
        found = [item for item in items if everywhere or measured[item.nodeid].lines & where]
        return sorted(found, key=lambda item: measured[item.nodeid].seconds)

    def _tried(
        self, mutant: Mutant, tree: ast.Module, items: Sequence[pytest.Item], measured: dict[str, _Measured]
    ) -> Outcome:
        def attempt() -> int:
            try:
                changed = put(mutant, tree, self.path, self.functions)
            except CannotBeImported:
                return KILLED
            except Exception:
                return NOT_PUT
            Path(self.path).write_text(changed, encoding="utf-8")
            for at, item in enumerate(items):
                os.write(pipe_of_child[0], at.to_bytes(4, "big"))
                self._run([item], items[at + 1 :])
                if self.failed:
                    return KILLED
            return 0

        if not items:
            return Outcome(mutant.name, mutant.line, None, 0)
        pipe_of_child: list[int] = []
        allowed = [measured[item.nodeid].seconds * SLOWER + self.plan.seconds for item in items]
        code, at = _forked(attempt, pipe_of_child.append, allowed)
        if code == NOT_PUT:
            sys.exit(f"{self.plan.module}:{mutant.line}: cannot be changed: {mutant.name}")
        killer = None if code == 0 else items[at].nodeid
        return Outcome(mutant.name, mutant.line, killer, len(items), timed_out=code is None)

    def _run(self, items: Sequence[pytest.Item], following: Sequence[pytest.Item]) -> None:
        for item in items:
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following[0] if following else None)


def _forked(
    work: Callable[[], int], tell: Callable[[int], Any], allowed: Sequence[float] | None = None
) -> tuple[int | None, int]:
    """Do something in a forked process, the leader of a process group that is killed at the end.

    Args:
        work: what to do; gives the exit code.
        tell: function that is given the descriptor to which the process writes the number of each test it begins.
        allowed: seconds that each test may compute; None for any.

    Returns:
        Its exit code, None if it took too long; and the number of its last test.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads: none of those at import holds a lock
        child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        tell(writing)
        try:
            code = work()
        except BaseException:  # such as a mutant that ends the process
            code = KILLED
        os._exit(code)
    os.close(writing)
    at, in_time = _followed(child, reading, allowed)
    os.close(reading)
    if not in_time:
        _kill(child)
    status = os.waitpid(child, 0)[1]
    _kill(child)
    return (os.waitstatus_to_exitcode(status) if in_time else None), at


def _import(names: Sequence[str]) -> None:
    """Import packages of others that a test imports while it runs, once instead of in every forked process."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # a test will say what is wrong with it
        warnings.simplefilter("ignore")
        for name in names:
            if name.partition(".")[0] not in OURS:
                importlib.import_module(name)


def _followed(child: int, reading: int, allowed: Sequence[float] | None) -> tuple[int, bool]:
    """The number of the last test that was told, and whether each was done in time."""
    at = 0
    while True:
        if not _told(child, reading, None if allowed is None else allowed[at]):
            return at, False
        told = os.read(reading, 4)
        if not told:
            return at, True
        at = int.from_bytes(told, "big")


def _told(child: int, reading: int, limit: float | None) -> bool:
    """Wait until a process tells something or ends; False where it computes for too long before, or waits for ever."""
    before = 0.0 if limit is None else _computed(child)
    for _ in range(BUSY):
        if select.select([reading], [], [], limit)[0]:
            return True
        if limit is not None and _computed(child) - before >= limit:
            return False
    return False


def _computed(child: int) -> float:
    """Seconds that a process and those which it has started have computed."""
    seconds = 0.0
    with contextlib.suppress(psutil.Error):  # it ends meanwhile
        parent = psutil.Process(child)
        for process in (parent, *parent.children(recursive=True)):
            seconds += sum(process.cpu_times()[:4])  # user and system, its own and of children that have ended
    return seconds


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def _lines_of(path: str) -> Iterator[set[int]]:
    """The lines of a file that are run, in any thread."""
    lines: set[int] = set()

    def within(frame: FrameType, _event: str, _arg: Any) -> Any:
        lines.add(frame.f_lineno)
        return within

    def called(frame: FrameType, _event: str, _arg: Any) -> Any:
        if frame.f_code.co_filename != path:
            return None
        lines.add(frame.f_lineno)
        return within

    threading.settrace(called)
    sys.settrace(called)
    try:
        yield lines
    finally:
        sys.settrace(None)
        threading.settrace(None)


def main() -> None:
    """Run the plan of the command line."""
    plan = Plan(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        options = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={TEMPORARY}"]
        sys.exit(int(pytest.main([*options, *plan.tests], plugins=[Session(plan, out)])))


if __name__ == "__main__":
    streams.prepare()
    main()
