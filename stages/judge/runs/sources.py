"""Finds the verdicts of a run: in a folder, a git revision, a DVC experiment, or an MLflow run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from stages.common import paths
from stages.common.errors import ConfigError, DataError, PipelineError
from stages.common.files import read_json
from stages.common.metrics.judge import JudgeIdentity
from stages.common.records import read_records
from stages.common.results.judge import JUDGE_FOLDER, JUDGE_METRICS, VERDICTS, Verdict
from stages.running import committed, dvc_users, git, lock, temporary
from stages.running.tracking import tracker

#: The two files of the stage judge that a comparison needs.
FILES = (VERDICTS, JUDGE_METRICS)
MADE_BY = "dvc repro judge"
_IN_MLFLOW = [f"judge/{path.name}" for path in FILES]
#: Runs in MLflow that are looked at, the newest first.
_MOST = 20


@dataclass(frozen=True)
class Run:
    """One run's verdicts.

    Attributes:
        name: name that the user gave it, with the commit where it is a revision or an experiment.
        judge: the judge's identity.
        verdicts: verdicts on the answers of all models.
    """

    name: str
    judge: JudgeIdentity
    verdicts: Sequence[Verdict]

    def of(self, model: str) -> list[Verdict]:
        """The verdicts on one model's answers.

        Raises:
            ConfigError: there are none.
        """
        found = [verdict for verdict in self.verdicts if verdict.model == model]
        if not found:
            there = ", ".join(sorted({verdict.model for verdict in self.verdicts}))
            what = f"{self.name}: no verdicts on the model {model}; it has {there or 'none'}"
            raise ConfigError(what, "--model NAME" if there else "name another run")
        return found


class NotHere(DataError):
    """A commit's results are not in DVC's cache, such as those of another machine.

    Args:
        name: the commit, as the user named it, and its hash.
        what: the problem.
        fix: what fixes it.
    """

    def __init__(self, name: str, what: str, fix: str) -> None:
        super().__init__(what, fix)
        self.name = name


def find_run(name: str) -> Run:
    """The run that a name means: the first of a path, a git revision, a DVC experiment and an MLflow run that it is.

    Args:
        name: a folder with verdicts.jsonl and metrics.json, or with judge/ or artifacts/judge in it; what
            `git rev-parse` takes; the name of an experiment of `dvc exp show`; the id or the name of an MLflow run.

    Raises:
        ConfigError: it is none of these, or an MLflow run of something else; or git does not read the repository.
        NotHere: it is a commit, and DVC's cache does not have its results.
        DataError: its verdicts are missing or broken.
        TemporaryFailure: its verdicts are missing, and a run is at work that makes them.
        ServiceUnavailable: MLflow does not answer.
    """
    ways: tuple[Callable[[str], Run | None], ...] = (_in_folder, _in_git, _in_mlflow)
    for way in ways:
        if (found := way(name)) is not None:
            return found
    if (refusal := git.refusal(Path())) is not None:  # it may be a revision that git does not tell
        raise ConfigError(f"{name}: not found; {refusal.what}", refusal.fix)
    raise ConfigError(
        f"{name}: no such folder, git revision, DVC experiment or MLflow run",
        "git log --oneline, dvc exp show or make ui show what there is",
    )


def _read(name: str, verdicts: Path, metrics: Path) -> Run:
    """Read a run's two files. Of the metrics only the judge is read: those of other versions may have other fields."""
    read = read_json(metrics, made_by=MADE_BY)
    try:
        judge = JudgeIdentity.model_validate(read["judge"])
    except (KeyError, TypeError, ValidationError):
        raise DataError(f"{name}: {metrics}: no judge in it, so it is not of the stage judge", MADE_BY) from None
    return Run(name, judge, list(read_records(verdicts, Verdict, made_by=MADE_BY)))


def _in_folder(name: str) -> Run | None:
    path = Path(name)
    if path.name == VERDICTS.name and path.is_file():
        path = path.parent
    if not path.is_dir():
        return None
    inside = (path / JUDGE_FOLDER, path / JUDGE_FOLDER.name, path)
    folder = next(one for one in inside if one.is_dir())
    if not (folder / VERDICTS.name).exists():
        root = next((above for above in folder.resolve().parents if (above / ".dvc").is_dir()), Path())
        raise dvc_users.absent(root, folder / VERDICTS.name, JUDGE_FOLDER.name)
    return _read(name, folder / VERDICTS.name, folder / JUDGE_METRICS.name)


def _in_git(name: str) -> Run | None:
    """A commit's verdicts: its dvc.lock names them, and DVC's cache has them."""
    commit = git.ask(
        Path(), "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
    ) or _experiment(name)
    if not commit:
        return None
    called = f"{name}: its {lock.LOCK}"
    try:
        outputs = committed.outputs(Path(), commit, "judge", name=called, fix=MADE_BY)
        verdicts, metrics = (lock.files(outputs[path], name=called, fix=MADE_BY)[0][1] for path in FILES)
    except (lock.NoOutputs, LookupError):
        raise DataError(f"{name}: no results of the stage judge in its {lock.LOCK}", MADE_BY) from None
    shown = name if commit.startswith(name) else f"{name} ({commit[:7]})"
    if missing := [str(path) for path in (verdicts, metrics) if not path.is_file()]:
        what = f"{shown}: its results are not in DVC's cache, such as those of another machine: {', '.join(missing)}"
        raise NotHere(shown, what, committed.BASELINE)
    return _read(shown, verdicts, metrics)


def _experiment(name: str) -> str:
    """The commit of a DVC experiment; DVC keeps each under refs/exps/BASELINE'S FIRST TWO DIGITS/THE OTHERS/NAME."""
    listed = git.ask(Path(), "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
    return next((line.split(" ")[0] for line in listed if line.rpartition("/")[2] == name), "")


def _in_mlflow(name: str) -> Run | None:
    with temporary.folder() as folder:
        found = tracker.download(Path(), name, _IN_MLFLOW, folder)
        if found is None:
            return None
        return _read(name, *found)


def in_place_of(missing: NotHere, others: Sequence[Run]) -> Run:
    """The run to compare with where the results of a commit are another machine's.

    That is the last one of the project's folder or of MLflow whose scores are not those of ``others``, which may be
    recorded there too.

    Args:
        missing: the error of the commit.
        others: the runs that are to be compared with it.

    Raises:
        NotHere: there is none.
    """
    for found in _last_runs():
        if all(list(found.verdicts) != list(other.verdicts) for other in others):
            return replace(found, name=f"{found.name}, in place of {missing.name}")
    raise missing


def _last_runs() -> Iterator[Run]:
    """The results in the folder, and then those of the last runs in MLflow; what cannot be read is left out."""
    with contextlib.suppress(DataError):
        if (folder := _in_folder(str(paths.ARTIFACTS))) is not None:
            yield folder
    with contextlib.suppress(PipelineError):
        for run_id, name in tracker.finished(Path(), most=_MOST):
            with contextlib.suppress(DataError, ConfigError), temporary.folder() as at:
                if files := tracker.download(Path(), run_id, _IN_MLFLOW, at):
                    yield _read(f"{name} of MLflow", *files)
