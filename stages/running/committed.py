"""What a commit has, by its params.yaml and its dvc.lock: values, outputs, and where its scores would be here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.common import paths
from stages.common.errors import DataError
from stages.common.results.judge import VERDICTS
from stages.running import git, lock
from stages.running.lock import Output, Recorded

#: What fixes it where the results of a commit are another machine's.
BASELINE = "git commit -am 'My first run' makes the results here the baseline; or dvc pull, where a remote has them"


class Scores(NamedTuple):
    """The verdicts of a commit.

    Args:
        digest: their MD5.
        kept: their path in DVC's cache, whether they are there or not.
    """

    digest: str
    kept: Path


def outputs(root: Path, commit: str, stage: str, *, name: str, fix: str) -> dict[Path, Output]:
    """The outputs of a stage that the dvc.lock of a commit names, by path.

    Args:
        root: folder in the repository.
        commit: the commit, as git takes it.
        stage: name of the stage.
        name: name of the dvc.lock, for messages.
        fix: the command or edit that helps where it is wrong.

    Raises:
        NoOutputs, DataError: as `lock.outputs`.
    """
    return {one.path: one for one in lock.outputs(lock_of(root, commit), stage, name=name, fix=fix)}


def recorded(root: Path, commit: str) -> Recorded:
    """All that the dvc.lock of a commit holds of the stages; nothing where it cannot be read.

    Args:
        root: folder in the repository.
        commit: the commit, as git takes it.
    """
    return Recorded.of_text(lock_of(root, commit))


def lock_of(root: Path, commit: str) -> str:
    """The text of the dvc.lock of a commit; empty where it has none.

    Args:
        root: folder in the repository.
        commit: the commit, as git takes it.
    """
    return git.ask(root, "show", f"{commit}:./{lock.LOCK}")


def scores(root: Path, commit: str = "HEAD") -> Scores | None:
    """The verdicts that a commit names; None where it names none.

    Args:
        root: folder in the repository.
        commit: the commit, as git takes it.
    """
    try:
        found = outputs(root, commit, "judge", name=commit, fix="")[VERDICTS]
        ((_, kept),) = lock.files(found, name=commit, fix="")
    except (DataError, LookupError, ValueError):
        return None
    return Scores(found.digest, kept)


def values(root: Path, commit: str = "HEAD") -> Mapping[str, Any] | None:
    """The tree of params.yaml in a commit; None where it has none.

    Args:
        root: folder in the repository.
        commit: the commit, as git takes it.
    """
    return tree_of(git.ask(root, "show", f"{commit}:./{paths.PARAMS}"))


def tree_of(text: str) -> Mapping[str, Any] | None:
    """The tree of a params.yaml; None where the text is none."""
    try:
        tree = YAML(typ="safe").load(text)
    except (YAMLError, ValueError, TypeError, RecursionError):
        return None
    return tree if isinstance(tree, Mapping) else None
