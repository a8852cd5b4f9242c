"""The results of git revisions, DVC experiments and folders, as they are published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows import profiles, workspace
from flows.again import data, gathered
from flows.again.gathered import Gathered
from stages.common import paths
from stages.common.errors import ConfigError, DataError
from stages.common.files import atomic_file
from stages.judge.runs.sources import commit_of
from stages.params import reading
from stages.running import dvc_yaml, git, history, lock
from stages.running.console import say
from stages.running.lock import Recorded
from stages.running.tracking.late import Provenance

_FIX = "git log --oneline, git tag or dvc exp list show what there is"


@dataclass(frozen=True)
class Revision:
    """Something that has a dvc.lock.

    Attributes:
        name: what the user calls it.
        commit: its commit; empty for a folder.
        folder: its folder; None for a commit.
        is_experiment: whether it is a DVC experiment, whose name is that of its run.
    """

    name: str
    commit: str = ""
    folder: Path | None = None
    is_experiment: bool = False

    def text(self, root: Path, path: Path) -> str:
        """The text of a file of it; empty where it has none."""
        if self.folder is None:
            found = git.ask(root, "show", f"{self.commit}:./{path}")
            return f"{found}\n" if found else ""
        return (self.folder / path).read_text(encoding="utf-8") if (self.folder / path).is_file() else ""


def named(root: Path, words: Sequence[str]) -> list[Revision]:
    """What words of the command line mean.

    Args:
        root: the user's repository, which is the working directory.
        words: folders with a dvc.lock, git revisions, ranges of them such as ``main~3..main``, and DVC experiments.

    Raises:
        ConfigError: a word is none of these.
    """
    found: list[Revision] = []
    for word in words:
        if (Path(word) / lock.LOCK).is_file():
            found.append(Revision(word, folder=Path(word).resolve()))
        elif ".." in word:
            commits = git.do(root, "rev-list", "--reverse", word, "--", fix=_FIX).split()
            found += [Revision(commit[:7], commit) for commit in commits]
        elif commit := commit_of(word):
            is_experiment = not git.ask(root, "rev-parse", "--verify", "--quiet", f"{word}^{{commit}}")
            found.append(Revision(word, commit, is_experiment=is_experiment))
        else:
            raise ConfigError(f"{word}: no git revision, DVC experiment or folder with a {lock.LOCK}", _FIX)
    return found


@dataclass(frozen=True)
class Collected:
    """The results of a revision, gathered in a folder.

    Attributes:
        found: where they were, and which are nowhere.
        provenance: what their run in MLflow has besides.
    """

    found: Gathered
    provenance: Provenance


def collect(root: Path, one: Revision, into: Path) -> Collected:
    """Gather the results of a revision in a folder, with its dvc.lock, dvc.yaml and values.

    Args:
        root: the user's repository, which is the working directory.
        one: the revision.
        into: the folder.

    Raises:
        DataError: it has no dvc.lock or params.yaml, or all of its results are nowhere.
    """
    stages = lock.entries_of(one.text(root, lock.LOCK))
    if not stages:
        raise DataError(f"{one.name}: its {lock.LOCK} names no results, or it has none", "name another revision")
    _write_files(root, one, into)
    _write_values(into, stages)
    called = f"{one.name}: its {lock.LOCK}"
    found = gathered.gather(
        stages, into, name=called, folder=one.folder or root, fetch=lambda left: _fetch(root, one, left)
    )
    if not found.places:
        lost = ", ".join(map(str, found.missing[:2])) + (" ..." if len(found.missing) > 2 else "")
        raise DataError(
            f"{one.name}: its results are neither in files, nor in DVC's cache, nor in a remote{found.unasked}: {lost}",
            "dvc push where they were made; or make them again: git switch --detach COMMIT, then dvc repro",
        )
    return Collected(found, _provenance(root, one, into, stages, found))


def _write_files(root: Path, one: Revision, into: Path) -> None:
    for path in (lock.LOCK, dvc_yaml.PIPELINE, paths.PARAMS):
        text = one.text(root, path)
        if not text.strip() and path == paths.PARAMS:
            raise DataError(f"{one.name}: no {paths.PARAMS}, so that its values are not known", "name a git revision")
        with atomic_file(into / path) as stream:
            stream.write(text)


def _write_values(into: Path, stages: Mapping[str, Any]) -> None:
    """Put the values that dvc.lock names over those of params.yaml, which may have been edited since."""
    tree = reading.read_yaml(into / paths.PARAMS)
    reading.merge(tree, Recorded.of_entries(stages).values)
    with atomic_file(into / paths.PARAMS) as stream:
        stream.write(profiles.to_text(tree))


def _fetch(root: Path, one: Revision, left: Sequence[Path]) -> str:
    """Let DVC bring results into its cache, in a copy of the revision; why no remote could be asked."""
    with workspace.at_commit(root, one.commit or "HEAD", log=say) as tree:
        for path in (lock.LOCK, dvc_yaml.PIPELINE):
            if text := one.text(root, path):
                (tree / path).write_text(text, encoding="utf-8")
        return data.fetch(tree, map(str, left))


def _provenance(root: Path, one: Revision, into: Path, stages: Mapping[str, Any], found: Gathered) -> Provenance:
    """The name, the time and the commit of the run."""
    commit = history.History(root).with_code(one.commit, history.named_in(stages))
    tags = {}
    if commit:
        tags = {"git.commit": commit, "git.dirty": "false", "mlflow.source.git.commit": commit}
    made = one.folder / lock.LOCK if one.folder else into / lock.LOCK
    asked = git.ask(root, "show", "--no-patch", "--format=%ct", one.commit) if one.commit else ""
    seconds = int(asked) if asked else int(made.stat().st_mtime)
    return Provenance(_name(root, one, seconds), seconds * 1000, tags, found.missing)


def _name(root: Path, one: Revision, seconds: int) -> str:
    """The name of a DVC experiment or a folder of `make seeds`; else one with the time, which may be empty."""
    if one.folder == root:
        return ""
    if one.folder is not None:
        return f"{one.folder.parent.name}-{one.folder.name}"
    if one.is_experiment:
        return one.name
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%SZ}-{one.commit[:7]}-published"
