"""A stage as a Prefect task: run, retried where that can help, and told."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import TerminationSignal
from prefect.runtime import task_run as this_task_run
from prefect.states import Cancelled, Completed, Failed
from prefect.tasks import Task, exponential_backoff

from flows import dvc_process, log_lines, run_page, waits
from flows.stage_process import StageFailed, StageResult, Stopped, run_stage
from stages.common.errors import PipelineError, ServiceUnavailable
from stages.common.printable import printable
from stages.common.secrecy import hidden
from stages.running import inputs, misrecorded, progress_file, so_far
from stages.running.checks.preflight import is_absent
from stages.running.inputs import Begun
from stages.running.tracking import live, relay, tracker

_RETRIES = 3
#: Tries of a stage that is killed: the system may have had too little memory for a while, or always.
_TRIES_WHEN_KILLED = 2
_MEMORY = (
    "\n  to fix it: end what else takes memory on this machine, or let the stage take less, such as by a smaller "
    "batch_size in its section; dmesg tells what the system killed"
)
#: How often each task's stage was killed, by the task's id.
_kills: Counter[str] = Counter()


def may_be_retried(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Whether running the failed stage again can help: by its exit code, or as it was killed for the first time."""
    return isinstance(state.data, StageFailed) and state.data.may_be_retried


# The task returns its states and does not raise: for an exception Prefect logs a traceback, which is no help with a
# typing error in params.yaml. Prefect's own cache is off: DVC decides what is fresh.
@task(
    task_run_name="{stage}",
    cache_policy=NO_CACHE,
    retries=_RETRIES,
    retry_jitter_factor=0.5,
    retry_condition_fn=may_be_retried,
)
def bring_up_to_date(
    stage: str, tree: str, force: bool, variables: dict[str, str], begun: Begun, following: str
) -> State[Any]:
    """Run one DVC stage, unless DVC finds that nothing has changed.

    Args:
        stage: name of the stage.
        tree: folder of dvc.yaml.
        force: whether to run it even if nothing has changed.
        variables: environment variables for the stage.
        begun: what the run began with; the stage fails where it would use, or has used, anything else.
        following: the stage that comes next, whose DVC starts meanwhile; empty: none.
    """
    logger = get_run_logger()
    try:
        _refuse_changes(begun, stage, tree)
        done = _run(stage, Path(tree), force=force, variables=variables, following=following)
        if done.outcome == "ran":
            for line in misrecorded.correct(stage, begun, Path(tree)):
                logger.warning("%s: %s %s", stage, misrecorded.CORRECTED, line)
        _refuse_changes(begun, stage, tree)
    except Stopped as stop:
        return Cancelled(message=stop.why)
    except TerminationSignal:
        return Cancelled(message="stopped")
    except PipelineError as error:
        failure = StageFailed(stage, error.exit_code, printable(hidden(f"{stage}: {error}")))
        return _failed(failure)
    except StageFailed as error:
        # What has changed would be in the way of every further try.
        error.may_be_retried &= not begun.changes(stage, Path(tree))
        if error.exit_code == ServiceUnavailable.exit_code and is_absent(stage, Path(tree)):
            error.may_be_retried = False
        return _failed(error)
    if done.outcome == "ran":
        done = dataclasses.replace(done, retries=this_task_run.run_count - 1)
        return Completed(message=f"ran in {done.seconds:.1f} s", data=done)
    logger.info("%s: %s", stage, done.outcome)
    return Completed(name="Cached", message=done.outcome, data=done)


def _run(stage: str, tree: Path, *, force: bool, variables: dict[str, str], following: str) -> StageResult:
    """Run a stage, and show how far it is; arguments as of `bring_up_to_date`.

    Raises:
        StageFailed, TemporaryFailure: as `run_stage`.
        Stopped: the run was stopped; the stage has ended, and saved what it could.
    """
    logger = get_run_logger()
    run_id = variables.get(live.RUN_ID_VARIABLE)
    run_id = None if run_id == live.NO_RUN else run_id
    with run_page.progress_of(stage) as told, relay.relayed(run_id, logger.warning) as file:

        def stopped() -> str:
            works = progress_file.read(Path(told[progress_file.VARIABLE])).works
            return f"stopped{so_far.words(stage, works)}"

        def stopping() -> None:
            logger.warning("%s: stopping, saving the work (up to %.0f s)", stage, waits.grace())
            tracker.stopping(run_id, stage, stopped())

        try:
            return run_stage(
                stage,
                tree,
                log=logger.info,
                force=force,
                variables=variables | told | file,
                stopping=stopping,
                following=following,
            )
        except TerminationSignal:
            raise Stopped(stage, stopped()) from None


def run_in_order(
    order: Sequence[str], tree: Path, *, force: bool, variables: dict[str, str], begun: Begun, label: str = ""
) -> Iterator[StageResult]:
    """Run the stages one after the other; arguments as in `bring_up_to_date`.

    Args:
        order: names of the stages.
        tree: folder of dvc.yaml.
        force: whether to run them even if nothing has changed.
        variables: environment variables for the stages.
        begun: what the run began with.
        label: what the names of the tasks begin with, where one flow runs the stages several times.

    Yields:
        What each did, when it has ended.

    Raises:
        StageFailed: a stage has failed; the later ones were not run.
        Stopped: the run was stopped while a stage was at work.
    """
    one = bring_up_to_date.with_options(
        retry_delay_seconds=exponential_backoff(waits.first_retry()), task_run_name=f"{label}{{stage}}"
    )
    try:
        for stage, following in zip(order, [*order[1:], ""], strict=True):
            # Called, not submitted: the process of a submitted task would outlive a cancelled flow.
            state = one(stage, str(tree), force, variables, begun, following, return_state=True)
            if state.is_cancelled():
                raise Stopped(stage, state.message or "stopped")
            result = cast("StageResult | Exception", state.result(raise_on_failure=False))
            if isinstance(result, Exception):
                raise result
            yield result
    finally:
        dvc_process.discard()


def _refuse_changes(begun: Begun, stage: str, tree: str) -> None:
    if found := begun.changes(stage, Path(tree)):
        error = inputs.refused(found, what=inputs.OTHER_THAN_BEGUN, fix=inputs.RUN_AGAIN)
        raise StageFailed(stage, error.exit_code, f"{stage}: {error}")


def _failed(error: StageFailed) -> State[Any]:
    """The state of a failed try, which is told in the log: whether there will be another, and when."""
    logger = get_run_logger()
    attempt = this_task_run.run_count
    if error.killed:
        _kills[str(this_task_run.id)] += 1
        error.may_be_retried = _kills[str(this_task_run.id)] < _TRIES_WHEN_KILLED
        error.message += "" if error.may_be_retried else _MEMORY
    error.retries = attempt - 1
    if error.may_be_retried and attempt <= _RETRIES:
        wait = waits.first_retry() * 2 ** (attempt - 1)
        most = _TRIES_WHEN_KILLED - 1 if error.killed else _RETRIES
        logger.warning("%s", error.message)
        logger.warning("%s: trying again in about %.0f s (%d of %d)", error.stage, wait, min(attempt, most), most)
    else:
        log_lines.tell_failure(logger, error.message)
    return Failed(message=error.message, data=error)
