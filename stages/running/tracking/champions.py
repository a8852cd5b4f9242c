"""Which runs are champions, as MLflow's registry has it: for lists and pages that mark them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.running.tracking import database, mlflow_access, mlflow_experiment, published

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: The alias of the version that `flows.promote` has chosen.
ALIAS = "champion"
#: Seconds that a server may take to say whether results are the champion's, which is a courtesy.
_SECONDS = 10.0


def by_run(mlflow: MlflowClient) -> dict[str, str]:
    """The champions of all profiles: name and number of the version, by the id of its run."""
    return {version.run_id: _told(version) for version in _versions(mlflow)}


def of_results(root: Path, tree: Path) -> str:
    """The champion that has the results of a folder, as `by_run` names it; empty where they are no champion's.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        tree: folder with the results.

    Raises:
        Exception: MLflow does not answer, in its own words.
    """
    store = database.path_of(mlflow_access.uri(root))
    if store is not None and not store.exists():
        return ""  # nothing is on record, and a client would make the database
    results = published.digest(tree)
    mlflow_access.load()
    found = mlflow_access.bounded(lambda: _versions(mlflow_access.client(root)), _SECONDS)
    return next((_told(version) for version in found if version.tags.get(published.TAG) == results), "")


def _versions(mlflow: MlflowClient) -> list[Any]:
    models = mlflow.search_registered_models(f"name LIKE '{mlflow_experiment.PROJECT}-%'", max_results=1000)
    champions = [(model.name, model.aliases[ALIAS]) for model in models if ALIAS in model.aliases]
    return [mlflow.get_model_version(name, number) for name, number in champions]


def _told(version: Any) -> str:
    return f"{version.name} version {version.version}"
