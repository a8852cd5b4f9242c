"""What is added to a run of the flow beside its results: figures, files, tags, and lines of its description."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.running.stage_results import RESULTS
from stages.running.tracking import description, mlflow_access, mlflow_experiment, published, store
from stages.running.tracking.mlflow_access import END_SECONDS, PUBLISH_SECONDS


def add(run_id: str | None, metrics: Mapping[str, float], files: Sequence[Path], described: Sequence[str] = ()) -> None:
    """Log figures and files that are of no stage, such as those of a run with children.

    Args:
        run_id: result of `tracker.create_run`; with None this does nothing.
        metrics: figures by name.
        files: files for the run's own folder.
        described: lines that its description begins with; what differs and links follow. None leaves it as it is.
    """
    if run_id is None:
        return
    run = run_id

    def added() -> None:
        client = mlflow_access.client(Path())
        now = time.time_ns() // 1_000_000
        store.log_metrics(client, run, [(name, value, now, 0) for name, value in metrics.items()])
        for file in files:
            client.log_artifact(run, str(file))
        if described:
            tags = client.get_run(run).data.tags
            client.set_tag(run, description.NOTE, description.of_children(described, tags))

    mlflow_access.safely(added, PUBLISH_SECONDS)


def add_comparisons(run_id: str, files: Sequence[Path], lines: Sequence[str]) -> None:
    """Put comparisons with other runs into a run: their files, and a line each at the end of its description.

    Args:
        run_id: id of the run.
        files: files for the run's folder judge.
        lines: what was found. Earlier ones with the same runs are replaced.
    """

    def added() -> None:
        client = mlflow_access.client(Path())
        for file in files:
            client.log_artifact(run_id, str(file), "judge")
        before = client.get_run(run_id).data.tags.get(description.NOTE, "")
        client.set_tag(run_id, description.NOTE, description.with_comparisons(before, lines))

    mlflow_access.safely(added, PUBLISH_SECONDS)


def tag(run_id: str | None, tags: Mapping[str, str]) -> None:
    """Tag a run.

    Args:
        run_id: result of `tracker.create_run`; with None this does nothing.
        tags: values by name.
    """
    if run_id is None:
        return
    run = run_id

    def tagged() -> None:
        client = mlflow_access.client(Path())
        for name, value in tags.items():
            client.set_tag(run, name, value)

    mlflow_access.safely(tagged, END_SECONDS)


def tag_stages(run_id: str | None, states: Mapping[str, str]) -> None:
    """Tag how stages ended in a run that is not published.

    Args:
        run_id: result of `tracker.create_run`; with None this does nothing.
        states: outcome by stage, such as ``{"split": "ran"}``. A .dvc file, which DVC runs as a stage, gets no tag.
    """
    if run_id is None:
        return
    run = run_id

    def tag() -> None:
        client = mlflow_access.client(Path())
        mlflow_experiment.restore(client, run)
        for name, state in states.items():
            if name in RESULTS:
                client.set_tag(run, f"stage.{name}", state)

    mlflow_access.safely(tag, END_SECONDS)


def set_aside(root: Path, run_id: str | None) -> str | None:
    """Take a run out of MLflow's tables whose results are those of an earlier one: nothing was to be done in it.

    It is tagged ``nothing-to-do`` with the earlier run's id, and deleted in MLflow's way: its own page stays, and it
    can be restored.

    Args:
        root: folder with params.yaml, by whose profile the experiment is found.
        run_id: result of `tracker.create_run`, which was published and has ended; with None this does nothing.

    Returns:
        The id of the earlier run; None where there is none, and the run stays.
    """
    if run_id is None:
        return None
    run = run_id

    def aside() -> tuple[str, str, str] | None:
        return store.set_aside(mlflow_access.client(root), run, root, published.TAG)

    earlier = mlflow_access.safely(aside, END_SECONDS)
    if earlier is None:
        return None
    with contextlib.suppress(OSError):  # a note for the summary, which may be that of the run set aside
        noted = published.kept(root)
        published.keep(root, *earlier, made_here=noted is not None and noted.run_id == run)
    return earlier[0]
