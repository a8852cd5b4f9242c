"""Finds the verdicts of a run: in a folder, a git revision, a DVC experiment, or an MLflow run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from stages.common.errors import ConfigError, DataError
from stages.common.files import read_json
from stages.common.metrics.judge import JudgeIdentity
from stages.common.records import read_records
from stages.common.results.judge import JUDGE_FOLDER, JUDGE_METRICS, VERDICTS, Verdict
from stages.running import git, lock, temporary
from stages.running.tracking import tracker

#: The two files of the stage judge that a comparison needs.
FILES = (VERDICTS, JUDGE_METRICS)
MADE_BY = "dvc repro judge"


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


def find_run(name: str) -> Run:
    """The run that a name means: the first of a path, a git revision, a DVC experiment and an MLflow run that it is.

    Args:
        name: a folder with verdicts.jsonl and metrics.json, or with judge/ or artifacts/judge in it; what
            `git rev-parse` takes; the name of an experiment of `dvc exp show`; the id or the name of an MLflow run.

    Raises:
        ConfigError: it is none of these, or an MLflow run of something else; or git does not read the repository.
        DataError: its verdicts are missing or broken.
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
    return _read(name, folder / VERDICTS.name, folder / JUDGE_METRICS.name)


def _in_git(name: str) -> Run | None:
    """A commit's verdicts: its dvc.lock names them, and DVC's cache has them."""
    commit = git.ask(
        Path(), "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
    ) or _experiment(name)
    if not commit:
        return None
    text = git.ask(Path(), "show", f"{commit}:./{lock.LOCK}")
    called = f"{name}: its {lock.LOCK}"
    try:
        outputs = {one.path: one for one in lock.outputs(text, "judge", name=called, fix=MADE_BY)}
        verdicts, metrics = (lock.files(outputs[path], name=called, fix=MADE_BY)[0][1] for path in FILES)
    except (lock.NoOutputs, LookupError):
        raise DataError(f"{name}: no results of the stage judge in its {lock.LOCK}", MADE_BY) from None
    if missing := [str(path) for path in (verdicts, metrics) if not path.is_file()]:
        fix = f"git checkout {name} && dvc pull, or {MADE_BY} there"
        raise DataError(f"{name}: not in DVC's cache: {', '.join(missing)}", fix)
    return _read(name if commit.startswith(name) else f"{name} ({commit[:7]})", verdicts, metrics)


def _experiment(name: str) -> str:
    """The commit of a DVC experiment; DVC keeps each under refs/exps/BASELINE'S FIRST TWO DIGITS/THE OTHERS/NAME."""
    listed = git.ask(Path(), "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
    return next((line.split(" ")[0] for line in listed if line.rpartition("/")[2] == name), "")


def _in_mlflow(name: str) -> Run | None:
    with temporary.folder() as folder:
        found = tracker.download(Path(), name, [f"judge/{path.name}" for path in FILES], folder)
        if found is None:
            return None
        return _read(name, *found)
