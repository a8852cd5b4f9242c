"""The flow: DVC's stages in DVC's order, one Prefect task each.

`python -m flows.run` runs it from the command line. prefect.yaml deploys it for schedules and for Prefect's page.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import deployment as this_deployment
from prefect.runtime import flow_run as this_flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed
from prefect.utilities.urls import url_for

from flows import ahead, dvc_lock, folder, profiles, run_page, run_tags, servers_file, temporary_server, workspace
from flows.after_stages import made_ready, needs_no_model
from flows.dvc_cli import stages_in_order
from flows.log_lines import tell_failure
from flows.mlflow_run import mlflow_run
from flows.outcome import kept
from flows.overrides import Choice, FlowOverrides
from flows.stage_process import StageFailed, StageResult, Stopped, in_words
from flows.stage_task import run_in_order
from flows.unchanged import up_to_date
from stages.common import paths
from stages.common.errors import ConfigError, PipelineError
from stages.common.printable import printable
from stages.common.secrecy import hidden
from stages.judge.runs.references import in_report, with_references
from stages.params import whole
from stages.running import gpu_users, report, streams, summary
from stages.running.checks.preflight import VARIABLE, Mode
from stages.running.inputs import Begun
from stages.running.tracking import links

#: The name of the flow, of each of its three forms.
NAME = "instruct-pipeline"

#: The names of profiles/*.yaml, for Prefect's form. A test compares them with the files.
Profile = Literal["current", "quick", "gpt2-medium"]

#: Seconds to wait for what loads beside the stages (`Ready.wait`): between two of them, and after the last one.
_BETWEEN_SECONDS, _LOADING_SECONDS = 5.0, 60.0

#: The default of the flow's ``overrides``.
NOTHING = FlowOverrides()

#: Where the files are that the lines of an isolated run name.
_IN_A_COPY = (
    "this run works in a copy of the last commit, which is removed at its end: the files that its lines name, such as "
    "artifacts/split/report.html, are in its MLflow run then"
)
#: What a run does where something that it needs is missing.
Preflight = Literal["fail", "warn"]


# Prefect makes the fields of its form from the arguments of a flow, and their descriptions from its docstring: so each
# flow, `flows.seed_runs.seeds` too, has its arguments, and says what they are, itself.
@flow(name=NAME)
def pipeline(
    profile: Profile = "current",
    overrides: FlowOverrides = NOTHING,
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
    overrides: FlowOverrides = NOTHING,
    force: Choice = False,
    preflight: Preflight = "fail",
) -> State[Any]:
    """Run a copy of the last commit with other values; the project's folder stays as it is.

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
    overrides: FlowOverrides,
    force: bool,
    preflight: Mode,
    *,
    in_place: bool,
    look_first: bool = False,
) -> State[Any]:
    """Run the stages; with ``look_first`` end at once, without a run in MLflow, where there is nothing to do."""
    root = Path.cwd()
    given: dict[str, str] = {}
    done: list[StageResult] = []
    try:
        run_tags.tell(run_tags.asked(profile, overrides.tree()))
        folder.check(root, copied=not in_place)
        with _tree(root, profile, overrides.tree(), in_place=in_place) as tree:
            if not in_place:
                # From the commit's profile, which this run uses; the user may change or remove the file meanwhile.
                given = profiles.givers(tree, profile, overrides.tree(), giver())
            if look_first and up_to_date(tree):
                report.ensure(tree)
                return Completed(
                    message="everything is up to date: nothing was run",
                    data=summary.text(tree),
                )
            ahead.look_in_flow(root, tree, preflight, force=force, log=get_run_logger().info)
            results = _run_stages(root, tree, done, force=force, isolated=not in_place)
    except (PipelineError, OSError) as found:
        error = streams.as_ours(found)
        told = printable(hidden(str(error)))
        tell_failure(get_run_logger(), told)
        run_page.report_refused(done, told)
        return Failed(message=told, data=StageFailed("pipeline", error.exit_code, told))
    except StageFailed as error:
        if given_here := _given_here(error, given):
            tell_failure(get_run_logger(), given_here.strip())
        told = error.message + given_here
        run_page.report_broken(done, error.stage, "failed", told, error.retries)
        return Failed(message=told, data=StageFailed(error.stage, error.exit_code, told))
    except Stopped as stop:
        run_page.report_stopped(done, stop)
        raise
    return Completed(message=in_words(done), data=results)


def _run_stages(root: Path, tree: Path, done: list[StageResult], *, force: bool, isolated: bool) -> str:
    """Run the stages within an MLflow run, compare their scores, and return the results in words.

    Args:
        root: the user's repository.
        tree: folder that the stages run in.
        done: list that gets what each stage did, when it has ended.
        force: whether every stage runs.
        isolated: whether ``tree`` is a copy of the last commit.

    Raises:
        StageFailed, Stopped: as `flows.stage_task.run_in_order`.
    """
    order, begun = stages_in_order(tree), Begun.of(tree)
    # The files of the comparison exist until the end of the MLflow run has published them.
    with contextlib.ExitStack() as stack:
        with mlflow_run(root, tree, prefect_tags(), begun) as run:
            page = links.page(run.id, servers_file.mlflow_address())
            linked = run_page.link(page)
            variables = run.variables | {VARIABLE: "off", gpu_users.RUN_VARIABLE: str(this_flow_run.name)}
            if isolated:
                variables[paths.ROOT_VARIABLE] = str(root)
            early, ready = needs_no_model(tree), None
            for result in run_in_order(order, tree, force=force, variables=variables, begun=begun):
                done.append(result)
                run.ran.update({result.stage} if result.outcome == "ran" else ())
                if ready is not None:
                    ready.wait(_BETWEEN_SECONDS)  # what comes after the next stage loads modules too
                elif early:
                    ready = stack.enter_context(made_ready(tree))
            ready = ready or stack.enter_context(made_ready(tree))
            ready.wait(_LOADING_SECONDS)
            compared = stack.enter_context(with_references(root, tree, str(this_flow_run.name)))
            run.files.extend(file for one in compared for file in one.files)
            run.compared.extend(one.verdict for one in compared if one.verdict)
            ready.report.go(in_report(compared), made_here=run.has_made)
            run.reports.append(ready.report.made)
        reported = ready.report.made()
        if run.earlier:
            page = links.page(run.earlier, servers_file.mlflow_address())
            run_page.link_earlier(linked, page)
    reported = reported and not run.earlier
    return run_page.report(tree, done, compared, page, reported=reported, isolated=isolated)


def prefect_tags() -> dict[str, str]:
    """Tags of the MLflow run that lead back to this Prefect run, and to its page if the server has one."""
    run = str(this_flow_run.id)
    page = url_for("flow-run", obj_id=run) if temporary_server.has_pages(PREFECT_API_URL.value()) else None
    return {"prefect.flow_run_id": run, **({"prefect.flow_run_url": page} if page else {})}


def _given_here(error: StageFailed, givers: dict[str, str]) -> str:
    """Lines for a message: which of the values that a stage finds wrong are not from the user's params.yaml."""
    if error.exit_code != ConfigError.exit_code:
        return ""
    wrong = profiles.named(givers, error.message)
    return "".join(f"\n  {key} is not from params.yaml but from {givers[key]}" for key in wrong)


@contextlib.contextmanager
def _tree(root: Path, profile: str, overrides: Mapping[str, object], *, in_place: bool) -> Iterator[Path]:
    """The folder that the stages run in: the user's own, or a copy of the last commit for a run with other values."""
    if in_place:
        whole.load(root / "params.yaml")
        log = get_run_logger().info
        with workspace.alone(root, log=log):
            dvc_lock.wait(root, log=log)
            yield root
    else:
        logger = get_run_logger()
        with workspace.isolated(root, profile, overrides, log=logger.warning, given_as=giver()) as tree:
            logger.info(_IN_A_COPY)
            yield tree


def giver() -> profiles.Giver:
    """How the values of this run were given: in a form, or by an API, where it is one of a deployment."""
    return profiles.by_form if this_deployment.id else profiles.by_option
