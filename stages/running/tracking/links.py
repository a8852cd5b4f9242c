"""Where in MLflow a run and its results are: addresses of pages, and the lines of a summary that lead there."""

from __future__ import annotations

from pathlib import Path

from stages.common import paths
from stages.params import whole
from stages.running.tracking import mirror, mlflow_access, published, store, views
from stages.running.tracking.mlflow_access import END_SECONDS, shown_uri
from stages.running.tracking.store import Page


def page(run_id: str | None, pages: str) -> Page | None:
    """The page of the flow's run; None where there is none, or MLflow does not answer.

    Args:
        run_id: result of `tracker.create_run`.
        pages: address of MLflow's pages, where the store is no server with pages of its own.
    """
    if run_id is None:
        return None
    run = run_id
    return mlflow_access.safely(lambda: store.page(mlflow_access.client(Path()), run, pages), END_SECONDS)


def runs_pages(root: Path, pages: str) -> list[tuple[str, str]]:
    """The experiments of this project and the addresses of their tables of runs, the profile's in ``root`` first.

    That experiment is made if need be, so that its address is right before the first run.

    Args:
        root: folder with params.yaml, and with mlflow.db unless MLFLOW_TRACKING_URI is set.
        pages: address of MLflow's pages, where the store is no server with pages of its own.

    Returns:
        Name and address of each; none, with a message, where MLflow does not answer.
    """

    def found() -> list[tuple[str, str]]:
        mlflow = mlflow_access.client(root)
        return store.runs_pages(mlflow, whole.load(root / paths.PARAMS).profile, root, pages)

    return mlflow_access.safely(found, END_SECONDS) or []


def store_lines(root: Path, *, stays: bool, stands: bool = True, pages: str = "") -> list[str]:
    """Lines of the summary that tell where in MLflow the results are, or how they come to be there.

    Args:
        root: folder with the results.
        stays: whether the folder stays; a copy of the repository is removed after its run.
        stands: whether the last stage succeeds. Results that do not stand are not published later.
        pages: address of MLflow's pages of this machine; empty where they are not started.
    """
    if (found := published.kept(root)) is not None:
        base = store.pages_of(pages)
        where = f"{'MLflow':<12}{shown_uri(root)}"
        if not (base and found.experiment):
            return [where, f"{'compare':<12}make ui"]
        # An address is longer than a line, and stays beside its label.
        return [where, f"{'compare':\N{NO-BREAK SPACE}<12}{views.runs_page(base, found.experiment)}"]
    if not mirror.results(root):
        return []
    if not stands:
        return [f"{'MLflow':<12}not there; it takes results that stand: see below why these do not"]
    first = "" if stays else ", after that"
    return [f"{'MLflow':<12}not there; to add these results{first}: python -m flows.publish"]


def name_lines(root: Path) -> list[str]:
    """The name of the run that has the results under ``root``; none where MLflow does not have them."""
    found = published.kept(root)
    return [found.name] if found and found.name else []
