"""Grade answers by hand, to calibrate the judge: `python -m flows.grade RUN [--rows N] [--here | --collect]`.

RUN is an MLflow run, or `.` for the results in this folder. Without --here and --collect, the answers to N rows are put
into a review queue of MLflow. They are a random sample, and nobody sees which model gave an answer, or its score.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from flows import servers_file
from flows.grading import answers, collected, kept, review, sample, terminal
from flows.grading.answers import Item
from flows.tool_settings import set_defaults
from stages.common import paths
from stages.common.errors import ConfigError
from stages.common.labels import LEAST_FOR_INTERVAL
from stages.common.plurals import counted, word
from stages.running import program, project, writable
from stages.running.arguments import Parser, whole_number
from stages.running.console import say
from stages.running.tracking import mlflow_access, started_pages

#: Rows that are graded unless another number is asked for.
ROWS = 50


def main() -> None:
    """Do one of three things: put answers into the queue, grade here, or collect the grades.

    Raises:
        ConfigError: the working directory is no project's, or there is no such run.
        DataError: answers or grades are missing or broken.
        ServiceUnavailable: MLflow does not answer.
        TemporaryFailure: with --here, another terminal grades the same answers.
    """
    asked = _arguments()
    root = Path.cwd()
    project.require(root)
    writable.require(root)
    items = answers.of_run(root, asked.run)
    digest = answers.digest(items)
    if asked.collect:
        _collect(root, asked.run, items, digest)
    elif asked.here:
        chosen = sample.drawn(items, asked.rows, seed=digest)
        file = kept.path(root, digest)
        with terminal.keys() as key, kept.alone(file):
            terminal.grade(chosen, file, key)
        say(f"to go on: python -m flows.grade {asked.run} --here; to use the grades: {_collecting(asked.run)}")
    else:
        _put(root, asked.run, sample.drawn(items, asked.rows, seed=digest), digest)


def _arguments() -> argparse.Namespace:
    parser = Parser(prog="python -m flows.grade", description=__doc__)
    parser.add_argument(
        "run",
        metavar="RUN",
        help="an MLflow run by id or name, or the beginning of one; or . for the results in this folder",
    )
    parser.add_argument(
        "--rows",
        type=whole_number(1),
        default=ROWS,
        metavar="N",
        help="rows to grade, with the answers of both models to each (%(default)s)",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--here", action="store_true", help="grade in this terminal, without MLflow's queue")
    way.add_argument("--collect", action="store_true", help="write the grades to a file, and name it in params.yaml")
    return parser.parse_args()


def _collecting(run: str) -> str:
    return f"python -m flows.grade {run} --collect"


def _put(root: Path, run: str, chosen: Sequence[Item], digest: str) -> None:
    say(f"putting {answers.in_words(chosen)} into MLflow: some seconds")
    done = review.put(root, digest, chosen)
    say(f"{done.waiting} {word(done.waiting, 'waits', 'wait')} in the review queue “{done.queue}”, {done.added} new")
    say(f"grade them{'' if _pages_are_there(root) else ', after make ui,'} at {_pages(root)}{done.page}")
    say(f"then: {_collecting(run)}")


def _pages(root: Path) -> str:
    """The address of MLflow's pages: the tracking server's, or that of `make ui`."""
    store = mlflow_access.uri(root)
    return store.rstrip("/") if store.startswith("http") else servers_file.mlflow_address()


def _pages_are_there(root: Path) -> bool:
    return mlflow_access.uri(root).startswith("http") or bool(started_pages.mlflow_address(root))


def _collect(root: Path, run: str, items: Sequence[Item], digest: str) -> None:
    grades: dict[str, Sequence[float]] = {}
    found = review.read(root, digest)
    if found is not None:
        grades |= found.grades
        say(f"MLflow: {len(found.grades)} graded, {found.waiting} not yet, {found.declined} declined")
        if found.again:
            what = f"{found.again} {word(found.again, 'was', 'were')} graded again under the same name"
            say(f"{what}: the last grade counts. Without a login MLflow gives all people one name")
    here = {key: score for key, score in kept.read(kept.path(root, digest)).items() if score is not None}
    if here:
        twice = len(here.keys() & grades.keys())
        say(f"terminal: {len(here)} graded{f', {twice} of them in MLflow too, whose grades count' if twice else ''}")
    grades = collected.from_both(grades, here)
    if not grades:
        fix = f"python -m flows.grade {run}, grade, then {_collecting(run)}"
        raise ConfigError(f"{run}: no answer of this run is graded", fix)
    written = collected.collect(root, digest, items, grades, of_folder=answers.is_of_folder(root, run, digest))
    if not written.named:
        say(f"{written.file}: {_counts(written.counts)}")
        say(f"the answers in this folder are others than those of {run}: {paths.PARAMS} stays as it is")
        return
    say(f"{written.file}: {_counts(written.counts)}; {paths.PARAMS} names it in judge.calibration")
    if few := [model for model, count in written.counts.items() if count < LEAST_FOR_INTERVAL]:
        say(f"under {LEAST_FOR_INTERVAL} labels a model ({', '.join(few)}) the judge gives a mean without an interval")
    say(f"to see the means: git add {written.file}, then dvc repro judge")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counted(count, 'label')} of {model}" for model, count in counts.items())


if __name__ == "__main__":
    set_defaults()
    program.run("grade", main)
