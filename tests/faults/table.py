"""The table: each fault is injected into a clone of its own, and its row says what was seen."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from stages.common.plurals import counted
from tests.faults import checks
from tests.faults.clones import CannotInject, Clone, Templates, Wrong, ended
from tests.faults.truth import Truth

OK, FAIL, SKIPPED = "ok", "FAIL", "not here"


@dataclass
class Bench:
    """What faults are injected with.

    Args:
        templates: what clones are copied from.
        truth: what undisturbed runs made.
        seed: seed of all that is drawn.
    """

    templates: Templates
    truth: Truth
    seed: int = 0

    def learn(self, overlay: dict[str, object], clone: Clone | None = None) -> None:
        """Make an undisturbed run with other values, whose records count as right from now on.

        Args:
            overlay: the values.
            clone: a clone to run in, such as one of another commit; it is left as it is.
        """
        with ended(clone or self.templates.finished()) as undisturbed:
            undisturbed.edit(overlay)
            undisturbed.door("dvc").ends_with(0)
            self.truth.learn(undisturbed)


@dataclass(frozen=True)
class Fault:
    """A fault and how it is injected.

    Args:
        name: what happens, in a few words.
        about: what would be lost or wrong.
        door: how the run was started.
        start: function that gives the clone.
        inject: function that injects it and returns what was seen; it raises `Wrong` where that is not right.
        recorded: whether the clone's records and MLflow runs are compared with undisturbed runs afterwards.
    """

    name: str
    about: str
    door: str
    start: Callable[[Templates], Clone]
    inject: Callable[[Bench, Clone], str]
    recorded: bool = True


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    fault: str
    about: str
    door: str
    seen: str
    result: str
    seconds: float = 0.0


def run(faults: Iterable[Fault], bench: Bench) -> Iterator[Row]:
    """Inject faults, one after the other, and yield a row for each as it comes."""
    for fault in faults:
        yield _row(fault, bench)


def _row(fault: Fault, bench: Bench) -> Row:
    began = time.monotonic()

    def row(seen: str, result: str) -> Row:
        return Row(fault.name, fault.about, fault.door, seen, result, time.monotonic() - began)

    try:
        with ended(fault.start(bench.templates)) as clone:
            seen = fault.inject(bench, clone)
            found = checks.problems(clone, bench.truth) if fault.recorded else checks.left_processes(clone)
            return row("; ".join([seen, *found]), FAIL if found else OK)
    except CannotInject as reason:
        return row(str(reason), SKIPPED)
    except Wrong as what:
        return row(str(what), FAIL)
    except Exception:
        return row(traceback.format_exc(), FAIL)


def markdown(rows: Sequence[Row]) -> str:
    """The table in Markdown, with a line that counts the results."""
    lines = ["| fault | what is at stake | door | what was seen | |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(map(_cell, (row.fault, row.about, row.door, row.seen, row.result)))} |" for row in rows]
    counts = [f"{sum(row.result == result for row in rows)} {result}" for result in (OK, FAIL, SKIPPED)]
    return "\n".join([*lines, "", f"{counted(len(rows), 'row')}: {', '.join(counts)}"])


def _cell(text: str) -> str:
    """A text in a cell: no line ends, no bar, and of a long one the beginning and the end."""
    line = " ".join(text.split()).replace("|", "\\|")
    return line if len(line) <= 600 else f"{line[:280]} … {line[-300:]}"
