"""The flow's MLflow run: made before the first stage, ended whatever becomes of the flow."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flows.stage_run import StageFailed
from stages.running.tracking import tracker


@dataclass(frozen=True)
class TrackedRun:
    """One execution of the pipeline, as tracking sees it.

    Attributes:
        variables: environment variables by which the stages find the MLflow run.
        ran: the stages that really ran, to be filled in the block. What the others would have logged is replayed.
        files: more files for the run's folder judge, to be filled in the block, and there until its end.
    """

    variables: dict[str, str]
    ran: set[str] = field(default_factory=set)
    files: list[Path] = field(default_factory=list)


@contextlib.contextmanager
def tracked(root: Path, tree: Path, prefect_run_id: str) -> Iterator[TrackedRun]:
    """Open an MLflow run for the block, publish what the stages have left in ``tree``, and end the run.

    An error makes the run FAILED and publishes no more than which stages ran and which failed: some files would be an
    earlier run's. A cancellation makes it KILLED. Where the flow is killed outright, `tracking` finds that out when the
    next run begins.

    Args:
        root: the user's repository, which has the tracking database.
        tree: the folder that the stages run in.
        prefect_run_id: the id of Prefect's run, put on the MLflow run as a tag.
    """
    # Absolute, and for the stages too: an isolated run has another working directory.
    os.environ["MLFLOW_TRACKING_URI"] = tracker.uri(root)
    run_id = tracker.create_run(tree, tags={"prefect.flow_run_id": prefect_run_id})
    status: Literal["FINISHED", "FAILED", "KILLED"] = "KILLED"
    run = TrackedRun(tracker.environment(run_id))
    try:
        yield run
        tracker.publish(tree, run_id, ran=run.ran, files=run.files)
        status = "FINISHED"
    except Exception as error:
        status = "FAILED"
        failed = {error.stage: "failed"} if isinstance(error, StageFailed) else {}
        tracker.tag_stages(run_id, dict.fromkeys(run.ran, "ran") | failed)
        raise
    finally:
        tracker.end(run_id, status)
