"""The flow's MLflow run: created before the first stage, ended however the flow ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flows.stage_process import StageFailed, Stopped
from stages.running.tracking import tracker


@dataclass(frozen=True)
class MlflowRun:
    """One execution of the pipeline, as tracking sees it.

    Args:
        id: id of the MLflow run; None while tracking is down.
        variables: environment variables by which the stages find the MLflow run.
        ran: names of the stages that ran. The block adds them; the metrics of the others are logged from their files.
        files: files for the run's folder judge. The block adds them and keeps them until its end.
    """

    id: str | None
    variables: dict[str, str]
    ran: set[str] = field(default_factory=set)
    files: list[Path] = field(default_factory=list)


@contextlib.contextmanager
def mlflow_run(root: Path, tree: Path, tags: Mapping[str, str]) -> Iterator[MlflowRun]:
    """Open an MLflow run for the block, publish what the stages have left in ``tree``, and end the run.

    After an error the run is FAILED. It then holds only which stages ran and which failed: some files would be those
    of an earlier run. After a cancellation it is KILLED. Where the flow itself was killed, the next run sets that.

    Args:
        root: the user's repository, which has the tracking database.
        tree: folder that the stages run in.
        tags: tags of the run.
    """
    # Absolute, and for the stages too: an isolated run has another working directory.
    os.environ["MLFLOW_TRACKING_URI"] = tracker.uri(root)
    run_id = tracker.create_run(tree, tags=tags)
    status: Literal["FINISHED", "FAILED", "KILLED"] = "KILLED"
    run = MlflowRun(run_id, tracker.stage_variables(run_id))
    try:
        yield run
        tracker.publish(tree, run_id, ran=run.ran, files=run.files)
        status = "FINISHED"
    except Exception as error:
        status = "FAILED"
        failed = {error.stage: "failed"} if isinstance(error, StageFailed) else {}
        tracker.tag_stages(run_id, dict.fromkeys(run.ran, "ran") | failed)
        raise
    except BaseException as end:
        cancelled = {end.stage: "cancelled"} if isinstance(end, Stopped) else {}
        tracker.tag_stages(run_id, dict.fromkeys(run.ran, "ran") | cancelled)
        raise
    finally:
        tracker.end(run_id, status)
