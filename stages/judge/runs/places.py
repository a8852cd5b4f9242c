"""Where the files of a run are, beside its verdicts: a project's folder, DVC's cache, or MLflow.

Of a commit, a DVC experiment or an MLflow run, dvc.lock names the results of every stage, and DVC's cache has them as
long as nobody has removed them. MLflow has a table of the answers besides, of `answers_table.MOST_ROWS` rows at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.common import paths
from stages.common.errors import DataError
from stages.common.results.generate import RESPONSES
from stages.common.results.judge import JUDGE_FOLDER, VERDICTS
from stages.params import reading
from stages.running import committed, lock

MADE_BY = "name another run, or run dvc repro in its folder"


@dataclass(frozen=True)
class Place:
    """Where a run's files are. Paths are those of `stages.common.results`.

    Attributes:
        root: folder of the project that holds its results; None where dvc.lock alone names them.
        lock: text of its dvc.lock; empty where there is none.
        mlflow: id of its run in MLflow; empty for one that was not found there.
        params: text of its params.yaml, where it is not in a folder; empty where it is not known.
        commit: its commit, where it was found by one; else empty.
    """

    root: Path | None = None
    lock: str = ""
    mlflow: str = ""
    params: str = ""
    commit: str = ""

    @classmethod
    def of_judge_folder(cls, folder: Path) -> Place:
        """The place of a run by the folder of its verdicts, an absolute path; a folder of no project has no others."""
        return cls(folder.parents[1]) if folder.parts[-2:] == JUDGE_FOLDER.parts else cls()

    def files(self, path: Path, stage: str, *, name: str) -> list[tuple[Path, Path]]:
        """The files of a result, each as its path in the project and the path where it is now.

        Args:
            path: path of the result, a file or a folder.
            stage: stage that has made it.
            name: name of the run, for messages.

        Raises:
            DataError: it is not there; or the run's dvc.lock is not what DVC writes.
        """
        return self._in_root(self.root, path, name) if self.root else self._in_cache(path, stage, name)

    def lock_text(self) -> str:
        """The text of its dvc.lock without the judge's entry; empty where there is none, or it is of other answers."""
        if self.root is None:
            return lock.without(self.lock, JUDGE_FOLDER.name) if self.lock else ""
        is_its_own = (self.root / lock.LOCK).is_file() and self.holds_answers()
        return lock.text_without(self.root, JUDGE_FOLDER.name) if is_its_own else ""

    def holds_answers(self) -> bool:
        """Whether its dvc.lock is of the answers that are there, as those are that it names itself."""
        if self.root is None:
            return True
        return (self.root / RESPONSES).is_file() and lock.Recorded.of(self.root).holds(self.root, RESPONSES)

    def file(self, path: Path, stage: str, *, name: str) -> Path:
        """Where a result that is one file is now; arguments and errors as `files`."""
        return self.files(path, stage, name=name)[0][1]

    def _in_root(self, root: Path, path: Path, name: str) -> list[tuple[Path, Path]]:
        there = root / path
        if there.is_dir():
            return [(file.relative_to(root), file) for file in sorted(there.rglob("*")) if file.is_file()]
        if not there.is_file():
            raise DataError(f"{name}: {there}: no such file", MADE_BY)
        return [(path, there)]

    def _in_cache(self, path: Path, stage: str, name: str) -> list[tuple[Path, Path]]:
        if not self.lock:
            raise DataError(f"{name}: expected {path}, found verdicts alone: no project and no {lock.LOCK}", MADE_BY)
        called = f"{name}: its {lock.LOCK}"
        found = {one.path: one for one in lock.outputs(self.lock, stage, name=called, fix=MADE_BY)}
        if path not in found:
            raise DataError(f"{called}: the stage {stage} has no output {path}", MADE_BY)
        files = lock.files(found[path], name=name, fix=MADE_BY)
        if missing := [str(kept) for _, kept in files if not kept.is_file()]:
            what = f"{name}: {path} is not in DVC's cache here, such as that of another machine: {missing[0]}"
            raise DataError(what, "dvc pull, where a remote has it; or name another run")
        return files

    def values(self, *, name: str) -> dict[str, Any]:
        """The values of params.yaml that the run was made with, as a tree: what dvc.lock holds counts most.

        Args:
            name: name of the run, for messages.

        Raises:
            ConfigError: its params.yaml is missing or is not YAML.
            DataError: its values are not known.
        """
        if self.root is not None:
            tree, recorded = reading.read_values(self.root / paths.PARAMS), _recorded(self.root)
        else:
            tree, recorded = committed.tree_of(self.params), lock.Recorded.of_text(self.lock).values
        if not isinstance(tree, Mapping):
            raise DataError(f"{name}: no {paths.PARAMS} is kept with it, so that its values are not known", MADE_BY)
        found = dict(tree)
        reading.merge(found, recorded)
        return found


def _recorded(root: Path) -> dict[str, Any]:
    """The values in the dvc.lock of a folder, as far as the folder's answers and verdicts are those that it names."""
    found = lock.Recorded.of(root)
    if not found.holds(root, RESPONSES):
        return {}
    return found.values if found.holds(root, VERDICTS) else {k: v for k, v in found.values.items() if k != "judge"}
