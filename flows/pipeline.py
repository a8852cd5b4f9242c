"""The flow: DVC's stages in DVC's order, one Prefect task each.

`python -m flows.run` runs it from the command line. prefect.yaml deploys it for schedules and for Prefect's page.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run as this_flow_run
from prefect.runtime import task_run as this_task_run
from prefect.states import Completed, Failed
from prefect.tasks import Task, exponential_backoff

from flows import ahead, dvc_lock, profiles, waits, workspace
from flows.dvc_cli import stages_in_order, up_to_date
from flows.last_commit import Compared, with_last_commit
from flows.markdown import cell, fenced
from flows.mlflow_run import MlflowRun, mlflow_run
from flows.outcome import kept, server_answers
from flows.overrides import Choice, Overrides
from flows.stage_process import StageFailed, StageResult, run_stage
from stages.common import paths
from stages.common.errors import ConfigError, InputOutputError, PipelineError, ServiceUnavailable
from stages.common.printable import printable
from stages.common.secrecy import hidden
from stages.params import whole
from stages.running import inputs, misrecorded, summary
from stages.running.checks.preflight import VARIABLE, Mode, is_absent
from stages.running.inputs import Begun

#: The name of the flow, of each of its three forms.
NAME = "instruct-pipeline"

#: The names of profiles/*.yaml, for Prefect's form. A test compares them with the files.
Profile = Literal["current", "quick", "gpt2-medium"]

#: The default of the flow's ``overrides``.
NOTHING = Overrides()

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
def bring_up_to_date(stage: str, tree: str, force: bool, variables: dict[str, str], begun: Begun) -> State[Any]:
    """Run one DVC stage, unless DVC finds that nothing has changed.

    Args:
        stage: name of the stage.
        tree: folder of dvc.yaml.
        force: whether to run it even if nothing has changed.
        variables: environment variables for the stage.
        begun: what the run began with; the stage fails where it would use, or has used, anything else.
    """
    logger = get_run_logger()
    try:
        _refuse_changes(begun, stage, tree)
        done = run_stage(stage, Path(tree), log=logger.info, force=force, variables=variables)
        if done.outcome == "ran":
            for line in misrecorded.correct(stage, begun, Path(tree)):
                logger.warning("%s: %s %s", stage, misrecorded.CORRECTED, line)
        _refuse_changes(begun, stage, tree)
    except PipelineError as error:
        told = printable(hidden(str(error)))
        return Failed(message=told, data=StageFailed(stage, error.exit_code, f"{stage}: {told}"))
    except StageFailed as error:
        # What has changed would be in the way of every further try.
        error.may_be_retried &= not begun.changes(stage, Path(tree))
        attempt = this_task_run.run_count
        if error.killed:
            _kills[str(this_task_run.id)] += 1
            error.may_be_retried = _kills[str(this_task_run.id)] < _TRIES_WHEN_KILLED
            error.message += "" if error.may_be_retried else _MEMORY
        if error.exit_code == ServiceUnavailable.exit_code and is_absent(stage, Path(tree)):
            error.may_be_retried = False
        if error.may_be_retried and attempt <= _RETRIES:
            wait = waits.first_retry() * 2 ** (attempt - 1)
            most = _TRIES_WHEN_KILLED - 1 if error.killed else _RETRIES
            logger.warning("%s: trying again in about %.0f s (%d of %d)", stage, wait, min(attempt, most), most)
        return Failed(message=error.message, data=error)
    if done.outcome == "ran":
        return Completed(message=f"ran in {done.seconds:.1f} s", data=done)
    logger.info("%s: %s", stage, done.outcome)
    return Completed(name="Cached", message=done.outcome, data=done)


def _refuse_changes(begun: Begun, stage: str, tree: str) -> None:
    if found := begun.changes(stage, Path(tree)):
        error = inputs.refused(found, what=inputs.OTHER_THAN_BEGUN, fix=inputs.RUN_AGAIN)
        raise StageFailed(stage, error.exit_code, f"{stage}: {error}")


#: What a run does where something that it needs is missing.
Preflight = Literal["fail", "warn"]


@flow(name=NAME)
def pipeline(
    profile: Profile = "current",
    overrides: Overrides = NOTHING,
    force: Choice = False,
    preflight: Preflight = "fail",
) -> State[Any]:
    """Fine-tune GPT-2 to follow instructions, answer the test set and score the answers; only what changed runs.

    Args:
        profile: Use the values of params.yaml ("current"), or put those of a file in profiles/ over them.
        overrides: Single values to put over the profile's, such as {"finetune": {"epochs": 3}}. A run with a profile or
            overrides works on a copy of the last commit and leaves the project's folder as it is.
        force: Run every stage, even if nothing has changed.
        preflight: Where something that the run needs is missing, such as the judge: begin nothing ("fail"), or say so
            and run what can be run ("warn").
    """
    in_place = profile == profiles.CURRENT and not overrides.tree()
    return kept(lambda: _pipeline(profile, overrides, force, preflight, in_place=in_place))


@flow(name=NAME)
def nightly(force: Choice = False, preflight: Preflight = "fail") -> State[Any]:
    """Bring the project's folder up to date, with params.yaml as it is; only what changed runs.

    Args:
        force: Run every stage, even if nothing has changed.
        preflight: Where something that the run needs is missing, such as the judge: begin nothing ("fail"), or say so
            and run what can be run ("warn").
    """
    return kept(lambda: _pipeline("current", NOTHING, force, preflight, in_place=True, look_first=not force))


@flow(name=NAME)
def experiment(
    profile: Profile = "current",
    overrides: Overrides = NOTHING,
    force: Choice = False,
    preflight: Preflight = "fail",
) -> State[Any]:
    """Run the last commit with other values, in a folder of its own; the project's folder stays as it is.

    Args:
        profile: Use the values of params.yaml ("current"), or put those of a file in profiles/ over them.
        overrides: Single values to put over the profile's, such as {"finetune": {"epochs": 3}}.
        force: Run every stage, even if nothing has changed.
        preflight: Where something that the run needs is missing, such as the judge: begin nothing ("fail"), or say so
            and run what can be run ("warn").
    """
    return kept(lambda: _pipeline(profile, overrides, force, preflight, in_place=False))


def _pipeline(
    profile: Profile,
    overrides: Overrides,
    force: bool,
    preflight: Mode,
    *,
    in_place: bool,
    look_first: bool = False,
) -> State[Any]:
    """Run the stages; with ``look_first`` end at once, without a run in MLflow, where there is nothing to do."""
    root = Path.cwd()
    given: dict[str, str] = {}
    try:
        with _tree(root, profile, overrides.tree(), in_place=in_place) as tree:
            if isolated := not in_place:
                # From the commit's profile, which this run uses; the user may change or remove the file meanwhile.
                given = profiles.givers(tree, profile, overrides.tree())
            if look_first and up_to_date(tree):
                return Completed(message="everything is up to date: nothing was run", data=summary.text(tree))
            ahead.look_in_flow(root, tree, preflight, force=force, log=get_run_logger().info)
            order, begun = stages_in_order(tree), Begun.of(tree)
            # The files of the comparison exist until the end of the MLflow run has published them.
            with contextlib.ExitStack() as stack, mlflow_run(root, tree, str(this_flow_run.id), begun) as run:
                run.variables[VARIABLE] = "off"
                if isolated:
                    run.variables[paths.ROOT_VARIABLE] = str(root)
                done = _run_all(order, tree, force, run, begun)
                compared = stack.enter_context(with_last_commit(root, tree))
                run.files.extend(compared.files)
            results = _report(tree, done, compared, isolated=isolated)
    except (PipelineError, OSError) as found:
        error = found if isinstance(found, PipelineError) else InputOutputError.of(found)
        told = printable(hidden(str(error)))
        return Failed(message=told, data=StageFailed("pipeline", error.exit_code, told))
    except StageFailed as error:
        told = error.message + _given_here(error, given)
        return Failed(message=told, data=StageFailed(error.stage, error.exit_code, told))
    ran = sum(stage.outcome == "ran" for stage in done)
    others = "" if ran == len(done) else "; the others were up to date or came from the cache"
    return Completed(message=f"{ran} of {len(done)} stages ran{others}", data=results)


def _given_here(error: StageFailed, givers: dict[str, str]) -> str:
    """Lines for a message: which of the values that a stage finds wrong are not from the user's params.yaml."""
    if error.exit_code != ConfigError.exit_code:
        return ""
    wrong = profiles.named(givers, error.message)
    return "".join(f"\n  {key} is not from params.yaml but from {givers[key]}" for key in wrong)


@contextlib.contextmanager
def _tree(root: Path, profile: str, overrides: dict[str, Any], *, in_place: bool) -> Iterator[Path]:
    """The folder that the stages run in: the user's own, or a copy of the last commit for a run with other values."""
    if in_place:
        whole.load(root / "params.yaml")
        log = get_run_logger().info
        with workspace.alone(root, log=log):
            dvc_lock.wait(root, log=log)
            yield root
    else:
        logger = get_run_logger()
        with workspace.isolated(root, profile, overrides, log=logger.warning) as tree:
            yield tree


def _run_all(order: list[str], tree: Path, force: bool, run: MlflowRun, begun: Begun) -> list[StageResult]:
    """Run the stages one after the other and return what each did.

    Raises:
        StageFailed: a stage has failed; the later ones were not run.
    """
    done: list[StageResult] = []
    task_of_stage = bring_up_to_date.with_options(retry_delay_seconds=exponential_backoff(waits.first_retry()))
    for stage in order:
        # Called, not submitted: the process of a submitted task would outlive a cancelled flow.
        state = task_of_stage(stage, str(tree), force, run.variables, begun, return_state=True)
        result = cast("StageResult | Exception", state.result(raise_on_failure=False))
        if isinstance(result, Exception):
            raise result
        done.append(result)
        if result.outcome == "ran":
            run.ran.add(stage)
    return done


def _report(tree: Path, done: list[StageResult], compared: Compared, *, isolated: bool) -> str:
    """Store what each stage did and the results as an artifact of the Prefect run, and return the results."""
    rows = [f"| {cell(stage.stage)} | {stage.outcome} | {stage.seconds:.1f} |" for stage in done]
    results = summary.text(tree, name_files=not isolated)
    table = "\n".join(["| stage | outcome | seconds |", "|---|---|---:|", *rows])
    beside = f"Compared with the last commit:\n\n{fenced(compared.text)}\n{compared.picture}"
    _store(f"{table}\n\n{fenced(results)}\n\n{beside}")
    return results


def _store(markdown: str) -> None:
    """Store an artifact. It is a copy of results that are in files, so that its failure fails no run."""
    if not server_answers():
        return  # which is told at the end
    try:
        create_markdown_artifact(markdown, key="pipeline", description="What the run did")
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        get_run_logger().warning("Prefect: no artifact of this run, whose results stand: %s", reason[:300])
