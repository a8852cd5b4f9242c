"""The run just made, compared with others, as figure, table and verdict: `python -m stages.judge.runs.references`.

The program compares the results in this folder, and puts the comparisons into the MLflow run that has these results.
The flow does that for its runs, and the report of a plain `dvc repro` for those.

A `Reference` is a run to compare with. `REFERENCES` has the functions that name them.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.common.errors import ConfigError, DataError, PipelineError, ServiceUnavailable
from stages.common.files import read_json
from stages.common.metrics.beside import Beside, Further
from stages.common.metrics.judge import JudgeMetrics
from stages.common.printable import printable
from stages.common.records import read_metrics
from stages.common.results.judge import JUDGE_METRICS, VERDICTS
from stages.common.secrecy import hidden
from stages.judge.runs import compare
from stages.judge.runs.recipe import recipe_of
from stages.judge.runs.results import ComparedRun
from stages.judge.runs.sources import IN_FOLDER
from stages.params import reading, whole
from stages.running import beside, git, lock, program, temporary
from stages.running.arguments import Parser
from stages.running.console import say
from stages.running.lock import Recorded
from stages.running.tracking import additions, database, judged_runs, mlflow_access, names, published, registry
from stages.running.tracking.judged_runs import Judged

#: The revision to compare with.
REVISION = "HEAD"
#: What the files of that comparison are called.
OF_COMMIT = "comparison"
#: Seconds that all comparisons of a run may take at most; they look for other trainings of the recipe in MLflow.
_SECONDS = 120.0
#: Runs with the values of a run whose code and data are looked at, the newest first.
_MOST = 20


@dataclass(frozen=True)
class Reference:
    """A run to compare with.

    Args:
        run: the run, as `python -m stages.judge.runs.compare` takes it here.
        words: what it is, in words, such as ``the last commit, 657189e``.
        file: what its files in the MLflow run are called, without an ending.
        again: the run as it can be named later; by default as ``run``.
    """

    run: str
    words: str
    file: str
    again: str = ""


@dataclass(frozen=True)
class Compared:
    """The output of `python -m stages.judge.runs.compare`.

    Args:
        words: what the run was compared with.
        text: its table, or the reason why nothing was compared.
        files: the files that it wrote; none where nothing was compared.
        picture: its figure as Markdown.
        verdict: what came of it in a line, for the run's description; empty where nothing was compared.
        found: its figures; None where nothing was compared.
        why: why nothing was compared; else empty.
        of_commit: whether it is with the last commit, of which the summary tells by itself (`stages.running.beside`).
        tried: whether it was made or could not be; not where it was given up, or no file could be written.
    """

    words: str
    text: str
    files: tuple[Path, ...] = ()
    picture: str = ""
    verdict: str = ""
    found: Beside | None = None
    why: str = ""
    of_commit: bool = False
    tried: bool = True


#: Names a run to compare with, if there is one, from the user's repository and the folder that the stages ran in.
Naming = Callable[[Path, Path], Reference | None]


def last_commit(root: Path, tree: Path) -> Reference | None:
    """The last commit of ``root``; where ``tree`` is a copy of an earlier one, that was the last as the run began."""
    commit = git.ask(root, "rev-parse", "HEAD")
    began = git.ask(tree, "rev-parse", "HEAD")
    if began and commit and began != commit:
        words = f"{began[:7]}, which was the last commit when this run began"
        return Reference(began, words, OF_COMMIT, began[:7])
    return Reference(REVISION, f"the last commit, {commit[:7]}", OF_COMMIT, commit[:7])


def last_of_recipe(root: Path, tree: Path) -> Reference | None:
    """The newest finished run in MLflow of the recipe of the run in ``tree``: it may differ in the training's seed.

    Where there is none, it is the newest one with the values of the run whose code or data are not known. Runs with the
    very results of ``tree`` are left out: they are the same training, taken from the cache or made once more.

    Raises:
        ServiceUnavailable: MLflow does not answer.
    """
    judge = read_metrics(tree / JUDGE_METRICS, JudgeMetrics, made_by="dvc repro judge").judge
    values = reading.read_values(tree / "params.yaml")
    inputs = Recorded.of(tree).inputs
    ours, of_values = recipe_of(values, inputs), recipe_of(values)
    if ours is None:
        return None
    itself, results = published.kept(tree), published.digest(tree)
    alike = [
        one
        for one in _judged(root, judge.fingerprint)
        if (itself is None or one.run_id != itself.run_id)
        and one.results != results
        and recipe_of(one.values) == of_values
    ]
    unknown: Judged | None = None
    for one in alike[:_MOST]:
        theirs = _inputs(root, one)
        if not (inputs.get("finetune") and theirs.get("finetune")):
            unknown = unknown or one
        elif recipe_of(one.values, theirs) == ours:
            return of_run(one.name, "the last run of this recipe", "comparison-recipe")
    return of_run(unknown.name, "the last run with these values", "comparison-recipe") if unknown else None


def _judged(root: Path, fingerprint: str) -> list[Judged]:
    """The finished runs that a judge has scored, the newest first.

    Raises:
        ServiceUnavailable: MLflow does not answer.
    """
    try:
        return judged_runs.judged(root, fingerprint)
    except PipelineError:
        raise
    except Exception as error:  # of whichever library its store is reached by
        what = f"MLflow at {mlflow_access.shown_uri(root)}: {mlflow_access.why(error)}"
        raise ServiceUnavailable(what, "see MLFLOW_TRACKING_URI") from error


def _inputs(root: Path, run: Judged) -> dict[str, dict[Path, str]]:
    """The MD5 of what the stages of a run have read; empty where it keeps no dvc.lock."""
    with temporary.folder() as folder:
        files = run.files(root, [str(lock.LOCK)], folder)
        return Recorded.of_text(files[0].read_text(encoding="utf-8")).inputs if files else {}


def champion(root: Path, tree: Path) -> Reference | None:
    """The champion of the profile of the run in ``tree`` (`flows.promote`), unless it is that run."""
    name = registry.name_of(whole.load(tree / "params.yaml").profile)
    version = registry.with_alias(root, name, registry.CHAMPION)
    itself = published.kept(tree)
    if version is None or (itself is not None and version.run_id == itself.run_id):
        return None
    return Reference(version.run_id, f"the champion, {version.name} {version.number}", "comparison-champion")


def of_run(name: str, words: str, file: str) -> Reference:
    """A run of MLflow to compare with.

    Args:
        name: its name.
        words: what it is.
        file: what the files of the comparison are called, without an ending.
    """
    short = names.short_of(name)
    return Reference(short, f"{words}, {name}", file, short)


#: The runs that a run is compared with.
REFERENCES: Sequence[Naming] = (last_commit, last_of_recipe, champion)


@contextlib.contextmanager
def with_references(
    root: Path, tree: Path, short_name: str, *, references: Sequence[Naming] | None = None, seconds: float = _SECONDS
) -> Iterator[list[Compared]]:
    """Compare the scores in ``tree`` with those of `REFERENCES`. It never fails a run.

    It works in this process, which has imported MLflow already: a new one takes three seconds longer.

    Args:
        root: the user's repository, which is the working directory.
        tree: folder that the stages ran in.
        short_name: short name of this run in MLflow, for the command that compares it again.
        references: those of `REFERENCES` that are asked; None: all.
        seconds: the most seconds that it may take.

    Yields:
        The comparisons, the first one that with the last commit. Their files are removed after the block. Where MLflow
        does not answer, the last one has the reason why there are no more.
    """
    if not (tree / VERDICTS).exists():
        yield [Compared("the last commit", "There are no scores to compare.", of_commit=True)]
        return
    until = time.monotonic() + seconds
    with _all(REFERENCES if references is None else references, root, tree, short_name, until, drawn=True) as done:
        yield done


def further(root: Path) -> Further:
    """The scores under a folder beside those of the runs of `REFERENCES`; that with the last commit is kept.

    Where it has been kept before, the last commit is not compared with again.

    Args:
        root: the user's repository, which is the working directory, with the results.
    """
    until = time.monotonic() + _SECONDS
    asked = [one for one in worth_asking(root) if one is not last_commit or beside.kept(root) is None]
    with _all(asked, root, root, "", until, drawn=False) as done:
        return in_report(done)


def worth_asking(root: Path) -> Sequence[Naming]:
    """`REFERENCES`; the last commit alone where MLflow's file holds no finished run, so that MLflow need not be loaded.

    Args:
        root: the user's repository, with the results.
    """
    path = database.path_of(mlflow_access.uri(root))
    if path is not None and not database.has_finished_runs(path):
        return [one for one in REFERENCES if one is last_commit]
    return REFERENCES


@contextlib.contextmanager
def _all(
    references: Sequence[Naming],
    root: Path,
    tree: Path,
    short_name: str,
    until: float,
    *,
    drawn: bool,
) -> Iterator[list[Compared]]:
    """The comparisons with all runs that are named, whose files are removed after the block; as `with_references`."""
    found, problem = _references(references, root, tree, until)
    others = [_others(problem)] if problem else []
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(temporary.folder())
        except OSError as error:
            yield [*(_nothing(reference, str(error), tried=False) for reference in found), *others]
            return
        done = [compared(root, tree, reference, short_name, folder, until=until, drawn=drawn) for reference in found]
        yield [*done, *others]


def in_report(done: Sequence[Compared]) -> Further:
    """What a report says of comparisons, but for that with the last commit."""
    others = [one for one in done if not one.of_commit]
    return Further(
        found=[one.found for one in others if one.found is not None],
        missing=[f"not compared with {one.words}: {one.why}" for one in others if one.why],
        commit_tried=any(one.of_commit and one.tried for one in done),
    )


def _others(problem: str) -> Compared:
    return Compared("other runs in MLflow", f"not compared: {problem}", why=problem)


def _references(references: Sequence[Naming], root: Path, tree: Path, until: float) -> tuple[list[Reference], str]:
    """The runs to compare with, and why there are no more; MLflow is asked no further once it has not answered."""
    found: list[Reference] = []
    problems: list[str] = []
    for of in references:
        try:
            if of is not last_commit:  # which asks git alone
                mlflow_access.load()
            one = mlflow_access.bounded(functools.partial(of, root, tree), max(0.0, until - time.monotonic()))
        except (ConfigError, DataError) as error:
            problems.append(mlflow_access.why(error))
        except PipelineError as error:
            problems.append(mlflow_access.why(error))
            break
        except Exception as error:  # the run has succeeded by now, whatever is wrong here
            problems.append(f"MLflow at {mlflow_access.shown_uri(root)}: {mlflow_access.why(error)}")
            break
        else:
            found += [one] if one is not None else []
    return found, printable("; ".join(dict.fromkeys(problems)))


def compared(
    root: Path,
    tree: Path,
    reference: Reference,
    short_name: str,
    folder: Path,
    *,
    until: float,
    drawn: bool = True,
) -> Compared:
    """Compare the scores in ``tree`` with those of a reference.

    Args:
        root: the user's repository, which is the working directory.
        tree: folder that the stages ran in.
        reference: the run to compare with.
        short_name: short name of this run in MLflow.
        folder: folder for the files.
        until: when it is to be given up, by `time.monotonic`.
        drawn: whether it gets a figure.
    """
    table, figure, text = (folder / f"{reference.file}.{end}" for end in ("json", "png", "txt"))
    # The folder's path would mean nothing in files that outlive the folder.
    asked = [reference.run, str(tree.resolve()), "--as", "this run", "--json", str(table)]
    asked += ["--figure", str(figure)] if drawn else []
    try:
        told = printable(mlflow_access.bounded(lambda: compare.told(asked), max(0.0, until - time.monotonic()))).strip()
        again = _again(reference, table, short_name)
        text.write_text(f"{told}\n\nagain       {again}\n" if again else f"{told}\n", encoding="utf-8")
        picture = base64.b64encode(figure.read_bytes()).decode() if drawn else ""
    except PipelineError as error:
        return _nothing(reference, str(error), tried=isinstance(error, ConfigError | DataError))
    except Exception as error:  # the run has succeeded by now, whatever is wrong here
        return _nothing(reference, f"{type(error).__name__}: {error}", tried=False)
    if reference.file == OF_COMMIT:
        found = beside.keep(tree, table, reference.run, reference.words)
    else:
        found = beside.read(root, table, reference.run, reference.words)
    return Compared(
        reference.words,
        told,
        (table, figure, text) if drawn else (table, text),
        f"\n![differences](data:image/png;base64,{picture})\n" if drawn else "",
        f"{beside.in_a_line(found)}.{f' Again: `{again}`' if again else ''}" if found else "",
        found,
        of_commit=reference.file == OF_COMMIT,
    )


def _again(reference: Reference, table: Path, short_name: str) -> str:
    """The command that compares the two runs again, whatever has run since; empty where A has no name that stays.

    Args:
        reference: the run that was asked for. Another one may have stood in its place, which has its own name.
        table: file that the comparison has written as JSON.
        short_name: short name of this run in MLflow.
    """
    a = ComparedRun.model_validate(read_json(table, made_by=beside.PROGRAM)["a"])
    stands_in = a.name not in a.runs
    name = a.runs[0] if stands_in else reference.again or reference.run
    return "" if name == IN_FOLDER else f"python -m {beside.PROGRAM} {shlex.quote(name)} {short_name or 'RUN'}"


def _nothing(reference: Reference, why: str, *, tried: bool) -> Compared:
    told = printable(hidden(why))
    of_commit = reference.file == OF_COMMIT
    return Compared(reference.words, f"Nothing compared: {told}", why=told, of_commit=of_commit, tried=tried)


def main() -> None:
    """Compare the results in this folder with those of other runs, and put that into their MLflow run.

    Raises:
        ConfigError: MLflow does not have these results.
    """
    Parser(prog="python -m stages.judge.runs.references", description=__doc__).parse_args()
    root = Path()
    run = published.kept(root)
    if run is None:
        where = mlflow_access.shown_uri()
        what = f"{VERDICTS}: MLflow at {where} does not have these results, as far as this folder knows"
        raise ConfigError(what, "python -m flows.publish")
    with with_references(root, root, names.short_of(run.name)) as found:
        for one in found:
            say(one.verdict or f"{one.words}: {one.text}")
        files = [file for one in found for file in one.files]
        additions.add_comparisons(run.run_id, files, [one.verdict for one in found if one.verdict])


if __name__ == "__main__":
    program.run("references", main)
