"""One flat MLflow run for each execution of the pipeline, mirrored from files that are complete without it.

An execution is one run of the Prefect flow, one `dvc repro`, or one stage started by hand. Its run has one owner:

- Under the flow the flow creates the run, passes its id to the stages (`stage_variables`), sends what they tell while
  they work (`relay`), and at the end calls `publish` and `end`. Stages leave its status alone.
- Under plain `dvc repro` no process of ours lasts as long as the execution. Each tracked stage finds the run by the
  identity of the dvc process above it, or creates it. It owns the run while it works: the run is RUNNING meanwhile, and
  FINISHED, FAILED or KILLED afterwards. The last stage publishes.

Tracking never fails a stage and delays it only for a bounded time: what goes wrong is said in one line. Only `store`
and `database` import mlflow, when something is tracked; a stage that is not tracked does not wait for that import.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from stages.common import paths
from stages.common.errors import PipelineError
from stages.params import whole
from stages.running import misrecorded, orphans, progress_file, so_far
from stages.running.inputs import Begun
from stages.running.signals import Interrupted
from stages.running.stage_results import RESULTS
from stages.running.tracking import (
    additions,
    description,
    doors,
    execution,
    mirror,
    mlflow_access,
    registry,
    store,
)
from stages.running.tracking.live import (
    CREATE_SECONDS,
    FAILURE_SECONDS,
    NO_RUN,
    RUN_ID_VARIABLE,
    StageRun,
)
from stages.running.tracking.mlflow_access import END_SECONDS, PUBLISH_SECONDS
from stages.running.tracking.store import StageEnd

#: Stages of this process whose failure is already in their run.
_failed: set[str] = set()


@contextlib.contextmanager
def stage(name: str) -> Iterator[StageRun]:
    """Track a stage for the length of the block.

    An exception that leaves the block marks the stage as failed, and `Interrupted` as cancelled.

    Args:
        name: name of the stage.

    Yields:
        What to log to. While tracking is down it does nothing.
    """
    run = StageRun(name)
    try:
        yield run
    except BaseException as error:
        _failed.add(name)
        run.close("cancelled" if isinstance(error, Interrupted) else "failed", _why(name, error))
        raise
    run.close("ran")


def _why(name: str, error: BaseException) -> str:
    """What broke a stage off, for the description of its run."""
    if isinstance(error, Interrupted):
        stopped = f"stopped by {error}{so_far.words(name, progress_file.told().works)}"
        return f"{reason}: {stopped}" if (reason := orphans.reason()) else stopped
    return str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"


def stage_over(name: str, how: StageEnd, why: str = "") -> None:
    """Keep how a stage ended, for the run of the `dvc repro` that it is part of; elsewhere this does nothing.

    A success leaves a mark, by which the last stage knows what ran and what DVC restored. A failure sets the run FAILED
    that an earlier stage of the same `dvc repro` has created, and an interruption sets it KILLED. Where there is no
    run, none is created.

    Args:
        name: name of the stage.
        how: how it ended.
        why: what broke it off.
    """
    if os.environ.get(RUN_ID_VARIABLE) or name in _failed:
        return
    try:
        current = execution.current()
        if current.door == doors.BY_HAND:
            return
        if how == "ran":
            execution.mark(current, name, misrecorded.note(name))
        elif execution.has_run(current):
            mlflow_access.load()
            mlflow_access.bounded(lambda: store.break_off(current, name, how, why), FAILURE_SECONDS)
    except Exception as error:
        mlflow_access.warn(error)


def create_run(
    root: Path,
    *,
    name: str = "",
    tags: Mapping[str, str] | None = None,
    begun: Begun | None = None,
    without: Collection[str] = (),
    repository: Path | None = None,
) -> str | None:
    """Create the flow's run, which this process owns, with its parameters and tags, in the state RUNNING.

    Runs of this machine whose owner was killed are set KILLED.

    Args:
        root: folder that the stages run in, with params.yaml.
        name: short name of the run, which Prefect's run has as its name (`names`).
        tags: further tags, such as ``prefect.flow_run_id``.
        begun: what the run began with; None reads params.yaml.
        without: dotted keys whose values are not those of the run, such as one that its children differ in.
        repository: folder in the git repository, where ``root`` is in none.

    Returns:
        The run's id, or None, with a message, when tracking is down.
    """

    def create() -> str:
        params = whole.load(root / paths.PARAMS) if begun is None else whole.check(begun.section())
        own = execution.Execution(execution.identity(), "flow")
        note = "\n\n".join(description.of_links(tags or {}))
        given = {**(tags or {}), **({description.NOTE: note} if note else {})}
        return store.create(mlflow_access.client(root), own, root, given, params, name, without, repository)

    return mlflow_access.safely(create, CREATE_SECONDS)


def stage_variables(run_id: str | None) -> dict[str, str]:
    """The environment variables by which stages log to the flow's run, or create none where the flow has none."""
    return {RUN_ID_VARIABLE: run_id or NO_RUN}


def publish(
    root: Path,
    run_id: str | None,
    *,
    ran: Collection[str],
    files: Sequence[Path] = (),
    compared: Sequence[str] = (),
    reports: Sequence[Callable[[], object]] = (),
    in_place: bool = False,
) -> bool:
    """Mirror the files under ``root`` into the run; a second time changes nothing.

    Args:
        root: folder with params.yaml, dvc.lock and artifacts/.
        run_id: result of `create_run`; with None this does nothing.
        ran: stages that ran in this execution. The others were up to date or restored by DVC, and are tagged as cached.
        files: further files for the run's folder judge.
        compared: what comparisons with other runs have found, a line each, for its description.
        reports: functions that wait until a report is made.
        in_place: whether ``root`` is the project's folder, and no copy of it.

    Returns:
        Whether the run has all of them; where it has not, a line says why.
    """
    if run_id is None:
        return False

    def mirrored() -> bool:
        client = mlflow_access.client(root)
        has_made = not all(name.endswith(".dvc") for name in ran)  # what brings data in makes no result
        mirror.publish(
            client,
            run_id,
            ran,
            root,
            lock_is_final=True,
            compared=compared,
            reports=reports,
            made_here=in_place and has_made,
        )
        for file in files:
            client.log_artifact(run_id, str(file), "judge")
        if has_made:
            store.log_machine(client, run_id)
        registry.register(client, run_id, root, RESULTS.keys() & set(ran))
        return True

    return bool(mlflow_access.safely(mirrored, PUBLISH_SECONDS))


def stopping(run_id: str | None, name: str, why: str = "stopped") -> None:
    """Set the flow's run KILLED while a stage that was told to end may still be saving its work.

    The flow itself may be killed before the stage has ended: Prefect's worker waits for half a minute.

    Args:
        run_id: result of `create_run`, or the value of `RUN_ID_VARIABLE`; with None or NO_RUN this does nothing.
        name: name of the stage.
        why: what is known of that by now, such as how far it was.
    """
    if run_id and run_id != NO_RUN:
        additions.tag_stages(run_id, {name: "cancelled"})
        end(run_id, "KILLED", f"{name}: {why}")


def end(run_id: str | None, status: Literal["FINISHED", "FAILED", "KILLED"], why: str = "") -> None:
    """Set the state that the run ends in.

    Args:
        run_id: result of `create_run`; with None this does nothing.
        status: the state.
        why: what broke the run off, for its description.
    """
    if run_id is not None:
        mlflow_access.safely(lambda: store.terminate(mlflow_access.client(Path()), run_id, status, why), END_SECONDS)
