"""What the stage of this process began with, held against what there is later (`stages.running.inputs`).

A stage that DVC runs fails where something has changed. Of one started by hand nothing is recorded: it says so and
succeeds.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from stages.common import paths
from stages.common.errors import TemporaryFailure
from stages.common.printable import printable
from stages.running import dvc_yaml, inputs, misrecorded
from stages.running.console import say
from stages.running.dvc_yaml import Entry
from stages.running.environment import dvc_runs, worker
from stages.running.inputs import Begun, Inputs
from stages.running.tracking import execution

#: The digest of what the process that has started a process group has read.
READ_VARIABLE = "PIPELINE_READ"
#: Seconds between two looks at params.yaml, so that an edit is told while it can be taken back.
_LOOK_SECONDS = 1.0

_stage = ""
_before: Inputs | None = None
_run: Begun | None = None


def hold(stage: str) -> None:
    """Keep what a stage reads, before it reads it.

    Raises:
        TemporaryFailure: it differs from what the run of which the stage is part began with, or from what the process
            that has started this one has read; or dvc.yaml, by which DVC runs the stage, does not say what it reads.
    """
    global _stage, _before
    entry = dvc_yaml.entry_of(stage)
    if entry is None:
        if dvc_runs(stage) and dvc_yaml.PIPELINE.exists():
            what = f"{dvc_yaml.PIPELINE}: no stage {stage}, which DVC runs: it has changed, or is being written"
            raise TemporaryFailure(what, inputs.RUN_AGAIN)
        return  # another program than a stage of this pipeline
    _stage, _before = stage, Inputs.of(entry)
    if worker() is not None:
        if os.environ.get(READ_VARIABLE, _before.digest()) != _before.digest():
            raise TemporaryFailure(
                "values, code or inputs have changed while the processes were starting", "run the same command again"
            )
        return
    os.environ[READ_VARIABLE] = _before.digest()
    if dvc_runs(stage):
        _correct_records()
        _compare_with_run()
        _compare_with_start(entry)
        threading.Thread(target=_tell_changes, daemon=True, name="held").start()


def values_read(tree: Any) -> None:
    """Keep the values that the stage has in fact read.

    Args:
        tree: content of params.yaml.
    """
    global _before
    if _before is not None:
        _before = inputs.with_values_of(_before, tree)


def values_of_stage() -> Mapping[str, object]:
    """The values that the stage of this process has read, by dotted key; none in another program."""
    return {} if _before is None else _before.values


def changed() -> bool:
    """Whether the result of this process's stage would be refused if the stage ended at this moment."""
    return _before is not None and dvc_runs(_stage) and bool(inputs.changes(_before))


def check() -> None:
    """Compare what is there with what the stage began with; called when it has done its work.

    Raises:
        TemporaryFailure: something has changed, and DVC would record it beside outputs that were made without it.
    """
    if _before is None or worker() is not None:
        return
    of_run = _run.changes(_stage) if _run is not None else []
    found = inputs.changes(_before)
    if found and dvc_runs(_stage):
        raise inputs.refused(
            found,
            what="what it read has changed while it was at work, so that DVC does not record its result:",
            fix="put that back and run the same command again, which takes what is done; or run it as it is, which "
            "begins again. To try other values while a run is at work: python -m flows.run --set KEY=VALUE",
        )
    if found:
        listing = "\n".join(f"  {line}" for line in found)
        note = f"note: what it read has changed while it was at work; do not `dvc commit` this result:\n{listing}"
        print(printable(f"{_stage}: {note}"), file=sys.stderr, flush=True)
    if of_run:
        raise inputs.refused(of_run, what=inputs.OTHER_THAN_BEGUN, fix=inputs.RUN_AGAIN)


def _begun() -> Begun | None:
    """What the dvc that runs this stage began with, by the first of its stages; None where it cannot be kept."""
    own = execution.current()
    if not own.of_dvc:
        return None
    try:
        return Begun.from_json(execution.first(own, lambda: Begun.of().to_json()))
    except (OSError, ValueError, TypeError):
        return None  # bookkeeping fails no stage


def _correct_records() -> None:
    """Correct what DVC has recorded wrongly of earlier stages, of this run and of those that have ended."""
    global _run
    misrecorded.look_back()
    _run = _begun()
    if _run is not None:
        for earlier in sorted(execution.marked(execution.current())):
            misrecorded.tell(earlier, misrecorded.correct(earlier, _run))


def _compare_with_run() -> None:
    if _run is not None and (found := _run.changes(_stage)):
        raise inputs.refused(found, what=inputs.OTHER_THAN_BEGUN, fix=inputs.RUN_AGAIN)


def _compare_with_start(entry: Entry) -> None:
    """Refuse code that was edited after this process began: some modules were read before `hold`, and as they were."""
    began = execution.began()
    if began is not None and (found := inputs.changed_since(entry, began)):
        raise inputs.refused(
            found, what="the code that it has read is not the one that is there:", fix=inputs.RUN_AGAIN
        )


def _tell_changes() -> None:
    """Say once that a value of this stage is edited while it is at work."""
    told: list[str] = []
    seen: tuple[int, int, int] | None = None
    while (before := _before) is not None:
        time.sleep(_LOOK_SECONDS)
        # To read the file takes 10 ms, in which the stage's own thread may wait.
        last, seen = seen, inputs.stamp(paths.PARAMS)
        if seen == last and not told:
            continue
        now = inputs.values_now(before)
        # None at all: the file is being written.
        found = inputs.value_changes(before.values, now, "when the stage began") if now else []
        if found and found == told:
            fix = f"put it back in {paths.PARAMS} before the stage ends, or DVC does not record the result"
            say(f"{_stage}: {'; '.join(found)}; {fix}")
            return
        told = found
