"""The flow: DVC's stages in DVC's order, one Prefect task each.

`python -m flows.run` runs it from the command line. prefect.yaml deploys it for schedules and for Prefect's page.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as this_flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed
from prefect.utilities.urls import url_for

from flows import folder, profiles, run_page, servers_file, workspace
from flows.command_line import STOPPED
from flows.dvc_cli import stages_in_order
from flows.last_commit import with_last_commit
from flows.log_lines import tell_failure
from flows.mlflow_run import mlflow_run
from flows.outcome import kept
from flows.overrides import Overrides
from flows.stage_process import StageFailed, StageResult, Stopped
from flows.stage_task import run_in_order
from stages.common import paths
from stages.common.errors import ConfigError, InputOutputError, PipelineError
from stages.common.printable import printable
from stages.params import whole
from stages.running import gpu_users
from stages.running.inputs import Begun
from stages.running.tracking import tracker

#: The names of profiles/*.yaml, for Prefect's form. A test compares them with the files.
Profile = Literal["current", "quick", "gpt2-medium"]

#: The default of the flow's ``overrides``.
NOTHING = Overrides()


@flow(name="instruct-pipeline")
def pipeline(profile: Profile = "current", overrides: Overrides = NOTHING, force: bool = False) -> State[Any]:
    """Fine-tune GPT-2 to follow instructions, answer the test set and score the answers; only what changed runs.

    Args:
        profile: Use the values of params.yaml ("current"), or put those of a file in profiles/ over them.
        overrides: Single values to put over the profile's, such as {"finetune": {"epochs": 3}}. A run with a profile or
            overrides works on a copy of the last commit and leaves the project's folder as it is.
        force: Run every stage, even if nothing has changed.
    """
    return kept(lambda: _pipeline(profile, overrides, force))


def _pipeline(profile: Profile, overrides: Overrides, force: bool) -> State[Any]:
    root = Path.cwd()
    given: dict[str, str] = {}
    done: list[StageResult] = []
    try:
        folder.check(root, copied=profile != profiles.CURRENT or bool(overrides.tree()))
        with _tree(root, profile, overrides.tree()) as tree:
            if isolated := tree != root:
                # From the commit's profile, which this run uses; the user may change or remove the file meanwhile.
                given = profiles.givers(tree, profile, overrides.tree())
            order, begun = stages_in_order(tree), Begun.of(tree)
            # The files of the comparison exist until the end of the MLflow run has published them.
            with contextlib.ExitStack() as stack, mlflow_run(root, tree, _prefect_tags()) as run:
                run_page.link(tracker.page(run.id, servers_file.mlflow_address()))
                run.variables[gpu_users.RUN_VARIABLE] = str(this_flow_run.name)
                if isolated:
                    run.variables[paths.ROOT_VARIABLE] = str(root)
                for result in run_in_order(order, tree, force=force, variables=run.variables, begun=begun):
                    done.append(result)
                    run.ran.update({result.stage} if result.outcome == "ran" else ())
                compared = stack.enter_context(with_last_commit(root, tree))
                run.files.extend(compared.files)
            results = run_page.report(tree, done, compared, isolated=isolated)
    except (PipelineError, OSError) as found:
        error = found if isinstance(found, PipelineError) else InputOutputError.of(found)
        told = printable(str(error))
        tell_failure(get_run_logger(), told)
        return Failed(message=told, data=StageFailed("pipeline", error.exit_code, told))
    except StageFailed as error:
        if given_here := _given_here(error, given):
            tell_failure(get_run_logger(), given_here.strip())
        told = error.message + given_here
        run_page.report_broken(done, error.stage, "failed", told, error.retries)
        return Failed(message=told, data=StageFailed(error.stage, error.exit_code, told))
    except Stopped as stop:
        run_page.report_broken(done, stop.stage, "cancelled", STOPPED)
        raise
    ran = sum(stage.outcome == "ran" for stage in done)
    others = "" if ran == len(done) else "; the others were up to date or came from the cache"
    return Completed(message=f"{ran} of {len(done)} stages ran{others}", data=results)


def _prefect_tags() -> dict[str, str]:
    """Tags of the MLflow run that lead back to this Prefect run; its page has an address where a server is known."""
    run = str(this_flow_run.id)
    page = url_for("flow-run", obj_id=run) if PREFECT_API_URL.value() else None
    return {"prefect.flow_run_id": run, **({"prefect.flow_run_url": page} if page else {})}


def _given_here(error: StageFailed, givers: dict[str, str]) -> str:
    """Lines for a message: which of the values that a stage finds wrong are not from the user's params.yaml."""
    if error.exit_code != ConfigError.exit_code:
        return ""
    wrong = profiles.named(givers, error.message)
    return "".join(f"\n  {key} is not from params.yaml but from {givers[key]}" for key in wrong)


@contextlib.contextmanager
def _tree(root: Path, profile: str, overrides: dict[str, Any]) -> Iterator[Path]:
    """The folder that the stages run in: the user's own, or a copy of the last commit for a run with other values."""
    if profile == profiles.CURRENT and not overrides:
        whole.load(root / "params.yaml")
        with workspace.alone(root, log=get_run_logger().info):
            yield root
    else:
        logger = get_run_logger()
        with workspace.isolated(root, profile, overrides, log=logger.warning) as tree:
            yield tree
