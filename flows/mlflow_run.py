"""The flow's MLflow run: created before the first stage, ended however the flow ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from prefect.context import FlowRunContext
from prefect.runtime import deployment as this_deployment

from flows.stage_process import StageFailed, Stopped
from stages.running.inputs import Begun
from stages.running.tracking import additions, mlflow_access, tracker
from stages.running.tracking.doors import SCHEDULED
from stages.running.tracking.provenance import SOURCE, SOURCE_TYPE


@dataclass
class MlflowRun:
    """One execution of the pipeline, as tracking sees it.

    Args:
        id: id of the MLflow run; None while tracking is down.
        variables: environment variables by which the stages find the MLflow run.
        ran: names of the stages that ran. The block adds them; the metrics of the others are logged from their files.
        files: files for the run's folder judge. The block adds them and keeps them until its end.
        compared: what comparisons with other runs have found, a line each, for its description. The block adds them.
        reports: functions that wait until a report is made, which the run gets. The block adds them.
        earlier: after the block, id of the run that has the results already, where this one is set aside.
    """

    id: str | None
    variables: dict[str, str]
    ran: set[str] = field(default_factory=set)
    files: list[Path] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    reports: list[Callable[[], object]] = field(default_factory=list)
    earlier: str | None = None

    @property
    def has_made(self) -> bool:
        """Whether a stage ran: what brings data in makes no result."""
        return not all(stage.endswith(".dvc") for stage in self.ran)


@contextlib.contextmanager
def mlflow_run(
    root: Path, tree: Path, tags: Mapping[str, str], begun: Begun, *, name: str = "", stays: bool = False
) -> Iterator[MlflowRun]:
    """Open an MLflow run for the block, publish what the stages have left in ``tree``, and end the run.

    A run in which no stage but an import ran, and whose results MLflow has already, is set aside. After an error the
    run is FAILED. It then holds only which stages ran and which failed: some files would be those of an earlier run.
    After a cancellation it is KILLED. Where the flow itself was killed, the next run sets that.

    Args:
        root: the user's repository, which has the tracking database.
        tree: folder that the stages run in.
        tags: tags of the run.
        begun: what the run began with; its values are the MLflow run's parameters.
        name: name of the run; by default that of the Prefect run.
        stays: whether it is kept also where MLflow has its results already.
    """
    # Absolute, and for the stages too: an isolated run has another working directory.
    os.environ["MLFLOW_TRACKING_URI"] = mlflow_access.uri(root)
    of_prefect, more = of_prefect_run()
    run_id = tracker.create_run(tree, name=name or of_prefect, tags={**tags, **more}, begun=begun)
    status: Literal["FINISHED", "FAILED", "KILLED"] = "KILLED"
    run = MlflowRun(run_id, tracker.stage_variables(run_id))
    why = ""
    try:
        yield run
        tracker.publish(
            tree,
            run_id,
            ran=run.ran,
            files=run.files,
            compared=run.compared,
            reports=run.reports,
            in_place=tree.samefile(root),
        )
        status = "FINISHED"
    except Exception as error:
        status, why = "FAILED", why_of(error)
        failed = {error.stage: "failed"} if isinstance(error, StageFailed) else {}
        additions.tag_stages(run_id, dict.fromkeys(run.ran, "ran") | failed)
        raise
    except BaseException as end:
        why = why_of(end)
        cancelled = {end.stage: "cancelled"} if isinstance(end, Stopped) else {}
        additions.tag_stages(run_id, dict.fromkeys(run.ran, "ran") | cancelled)
        raise
    finally:
        tracker.end(run_id, status, why)
        # In a copy of the repository the data is always imported.
        if status == "FINISHED" and not stays and not run.has_made:
            run.earlier = additions.set_aside(tree, run_id)


def why_of(error: BaseException) -> str:
    """What broke the run off, for the description of the MLflow run."""
    if isinstance(error, StageFailed):
        return error.message
    if isinstance(error, Stopped):
        return f"{error.stage}: {error.why}"
    return str(error) or type(error).__name__


def of_prefect_run() -> tuple[str, dict[str, str]]:
    """The name of Prefect's run, which is the MLflow run's short name, and tags that say what has started it.

    A run that a person has started at a terminal has none: MLflow's source is then the command.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return "", {}
    found = {SCHEDULED: "true"} if context.flow_run.auto_scheduled else {}
    if this_deployment.name:
        found |= {SOURCE: f"Prefect deployment {this_deployment.name}", SOURCE_TYPE: "JOB"}
    return context.flow_run.name, found
