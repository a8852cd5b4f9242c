"""Finds the verdicts of a run: in a folder, a git revision, a DVC experiment, or an MLflow run."""

from __future__ import annotations

import contextlib
import fnmatch
import shlex
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.common import paths
from stages.common.errors import ConfigError, DataError, PipelineError, TemporaryFailure
from stages.common.files import read_json
from stages.common.metrics.judge import JudgeIdentity
from stages.common.records import read_records
from stages.common.results.finetune import TUNED_MODEL
from stages.common.results.generate import RESPONSES
from stages.common.results.judge import JUDGE_FOLDER, JUDGE_METRICS, VERDICTS, Verdict
from stages.judge.runs import recipe
from stages.judge.runs.places import Place
from stages.running import committed, dvc_users, git, lock, temporary
from stages.running.lock import Recorded
from stages.running.tracking import judged_runs, lookup, published
from stages.running.tracking.names import short_of

#: The two files of the stage judge that a comparison needs.
FILES = (VERDICTS, JUDGE_METRICS)
MADE_BY = "dvc repro judge"
_IN_MLFLOW = [f"judge/{path.name}" for path in FILES]
#: Runs in MLflow that are looked at, the newest first.
_MOST = 20
#: Runs of one group, and runs whose names are compared with a pattern.
_MOST_IN_GROUP, _MOST_LISTED = 100, 1000
#: Other trainings of a recipe that are read to learn how much seeds do.
_MOST_TRAININGS = 20
#: What a filter of MLflow begins with.
FILTER = "mlflow:"
#: What the results in the project's folder are called where MLflow has no name for them.
IN_FOLDER = "the results in the folder"
#: The place of a run that is known by its verdicts alone.
_NOWHERE = Place()


@dataclass(frozen=True)
class Run:
    """One run's verdicts.

    Attributes:
        name: name that the user gave it, with the commit where it is a revision or an experiment.
        judge: the judge's identity.
        verdicts: verdicts on the answers of all models.
        values: its values of params.yaml, as a tree; empty where they are not known.
        model: digest of the fine-tuned model, by which runs of one and the same training are known; may be empty.
        inputs: MD5 of each file and folder that each stage has read, by stage and path; empty where they are not known.
        place: where its other files are.
        answers_known: whether values, model and inputs are known to be those of the answers that are there now, too.
    """

    name: str
    judge: JudgeIdentity
    verdicts: Sequence[Verdict]
    values: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    inputs: Mapping[str, Mapping[Path, str]] = field(default_factory=dict)
    place: Place = field(default_factory=Place)
    answers_known: bool = True

    @property
    def recipe(self) -> dict[str, Any] | None:
        """What decides its answers, but for the seed of the training (`recipe.recipe_of`)."""
        return recipe.recipe_of(self.values, self.inputs)

    @property
    def seed(self) -> int | None:
        """The seed of its training."""
        return recipe.seed_of(self.values)

    def of_answers(self) -> Run:
        """The run with what is known of its answers, for whoever reads these and not the verdicts.

        Answers may be newer than the verdicts beside them, and than dvc.lock: nothing is known of those.
        """
        return self if self.answers_known else replace(self, values={}, model="", inputs={}, answers_known=True)

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
            `git rev-parse` takes; the name of an experiment of `dvc exp show`; the id or the name of an MLflow run, or
            the beginning of one that no other has.

    Raises:
        ConfigError: it is none of these, or empty, or an MLflow run of something else, or the beginning of several; or
            git does not read the repository.
        NotHere: it is a commit, and DVC's cache does not have its results.
        DataError: its verdicts are missing or broken.
        TemporaryFailure: its verdicts are missing, and a run is at work that makes them.
        ServiceUnavailable: MLflow does not answer.
    """
    lookup.require_name(name)
    ways: tuple[Callable[[str], Run | None], ...] = (_in_folder, _in_git, _in_mlflow)
    for way in ways:
        if (found := way(name)) is not None:
            return found
    if (refusal := git.refusal(Path())) is not None:  # it may be a revision that git does not tell
        raise ConfigError(f"{name}: not found; {refusal.what}", refusal.fix)
    raise ConfigError(
        f"{name}: no such folder, git revision, DVC experiment or MLflow run"
        f"{lookup.did_you_mean(Path(), name, list(_experiments()))}",
        "make runs, git log --oneline, dvc exp show or make ui show what there is",
    )


def find_all(word: str) -> list[Run]:
    """The runs that a word means: one of `find_run`, or several.

    Args:
        word: what `find_run` takes; the name of an MLflow run that others belong to, such as that of `make seeds`,
            which means those; a pattern with ``*``, ``?`` or ``[``, of folders, DVC experiments or MLflow runs, in this
            order; or ``mlflow:`` and a filter of MLflow, which means the finished runs that it selects.

    Raises:
        ConfigError: it means no run; and as `find_run`, as the other errors are.
    """
    lookup.require_name(word)
    if word.startswith(FILTER):
        return _of_mlflow(word, lookup.search(Path(), word.removeprefix(FILTER), most=_MOST_IN_GROUP))
    if not any(letter in word for letter in "*?["):
        full = None if Path(word).exists() or commit_of(word) else lookup.full_name(Path(), word)
        found = lookup.children(Path(), full) if full else []
        return _of_mlflow(word, found) if found else [find_run(full or word)]
    start = Path(Path(word).anchor)
    found_here = [path for path in start.glob(str(Path(word).relative_to(start))) if path.is_dir()]
    # As in a shell: what begins with a dot, such as what is being written, is no match of a star.
    hidden = Path(word).name.startswith(".")
    folders = sorted(str(path) for path in found_here if hidden or not path.name.startswith("."))
    if names := folders or [name for name in _experiments() if fnmatch.fnmatchcase(name, word)]:
        return [find_run(name) for name in names]
    runs = lookup.search(Path(), "", most=_MOST_LISTED)
    return _of_mlflow(word, [run for run in runs if fnmatch.fnmatchcase(run[1], word)][:_MOST_IN_GROUP])


def _of_mlflow(word: str, found: Sequence[tuple[str, str]]) -> list[Run]:
    """Runs of MLflow by their ids, under their short names, which can be copied into a command."""
    if not found:
        fix = "make runs, dvc exp show or make ui show what there is"
        raise ConfigError(f"{word}: no folder, DVC experiment or finished MLflow run fits it", fix)
    return [replace(run, name=short_of(name)) for run_id, name in found if (run := _in_mlflow(run_id)) is not None]


def _read(name: str, verdicts: Path, metrics: Path, recorded: Recorded | None = None, place: Place = _NOWHERE) -> Run:
    """Read a run's two files. Of the metrics only the judge is read: those of other versions may have other fields.

    Args:
        name: name of the run.
        verdicts: path of its verdicts.
        metrics: path of the judge's metrics.
        recorded: what dvc.lock holds of the run.
        place: where its other files are.
    """
    read = read_json(metrics, made_by=MADE_BY)
    try:
        judge = JudgeIdentity.model_validate(read["judge"])
    except (KeyError, TypeError, ValidationError):
        raise DataError(f"{name}: {metrics}: no judge in it, so it is not of the stage judge", MADE_BY) from None
    known = recorded or Recorded()
    rows = list(read_records(verdicts, Verdict, made_by=MADE_BY))
    return Run(name, judge, rows, known.values, known.digests.get(TUNED_MODEL, ""), known.inputs, place)


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
    at = folder.resolve()
    place = Place.of_judge_folder(at)
    found = _read(name, folder / VERDICTS.name, folder / JUDGE_METRICS.name, _recorded(at), place)
    return replace(found, answers_known=place.holds_answers())


def _recorded(folder: Path) -> Recorded | None:
    """What the dvc.lock of a stage's folder holds, if that folder's files are those that it holds.

    The answers are enough: while the stage judge ends, dvc.lock has the verdicts of an earlier run. So are the
    verdicts, of which `compare` speaks; of answers that are other ones, `Run.of_answers` knows nothing.
    """
    if folder.parts[-2:] != JUDGE_FOLDER.parts:
        return None
    root = folder.parents[1]
    found = Recorded.of(root)
    there = [path for path in (VERDICTS, RESPONSES) if (root / path).is_file() and path in found.digests]
    return found if any(found.holds(root, path) for path in there) else None


def _in_git(name: str) -> Run | None:
    """A commit's verdicts: its dvc.lock names them, and DVC's cache has them."""
    commit = commit_of(name)
    if not commit:
        return None
    called = f"{name}: its {lock.LOCK}"
    try:
        outputs = committed.outputs(Path(), commit, "judge", name=called, fix=MADE_BY)
        verdicts, metrics = (lock.files(outputs[path], name=called, fix=MADE_BY)[0][1] for path in FILES)
    except (lock.NoOutputs, LookupError):
        raise DataError(f"{name}: no results of the stage judge in its {lock.LOCK}", MADE_BY) from None
    shown = name if commit.startswith(name) else f"{name} ({commit[:7]})"
    if not (verdicts.is_file() and metrics.is_file()):
        what = f"{shown}: its results are not in DVC's cache, such as those of another machine"
        raise NotHere(shown, what, _fix_of(name, commit))
    params = git.ask(Path(), "show", f"{commit}:./{paths.PARAMS}")
    place = Place(lock=committed.lock_of(Path(), commit), params=params, commit=commit)
    return _read(shown, verdicts, metrics, committed.recorded(Path(), commit), place)


def _fix_of(name: str, commit: str) -> str:
    """What helps where the results of a commit are not in DVC's cache: those of the last one can be made again."""
    if commit == git.ask(Path(), "rev-parse", "HEAD"):
        return committed.BASELINE
    return f"python -m flows.publish {shlex.quote(name)}, where a remote has them; or name a run: make runs lists them"


def commit_of(name: str) -> str:
    """The commit of a git revision or a DVC experiment; empty where there is none of this name."""
    asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return git.ask(Path(), *asked) or _experiments().get(name, "")


def _experiments() -> dict[str, str]:
    """The commits of DVC's experiments by name, the newest first.

    DVC keeps each under refs/exps/BASELINE'S FIRST TWO DIGITS/THE OTHERS/NAME.
    """
    form = ("--sort=-creatordate", "--format=%(objectname) %(refname)")
    found: dict[str, str] = {}
    for line in git.ask(Path(), "for-each-ref", *form, "refs/exps").splitlines():
        commit, _, ref = line.partition(" ")
        parts = ref.split("/")
        if len(parts) == 5 and parts[2] != "exec":  # exec/: what DVC is at work on
            found.setdefault(parts[4], commit)
    return found


def _in_mlflow(given: str) -> Run | None:
    name = lookup.full_name(Path(), given)
    if name is None:
        return None
    with temporary.folder() as folder:
        others = [str(lock.LOCK), str(paths.PARAMS)]
        found = lookup.download(Path(), name, _IN_MLFLOW, folder, optional=others)
        if found is None:
            return None
        verdicts, metrics, *rest = found
        texts = {path.name: path.read_text("utf-8") for path in rest}
        text = texts.get(str(lock.LOCK), "")
        run_id = lookup.id_of(Path(), name) or ""
        place = Place(lock=text, mlflow=run_id, params=texts.get(str(paths.PARAMS), ""))
        return _read(name, verdicts, metrics, Recorded.of_text(text) if text else None, place)


def trainings_of(run: Run) -> list[Run]:
    """Other trainings of a run's recipe with scores of the same judge, each with a seed of its own.

    They are looked for among the finished runs of MLflow, DVC's experiments, the last commit and the folder; what
    cannot be read is left out.

    Args:
        run: the run, whose recipe and seed are known; else there are none.
    """
    wanted = run.recipe
    if wanted is None:
        return []
    found: dict[int | None, Run] = {run.seed: run}
    for other in _others(run, found):
        if other.judge.is_same(run.judge) and other.recipe == wanted:
            found.setdefault(other.seed, other)
        if len(found) > _MOST_TRAININGS:
            break
    return [other for seed, other in found.items() if seed not in (None, run.seed)]


def _others(run: Run, seeds: Container[int | None]) -> Iterator[Run]:
    """Runs that may be trainings of a recipe: cheap ones first, and of those that take time only the newest.

    Args:
        run: the run.
        seeds: the seeds of trainings that are found already, whose files are not fetched again; they become more.
    """
    values_wanted = recipe.recipe_of(run.values)
    for one in judged_runs.known(Path(), run.judge.fingerprint):
        if recipe.recipe_of(one.values) != values_wanted or recipe.seed_of(one.values) in seeds:
            continue
        with contextlib.suppress(PipelineError), temporary.folder() as folder:
            # Without its dvc.lock nobody knows its code and data.
            if files := one.files(Path(), [*_IN_MLFLOW, str(lock.LOCK)], folder):
                recorded = Recorded.of_text(files[2].read_text(encoding="utf-8"))
                yield replace(_read(short_of(one.name), files[0], files[1], recorded), values=one.values)
    for name in ["HEAD", *list(_experiments())[:_MOST]]:
        with contextlib.suppress(PipelineError):
            if (there := _in_git(name)) is not None:
                yield there
    with contextlib.suppress(PipelineError):
        if (here := _in_folder(str(paths.ARTIFACTS))) is not None:
            yield here


def in_place_of(missing: NotHere, others: Sequence[Run]) -> tuple[Run, str]:
    """The run to compare with where the results of a commit are another machine's.

    That is the last one of the project's folder or of MLflow whose scores are not those of ``others``, which may be
    recorded there too.

    Args:
        missing: the error of the commit.
        others: the runs that are to be compared with it.

    Returns:
        The run, under its name in MLflow or `IN_FOLDER`, and what to call it here.

    Raises:
        NotHere: there is none.
    """
    for found in _last_runs():
        if all(list(found.verdicts) != list(other.verdicts) for other in others):
            where = found.name if found.name == IN_FOLDER else f"{found.name} of MLflow"
            return found, f"{where}, in place of {missing.name}"
    raise missing


def _last_runs() -> Iterator[Run]:
    """The results in the folder, and then those of the last runs in MLflow; what cannot be read is left out.

    Of runs with the same results the first one is enough: to fetch files takes 0.1 s a run. The folder has another
    run's results later, so that those here have their name in MLflow, where they are there.
    """
    seen: set[str] = set()
    with contextlib.suppress(DataError, TemporaryFailure):
        if (folder := _in_folder(str(paths.ARTIFACTS))) is not None:
            seen.add(published.digest(Path()))
            note = published.kept(Path())
            yield replace(folder, name=short_of(note.name) if note and note.name else IN_FOLDER)
    with contextlib.suppress(PipelineError):
        for run_id, name, results in lookup.finished(Path(), most=_MOST):
            if results in seen:
                continue
            with contextlib.suppress(DataError, ConfigError), temporary.folder() as at:
                if files := lookup.download(Path(), run_id, _IN_MLFLOW, at):
                    yield _read(short_of(name), files[0], files[1])
                    seen |= {results} if results else set()  # not of one whose files are gone
