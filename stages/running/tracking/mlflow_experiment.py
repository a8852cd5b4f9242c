"""MLflow's experiment with the runs of a profile: found, created, and restored where somebody has deleted it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stages.running.console import say
from stages.running.tracking import database, mlflow_access, views

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROJECT = "instruct-pipeline"


def name_of(profile: str) -> str:
    """The name of the experiment with the runs of a profile."""
    return f"{PROJECT}/{profile}"


def ids_of_all(mlflow: MlflowClient) -> list[str]:
    """The ids of the experiments of this project, of all profiles."""
    found = mlflow.search_experiments(filter_string=f"name LIKE '{PROJECT}/%'")
    return [str(experiment.experiment_id) for experiment in found]


def ensured(mlflow: MlflowClient, profile: str, root: Path) -> str:
    """The id of the experiment with the runs of a profile, which is created or restored if need be."""
    # Of this kind MLflow's page shows training runs with curves, not evaluations of an application.
    found = ensured_as(mlflow, name_of(profile), "custom_model_development", root)
    with_view(mlflow, found)
    return found


def with_view(mlflow: MlflowClient, experiment_id: str) -> str:
    """Give an experiment the saved view of its runs, if it has none of this version, and return its name."""
    experiment = mlflow.get_experiment(experiment_id)
    key, value = views.saved_view(int(experiment.creation_time or 0))
    if key not in experiment.tags:
        mlflow.set_experiment_tag(experiment_id, key, value)
    return str(experiment.name)


def ensured_as(mlflow: MlflowClient, name: str, kind: str, root: Path) -> str:
    """The id of an experiment, which is created or restored if need be.

    Args:
        mlflow: the client.
        name: name of the experiment.
        kind: kind of the experiment, by which MLflow chooses what its page shows.
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
    """
    from mlflow.exceptions import MlflowException

    # Beside the database. MLflow's default is the working directory, which is removed after an isolated run.
    path = database.path_of(mlflow_access.uri(root))
    artifacts = None if path is None else (path.resolve().parent / "mlruns").as_uri()
    if (named := mlflow.get_experiment_by_name(name)) is None:
        try:
            tags = {"mlflow.experimentKind": kind}
            return str(mlflow.create_experiment(name, artifact_location=artifacts, tags=tags))
        except MlflowException:
            # Another process may have created it in between; if not, the error is real.
            if (named := mlflow.get_experiment_by_name(name)) is None:
                raise
    if named.lifecycle_stage == "deleted":
        _restore_experiment(mlflow, named.experiment_id, name)
    return str(named.experiment_id)


def restore(mlflow: MlflowClient, run_id: str) -> None:
    """Restore a run, and its experiment, that was deleted in MLflow while this execution was at work."""
    found = mlflow.get_run(run_id)
    experiment = mlflow.get_experiment(found.info.experiment_id)
    if experiment.lifecycle_stage == "deleted":
        _restore_experiment(mlflow, experiment.experiment_id, experiment.name)
        found = mlflow.get_run(run_id)
    if found.info.lifecycle_stage == "deleted":
        mlflow.restore_run(run_id)
        say(f"tracking: the run {found.info.run_name} was deleted in MLflow while it was at work: restored")


def _restore_experiment(mlflow: MlflowClient, experiment_id: str, name: str) -> None:
    """Restore a deleted experiment: MLflow lets no other have its name, and tracks nothing in one that is deleted."""
    from mlflow.exceptions import MlflowException

    try:
        mlflow.restore_experiment(experiment_id)
    except MlflowException:
        # Another process may have restored it in between; if not, the error is real.
        if mlflow.get_experiment(experiment_id).lifecycle_stage == "deleted":
            raise
        return
    say(f"tracking: the experiment {name} was deleted in MLflow: restored, with its runs, as this run belongs there")
