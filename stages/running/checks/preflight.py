"""Looks before the long work whether a run can succeed: what its stages need, and what they take.

Only stages that will run are looked at. `flows.run` and the flow refuse to begin where something is missing, since
minutes or hours of training would be in vain. Under plain DVC the first stage that starts says it, once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast, get_args

from stages.common import paths
from stages.common.errors import ConfigError
from stages.params import reading
from stages.running import environment
from stages.running.checks import plan
from stages.running.checks.asking import ask, in_order
from stages.running.checks.plan import Fate
from stages.running.checks.row import NotReady, Row, guarded
from stages.running.console import fitted, say
from stages.running.tracking import execution

#: What becomes of a problem: the run does not begin, the problem is said, or nothing is looked at.
Mode = Literal["fail", "warn", "off"]
VARIABLE = "PIPELINE_PREFLIGHT"
OTHERWISE = "nothing was run; to run what can be run: --preflight=warn"

#: Seconds that the other checks still have once something is missing.
_HURRY = 1.0
#: What keeps that the stages of a dvc process were looked at.
_MARK = ".preflight"


def mode(default: Mode) -> Mode:
    """The mode that the environment names (`VARIABLE`).

    Raises:
        ConfigError: it is none.
    """
    named = os.environ.get(VARIABLE, "").strip()
    if named and named not in get_args(Mode):
        raise ConfigError(f"{VARIABLE}: expected fail, warn or off, found {named!r}", f"unset {VARIABLE}")
    return cast("Mode", named or default)


def look(
    root: Path,
    values: Mapping[str, object],
    fates: Mapping[str, Fate],
    *,
    tell: Callable[[str], None],
    refuse: bool,
    otherwise: str = OTHERWISE,
    tree: Path | None = None,
) -> None:
    """Look at what the stages that will run need, and tell it.

    Args:
        root: the user's folder.
        values: params.yaml, as a tree.
        fates: what becomes of each stage (`plan.fates`).
        tell: function that is called with each line.
        refuse: whether a problem is an error; otherwise it is told.
        otherwise: the last line of that error, which says how to run all the same.
        tree: folder whose files the stages read: that of a copy; None: the user's own.

    Raises:
        NotReady: something that the run needs is missing.
    """
    needed = [stage for stage, fate in fates.items() if fate == "to run"]
    rows = in_order(ask(root, values, needed, tree=tree, after_problem=_HURRY if refuse else None))
    problems = [row for row in rows if row.state == "problem"]
    if rows:
        tell(f"before the run ({_counted(fates)})")
    for row in rows:
        if row.state != "problem" or not refuse:
            tell(_line(row))
    if problems and refuse:
        raise NotReady(problems, otherwise)


def look_once(stage: str) -> None:
    """Look at the stages that come after this one in the same run of dvc, and say what is missing.

    Called at the start of a stage that dvc runs. The stage finds out itself what it lacks.

    Raises:
        NotReady: something is missing, and `VARIABLE` is fail.
    """
    chosen = mode("warn")
    if chosen == "off" or not environment.dvc_runs(stage):
        return
    above = execution.up_to_dvc()
    own = execution.current()
    if not above or (execution.MARKS / own.identity / _MARK).exists():
        return
    execution.mark(own, _MARK)
    found: list[Row] = []

    def rows() -> Any:
        values = reading.read_values(paths.PARAMS)
        words = above[-1].cmdline()
        force = bool({"-f", "--force"} & set(words))
        fates = plan.fates(Path(), values, in_place=True, force=force)
        later = _after(stage, list(fates)) & _wanted(words, list(fates))
        return ask(Path(), values, [name for name in fates if name in later and fates[name] == "to run"])

    found += (row for row in guarded("preflight", rows) if row.state != "ok")
    if chosen == "fail" and (problems := [row for row in found if row.state == "problem"]):
        raise NotReady(problems, f"{VARIABLE}=warn runs what can be run")
    for row in found:
        say(f"{row}\n  a later stage needs it; this one goes on")


def is_absent(stage: str, tree: Path) -> bool:
    """Whether a service that a stage needs does not run on this machine: to wait and try again does not start it."""
    try:
        values = reading.read_values(tree / paths.PARAMS)
    except ConfigError:
        return False  # removed at this moment, or half written
    return any(row.absent for row in ask(Path(), values, [stage], tree=tree))


def _after(stage: str, order: list[str]) -> set[str]:
    return set(order[order.index(stage) + 1 :]) if stage in order else set()


def _wanted(words: list[str], order: list[str]) -> set[str]:
    """The stages that a command of dvc may run: those that it names and those before them, or all."""
    named = [word for word in words if word in order]
    if not named or "--downstream" in words:
        return set(order)
    return set(named) if {"-s", "--single-item"} & set(words) else plan.closure(Path(), named)


def _counted(fates: Mapping[str, Fate]) -> str:
    kinds = {kind: [stage for stage, fate in fates.items() if fate == kind] for kind in get_args(Fate)}
    return "; ".join(f"{kind}: {', '.join(stages)}" for kind, stages in reversed(kinds.items()) if stages)


def _line(row: Row) -> str:
    # A fix stays on one line, to be copied.
    told, *fix = str(row).split("\n")
    head = "" if row.state == "ok" else f"{row.state}: "
    return "\n  ".join([fitted(f"  {head}{told}", 4), *fix])
