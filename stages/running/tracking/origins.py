"""What a run comes from: its commit, and the run whose answers it scores again."""

from __future__ import annotations

from pathlib import Path

from stages.running import lock
from stages.running.tracking import doors, lookup, mlflow_access, names, published, store
from stages.running.tracking.mlflow_access import END_SECONDS

#: Runs with the same results that are looked at.
_MOST_SAME = 100


def commit_tags(root: Path) -> dict[str, str]:
    """The tags that name the last commit of a repository; none without one."""
    return store.git_tags(root)


def rescoring_tags(root: Path, source: str, name: str, commit: str = "") -> dict[str, str]:
    """The tags of a run that scores the answers of another one again: they name that one, and lead to its page.

    The commit is that of the answers, as far as it is known. That of the code which scores is in a tag of its own.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        source: id of the other run; empty where it is not in MLflow.
        name: name of the other run.
        commit: commit that has the answers; empty: that of the other run.
    """
    tags = {doors.TAG: doors.RESCORED, store.RESCORE_SOURCE: name}
    if here := commit_tags(root):
        tags[store.RESCORE_COMMIT] = here["git.commit"]
    if commit:
        tags |= {"git.commit": commit, "git.dirty": "false", "mlflow.source.git.commit": commit}
    elif source:
        tags |= mlflow_access.safely(lambda: store.git_tags_of(mlflow_access.client(root), source), END_SECONDS) or {}
    if source:
        # Pages of a local store have no address of their own: the link stays on the page that shows it.
        found = mlflow_access.safely(lambda: store.page(mlflow_access.client(root), source, ""), END_SECONDS)
        tags |= {store.RESCORE_OF: source} | ({store.RESCORE_PAGE: found.address} if found else {})
    return tags


def rescored(root: Path, folder: Path, name: str) -> tuple[str, str] | None:
    """The id and the name of the newest finished run that has the results of a folder as scored again.

    None where there is none, or MLflow does not tell.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        folder: the folder with the results.
        name: short name of the run, which is that of the judge and the answers: others may have the same results.
    """
    query = f"tags.`{published.TAG}` = '{published.digest(folder)}' and tags.`{doors.TAG}` = '{doors.RESCORED}'"
    found = mlflow_access.safely(lambda: lookup.search(root, query, most=_MOST_SAME), END_SECONDS)
    return next((one for one in found or () if names.short_of(one[1]) == name), None)


def of_lineage(root: Path, text: str) -> tuple[str, str] | None:
    """The id and the name of the newest run that has the results which a dvc.lock names, but for the judge's.

    Runs that score another one's answers again are left out. None where there is none, or MLflow does not tell.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        text: the dvc.lock; empty where there is none.
    """
    if not text:
        return None
    not_rescored = "".join(f" and tags.door != '{door}'" for door in doors.ALL_RESCORED)
    query = f"tags.`dvc.lock.sha256` = '{published.lineage(lock.tree_of(text))}'{not_rescored}"
    found = mlflow_access.safely(lambda: lookup.search(root, query, most=1), END_SECONDS)
    return next(iter(found or ()), None)
