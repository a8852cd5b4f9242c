"""The scores in a folder beside those of the last commit or, where that has none of its own, of the best run.

The comparison is that of `python -m stages.judge.runs.compare`, a program apart: nothing here imports a stage. What it
has found is kept in .cache/beside, so that the summary of the same scores asks for it once. It is told as long as the
last commit is the same, and the best run too: other runs may have finished since. Of MLflow's file that is asked each
time. A server may be slow or away: what is kept then says of when it is.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stages.common import paths
from stages.common.errors import DataError
from stages.common.files import read_json, sha256
from stages.common.metrics.beside import Beside
from stages.common.metrics.judge import JudgeMetrics
from stages.common.plurals import counted
from stages.common.records import read_metrics, write_metrics
from stages.common.results.judge import JUDGE_METRICS, VERDICTS
from stages.running import bookkeeping, committed, digests, git, temporary
from stages.running.tracking import database, listing, mlflow_access

PROGRAM = "stages.judge.runs.compare"
_NOTES = paths.CACHE / "beside"
#: Notes of more scores than this are removed, the oldest first.
_MOST_NOTES = 200
#: Seconds that a comparison may take at most; it reads two files of each run.
_SECONDS = 60.0

#: What is taken as the comparison has it.
_AS_THEY_ARE = ("n", "difference", "low", "high", "detectable", "same_judge")
#: What the comparison says of the runs A and B, in words for the run beside which another one stands.
IDENTICAL = "identical scores"
IN_WORDS = {
    "B is better": "better than there",
    "A is better": "worse than there",
    "B scores higher": "higher than there",
    "A scores higher": "lower than there",
}
#: The same within the sentence that says what it rests on.
_WITHIN = {" in A alone": " there alone", " in B alone": " here alone"}
#: What the words for the best other run begin with.
_BEST = "the best other run"


@dataclass(frozen=True)
class Told:
    """What is told of scores beside those of other runs.

    Attributes:
        words: what to say first: that they are those of the last commit, or why they are compared with no run; empty
            where neither needs words.
        found: the comparison with another run; None where there is none.
        same: whether they are those of the last commit.
    """

    words: str = ""
    found: Beside | None = None
    same: bool = False


def of(root: Path, *, commit_tried: bool = False) -> Told:
    """The scores under ``root`` beside those of another run.

    Args:
        root: folder with artifacts/, in a git repository.
        commit_tried: whether the last commit has just been compared with. What that has found is kept; a second try,
            which takes seconds, would find nothing either.
    """
    head = git.ask(root, "rev-parse", "HEAD")
    if not head or not (root / VERDICTS).exists():
        return Told()
    last = f"the last commit, {head[:7]}"
    made = kept(root)
    if made is not None and not made.best:
        return _beside_commit(made, last)
    there = committed.scores(root)
    same = there is not None and there.digest == digests.md5(root / VERDICTS)
    first = f"the same scores as {last}" if same else ""
    if made is not None and made.verdict != IDENTICAL:
        return Told(first, made, same)
    if there is None:
        alone = f"not with {last}: it has no scores; with this run's dvc.lock committed, the next run is compared"
    elif same:
        alone = first
    elif beside := None if commit_tried or made else _compared(root, "HEAD", last):
        return _beside_commit(beside, last)
    else:
        alone = f"not with {last}: its scores are another machine's, and not in DVC's cache here"
    if made is not None:
        return Told(alone, None, same)  # the best other run has the same scores, which says nothing
    best = _best(root)
    found = _compared(root, best[0], f"{_BEST}, {best[1]}", best=best[0]) if best else None
    return Told(alone, None, same) if found is None or found.verdict == IDENTICAL else Told(first, found, same)


def _beside_commit(found: Beside, last: str) -> Told:
    """What is told of a comparison with the last commit, or with a run in its place.

    Where the verdicts on the fine-tuned model are the same, at most those on the base model differ.
    """
    if found.verdict != IDENTICAL:
        return Told(found=found)
    return Told(f"the same scores as {found.other}", None, same=found.other == last)


def kept(root: Path) -> Beside | None:
    """What was kept of the scores under ``root`` beside those of another run, as far as it can still be told.

    None where nothing was kept, where the last commit is another one now, and where another run of MLflow's file is the
    best one now.
    """
    with contextlib.suppress(DataError, OSError):
        note = root / _note(root)
        found = read_metrics(note, Beside, made_by="make run")
        if found.head != git.ask(root, "rev-parse", "HEAD"):
            return None
        if not found.best:
            return found
        if database.path_of(mlflow_access.uri(root)) is None:
            when = f"{datetime.fromtimestamp(note.stat().st_mtime, UTC):%Y-%m-%d %H:%M} UTC"
            return found.model_copy(update={"other": found.other.replace(_BEST, f"{_BEST} as of {when}", 1)})
        best = _best(root)
        return found if best and best[0] == found.best else None
    return None


def keep(root: Path, table: Path, asked: str, other: str, *, best: str = "") -> Beside | None:
    """Keep a comparison, so that `of` makes it once; arguments and result are those of `read`."""
    found = read(root, table, asked, other, best=best)
    if found is None:
        return None
    with bookkeeping.optional(root / _NOTES):
        write_metrics(root / _note(root), found)
        notes = sorted((root / _NOTES).glob("*.json"), key=lambda path: path.stat().st_mtime)
        for old in notes[:-_MOST_NOTES]:
            old.unlink(missing_ok=True)
    return found


def read(root: Path, table: Path, asked: str, other: str, *, best: str = "") -> Beside | None:
    """A comparison from the file that the program has written.

    Args:
        root: folder with the scores that are B of the comparison.
        table: file that the comparison has written as JSON.
        asked: run A, as the program was asked for it.
        other: the same in words.
        best: id of run A, where it is compared with as the best one in MLflow; else empty.

    Returns:
        The comparison; None where the file is not one.
    """
    try:
        tree: dict[str, Any] = read_json(table, made_by=PROGRAM)
        entry: dict[str, Any] = tree["comparisons"][-1]
        there = str(tree["a"]["name"])
        return Beside(
            head=git.ask(root, "rev-parse", "HEAD"),
            # Where a run cannot be had, another one may have been compared in its place, which its name says.
            other=other if there.split(" ", 1)[0] == asked else there,
            best=best,
            mean=entry["mean_b"],
            mean_there=entry["mean_a"],
            verdict=IN_WORDS.get(entry["verdict"], entry["verdict"]),
            rests_on=functools.reduce(lambda text, one: text.replace(*one), _WITHIN.items(), str(entry["rests_on"])),
            **{name: entry[name] for name in _AS_THEY_ARE},
        )
    except (DataError, LookupError, TypeError, ValueError, AttributeError):
        return None


def in_a_line(found: Beside) -> str:
    """A comparison in a line: with whom, the difference with its interval, what may be said, and what that rests on."""
    rests_on = f"; {found.rests_on}" if found.rests_on else ""
    if found.difference is None or not found.same_judge:
        return f"Compared with {found.other}: {found.verdict}{rests_on}"
    points, rows = f"{found.difference:+z.1f} points", counted(found.n, "row")
    if found.low is not None and found.high is not None:
        points += f", 95 % interval {found.low:+z.1f} to {found.high:+z.1f}"
    return f"Compared with {found.other}: {found.verdict} ({points}, {rows}){rests_on}"


def _compared(root: Path, name: str, other: str, *, best: str = "") -> Beside | None:
    """The comparison with a run, which is kept; None where there is none, as when its files are not here."""
    with temporary.folder() as folder:
        table = folder.resolve() / "beside.json"
        command = [sys.executable, "-m", PROGRAM, name, ".", "--json", str(table)]
        try:
            done = subprocess.run(command, cwd=root, capture_output=True, check=False, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return keep(root, table, name, other, best=best) if done.returncode == 0 else None


def _best(root: Path) -> tuple[str, str] | None:
    """The id and the name of the best other run by the judge of the scores here; None without one."""
    try:
        judge = read_metrics(root / JUDGE_METRICS, JudgeMetrics, made_by="dvc repro judge").judge
    except DataError:
        return None
    return listing.best_run(root, judge.fingerprint)


def _note(root: Path) -> Path:
    return _NOTES / f"{sha256(root / VERDICTS)[:32]}.json"
