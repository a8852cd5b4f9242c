"""The table: what each run was asked for, beside what ran, what MLflow has and what was left over."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stages.params import reading
from stages.running.tracking import listing
from stages.running.tracking.listing import tree_of
from tests.every_door.doors import Asked, Door
from tests.every_door.project import Note, Project
from tests.faults import checks
from tests.faults.clones import STAGES, Wrong

_COLUMNS = ("params", "stages", "mlflow", "orphans", "locks")
_HEAD = ("door", "asked for", "params used", "stages that ran", "MLflow", "orphans", "locks left")


@dataclass(frozen=True)
class Row:
    """A row: each cell says what was seen.

    Args:
        door: the door.
        asked: the values that were asked for.
        wrong: the columns whose cell is not as it should be.
    """

    door: str
    asked: str
    params: str = ""
    stages: str = ""
    mlflow: str = ""
    orphans: str = ""
    locks: str = ""
    wrong: frozenset[str] = field(default=frozenset())
    seconds: float = 0.0


def run(project: Project, doors: Iterable[Door]) -> Iterator[Row]:
    """Go through doors, one after the other, and yield a row for each run."""
    for door in doors:
        began = time.monotonic()
        try:
            rows = list(_rows(project, door))
        except (Exception, Wrong):
            rows = [Row(door.name, door.values, traceback.format_exc(), wrong=frozenset(_COLUMNS))]
        for row in rows:
            yield replace(row, seconds=time.monotonic() - began)


def _rows(project: Project, door: Door) -> Iterator[Row]:
    project.forget()
    before = {run.info.run_id for run in checks.tracked(project.root)}
    aside = set(_set_aside(project))
    names = door.act(project, door.asked)
    orphans = checks.left_processes(project.clone)
    locks = checks.left_locks(project.root, project.gpu_locks)
    notes = project.notes()
    new = [listing.run_of(run) for run in checks.tracked(project.root) if run.info.run_id not in before]
    more = {run: values for run, values in _set_aside(project).items() if run not in aside}
    strange = [note for note in notes if all(note.values != project.values(one.change) for one in door.asked)]
    for one, name in zip(door.asked, names, strict=True):
        expected = project.values(one.change)
        row = Row(door.name, one.text, orphans="; ".join(orphans) or "none", locks="; ".join(locks) or "none")
        mine = [note for note in notes if note.values == expected]
        cells = [
            _params(project, mine, strange, expected),
            _stages(mine, one),
            _mlflow([run for run in new if reading.flatten(run.values) == expected], one, name)
            if one.change
            else _nothing(new, [values for values in more.values() if reading.flatten(values) == expected]),
        ]
        if len(new) + len(more) != len(door.asked):
            cells[2] = (f"{len(new)} runs, {len(more)} set aside, of {len(door.asked)} asked for", False)
        made = dict(zip(_COLUMNS, cells, strict=False))
        wrong = {column for column, (_, right) in made.items() if not right}
        wrong |= {"orphans"} if orphans else set()
        wrong |= {"locks"} if locks else set()
        yield replace(row, **{column: text for column, (text, _) in made.items()}, wrong=frozenset(wrong))


def _set_aside(project: Project) -> dict[str, dict[str, Any]]:
    """The values of each run that MLflow's tables leave out since it found nothing to do, by the run's id."""
    found = checks.tracked(project.root, deleted=True)
    return {run.info.run_id: tree_of(run.data.params) for run in found if run.data.tags.get("nothing-to-do")}


def _params(
    project: Project, mine: Sequence[Note], strange: Sequence[Note], expected: dict[str, object]
) -> tuple[str, bool]:
    """What the stages found in params.yaml, beside what was asked for."""
    if strange:
        found = strange[0].values
        other = {key for key in {*found, *expected} if found.get(key) != expected.get(key)}
        return f"{strange[0].stage} had " + ", ".join(f"{key}={found.get(key)}" for key in sorted(other)), False
    return ("as asked" if mine else "as asked (no stage ran)"), True


def _stages(mine: Sequence[Note], one: Asked) -> tuple[str, bool]:
    ran = [note.stage for note in mine]
    text = ", ".join(sorted(ran, key=STAGES.index)) or "none"
    right = sorted(ran, key=STAGES.index) == one.stages
    return (text if right else f"{text}; expected {', '.join(one.stages) or 'none'}"), right


def _mlflow(found: Sequence[listing.Run], one: Asked, name: str) -> tuple[str, bool]:
    """The run that has the values, which is to be one, finished, and named as the door names it."""
    if len(found) != 1:
        return f"{len(found)} runs with these values", False
    (run,) = found
    right = (run.state, run.door) == ("finished", one.door) and re.fullmatch(name, run.short_name) is not None
    text = f"{run.short_name}: {run.state}, {run.door}"
    return (text if right else f"{text}; expected {name}: finished, {one.door}"), right


def _nothing(new: Sequence[listing.Run], aside: Sequence[object]) -> tuple[str, bool]:
    """A run that finds nothing to do is in no table of MLflow."""
    right = not new and len(aside) == 1
    return ("set aside: nothing to do" if right else f"{len(new)} runs, and {len(aside)} set aside"), right


def markdown(rows: Sequence[Row]) -> str:
    """The table in Markdown, with a line that counts the wrong cells."""
    lines = [f"| {' | '.join(_HEAD)} |", f"|{'---|' * len(_HEAD)}"]
    for row in rows:
        cells = [
            getattr(row, column) if column not in row.wrong else f"WRONG: {getattr(row, column)}" for column in _COLUMNS
        ]
        lines.append(f"| {' | '.join(map(_cell, (row.door, row.asked, *cells)))} |")
    wrong = sum(len(row.wrong) for row in rows)
    return "\n".join([*lines, "", f"{len(rows)} runs, {wrong} cells wrong"])


def line(row: Row) -> str:
    """A row of the table."""
    cells = [("WRONG: " if column in row.wrong else "") + getattr(row, column) for column in _COLUMNS]
    return f"| {' | '.join(map(_cell, (row.door, row.asked, *cells)))} |"


def _cell(text: str) -> str:
    """A text in a cell: no line ends, no bar, and of a long one the beginning and the end."""
    line = " ".join(text.split()).replace("|", "\\|")
    return line if len(line) <= 600 else f"{line[:280]} … {line[-300:]}"
