"""A finding: one line that says what was looked at, what was found, and the command that fixes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from stages.common.errors import PipelineError
from stages.common.records import Record

State = Literal["ok", "warning", "problem"]


class Row(Record):
    """A finding.

    Args:
        name: what was looked at.
        state: ok; a warning, with which a run goes on; or a problem, by which it would fail.
        found: what was found.
        fix: the command or edit that fixes it.
        exit_code: the code of a problem's kind (`stages.common.errors`); else 0.
        absent: whether a service on this machine does not run: waiting does not start it.
    """

    name: str
    state: State
    found: str
    fix: str | None = None
    exit_code: int = 0
    absent: bool = False

    def __str__(self) -> str:
        fix = f"\n  to fix it: {self.fix}" if self.fix else ""
        return f"{self.name}: {self.found}{fix}"


def ok(name: str, found: str) -> Row:
    """A finding with which all is well."""
    return Row(name=name, state="ok", found=found)


def warning(name: str, found: str, fix: str | None = None) -> Row:
    """A finding with which a run goes on."""
    return Row(name=name, state="warning", found=found, fix=fix)


def problem(name: str, error: PipelineError, *, absent: bool = False) -> Row:
    """An error of ours as a finding: a run would fail by it."""
    return Row(name=name, state="problem", found=error.what, fix=error.fix, exit_code=error.exit_code, absent=absent)


class NotReady(PipelineError):
    """A run cannot succeed as things are. Its exit code is that of the first problem.

    Args:
        problems: what was found.
        otherwise: how to run all the same.
    """

    def __init__(self, problems: Sequence[Row], otherwise: str) -> None:
        super().__init__("\n".join([*map(str, problems), f"  {otherwise}"]))
        self.exit_code = exit_code(problems)


def exit_code(rows: Sequence[Row]) -> int:
    """The exit code of the first problem; 0 without one."""
    return next((row.exit_code or PipelineError.exit_code for row in rows if row.state == "problem"), 0)


def guarded(name: str, check: Callable[[], Iterator[Row]]) -> Iterator[Row]:
    """The rows of a check. An error that it raises becomes a row: a check never ends what it looks ahead for."""
    try:
        yield from check()
    except PipelineError as error:
        yield problem(name, error)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        yield warning(name, f"could not be checked: {type(error).__name__}: {reason}")
