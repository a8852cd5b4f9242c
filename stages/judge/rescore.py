"""Scores the answers of a stored run again: `python -m stages.judge.rescore RUN [--set judge.model=qwen3]`.

Nothing is trained and nothing is answered. RUN is what `stages.judge.runs.compare` takes: a folder, a git revision, a
DVC experiment, or an MLflow run. Its answers and rows come from its folder, or from DVC's cache by its dvc.lock. The
judge is the one that the run had, with the values of `--set` put over it; with none, the scores are the same again.

The results are in a folder of their own below .cache/rescored, and in an MLflow run of their own that names its source.
The files of the project and of the run stay as they are. Verdicts that are kept in .cache/judge are not asked again.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.common import paths
from stages.common.errors import ConfigError, DataError, TemporaryFailure
from stages.common.files import atomic_folder, sha256
from stages.common.locks import open_locked
from stages.common.metrics.judge import JudgeMetrics
from stages.common.printable import printable
from stages.common.records import read_metrics, write_metrics
from stages.common.results.download import TOKENIZER
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY
from stages.common.results.generate import GENERATE_METRICS, RESPONSES
from stages.common.results.judge import JUDGE_CACHE, JUDGE_METRICS, VERDICTS
from stages.common.results.split import SPLIT_METRICS, split_file
from stages.common.results.tokenize import TOKENS_METRICS
from stages.judge.answers import read_answers
from stages.judge.job import costs_of, judge_and_write, open_judges, require_enough
from stages.judge.runs.places import Place
from stages.judge.runs.sources import Run, find_run
from stages.params import options, reading, whole
from stages.params.judge import Judge
from stages.params.whole import Params
from stages.running import lock, program, temporary
from stages.running.arguments import Parser
from stages.running.console import fitted
from stages.running.costs import JUDGING_COSTS, JudgingCosts
from stages.running.dvc_yaml import PIPELINE
from stages.running.summary_parts.scores import score_lines
from stages.running.tracking import mlflow_access, names, origins, published, tracker

#: Where the results are.
FOLDER = paths.CACHE / "rescored"
#: What the stage judge reads, and the stage that has made it.
_READ = {
    split_file("train"): "split",
    split_file("test"): "split",
    SPLIT_METRICS: "split",
    RESPONSES: "generate",
    TOKENIZER: "download",
}
#: What else an MLflow run shows of a training, where it is still there.
_SHOWN = {
    TOKENS_METRICS: "tokenize",
    FINETUNE_METRICS: "finetune",
    HISTORY: "finetune",
    GENERATE_METRICS: "generate",
}
_SECTION = "judge."
_EXAMPLE = f"{_SECTION}model=qwen3"
#: Values that a judge behind a server alone reads. Of rubric the built-in one checks the name.
_OF_SERVERS = frozenset(
    {
        "deadline_seconds",
        "digest",
        "exact_match",
        "expected_value",
        "model",
        "num_ctx",
        "num_predict",
        "repeats",
        "retries",
        "temperature",
        "think",
    }
)
#: Characters of a line in front of its text.
_LABEL = 11


def main() -> None:
    """Score the run of the command line again, put the result into MLflow, and print it.

    Raises:
        PipelineError: the run, its answers or the judge cannot be had; or too many answers have no score.
    """
    asked = _arguments()
    root = Path.cwd()
    run = find_run(asked.run)
    params = params_of(run, [options.parse(text, _EXAMPLE) for text in asked.set])
    digest = _digest(run, params)
    folder = root / FOLDER / f"{_short(run.name)}-{digest}"
    with _alone(folder):
        with atomic_folder(folder) as making:
            costs = score_again(run, params, making, root)
        where = _publish(run, folder, root, costs, digest)
    found = read_metrics(folder / JUDGE_METRICS, JudgeMetrics, made_by="the same command again")
    shown = folder.relative_to(root)
    lines = [fitted(line.replace("\N{NO-BREAK SPACE}", " "), _LABEL) for line in score_lines(found, [])]
    lines = [f"{run.name}, scored again", *lines, f"results    {shown}", f"MLflow     {where}"]
    lines.append(f"compare    python -m stages.judge.runs.compare {asked.run} {shown}")
    print(printable("\n".join(lines)))


def params_of(run: Run, given: Sequence[tuple[str, Any]]) -> Params:
    """The values to score with: those of the run, and values of the judge put over them.

    A value of the judge that is newer than the run comes from the project's params.yaml.

    Args:
        run: the run.
        given: values by dotted key.

    Raises:
        ConfigError: a key is not one of the judge's, or a value is wrong.
        DataError: the values of the run are not known.
    """
    if others := [key for key, _ in given if not key.startswith(_SECTION)]:
        what = f"--set {others[0]}: expected a value of the judge: nothing else is done again"
        raise ConfigError(what, f"--set {_SECTION}model=NAME, or python -m flows.run --set {others[0]}=VALUE")
    tree = run.place.values(name=run.name)
    now = reading.read_values(paths.PARAMS)
    own = tree.get("judge")
    tree["judge"] = {**now.get("judge", {}), **(own if isinstance(own, Mapping) else {})}
    called = f"{run.name}, with {paths.PARAMS}"
    if not given:
        return whole.check(tree, called)
    before = copy.deepcopy(tree)
    reading.merge(tree, options.nested(dict(given)))
    try:
        params = whole.check(tree, called)
    except ConfigError as error:
        whole.check(before, called)  # a value of the run itself may be the wrong one
        wrong = " and ".join(f"--set {key}" for key, _ in given)
        raise ConfigError(error.what, f"correct {wrong}") from None
    _require_read(params.judge, [key for key, _ in given])
    return params


def _require_read(settings: Judge, given: Sequence[str]) -> None:
    """Refuse values that the built-in judge does not read: they would change nothing.

    Raises:
        ConfigError: there is one.
    """
    if settings.backend != "reference" or settings.panel:
        return
    for key in given:
        value = key.removeprefix(_SECTION)
        if value in _OF_SERVERS:
            what = f"--set {key}: the built-in judge has no {value}; it would change nothing"
            raise ConfigError(what, f"--set {_SECTION}backend=ollama --set {_SECTION}model=NAME as well")


def _digest(run: Run, params: Params) -> str:
    """8 hexadecimal digits that another judge, another run, or other answers of this run do not have.

    Raises:
        DataError: the answers are not there.
    """
    answers = sha256(run.place.file(RESPONSES, _READ[RESPONSES], name=run.name))
    kept = [run.name, str(run.place.root), run.place.mlflow, answers, params.judge.model_dump()]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]


def _short(name: str) -> str:
    """The name of a run, as the beginning of a folder's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(name).name).strip("-.") or "run"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of results for the block; the kernel frees it however this process ends.

    Raises:
        TemporaryFailure: another process makes the same results.
    """
    path = folder.with_name(f".{folder.name}.lock")
    try:
        descriptor = open_locked(path)
    except BlockingIOError:
        what = f"{folder}: another process is scoring the same answers with the same judge"
        raise TemporaryFailure(what, "wait until it has ended; its results are those of this command") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is locked, so that the next process makes a new one
        os.close(descriptor)


def score_again(run: Run, params: Params, folder: Path, root: Path) -> JudgingCosts | None:
    """Score the answers of a run in a folder of their own.

    Args:
        run: the run.
        params: the values to score with.
        folder: the folder, which is not there yet, or empty.
        root: folder of the project, whose kept verdicts are used.

    Returns:
        What the judges have cost; None where nothing was asked.

    Raises:
        DataError: the run's files are not there, or broken.
        ServiceUnavailable, ConfigError: the judge cannot be had, or too many answers have no score. Verdicts of a
            server are kept all the same.
    """
    _fill(run.place, run.name, folder)
    with (folder / paths.PARAMS).open("w", encoding="utf-8") as stream:
        YAML().dump(params.model_dump(), stream)
    if text := run.place.lock_text():
        (folder / lock.LOCK).write_text(text, encoding="utf-8")
    if (root / PIPELINE).is_file():
        shutil.copyfile(root / PIPELINE, folder / PIPELINE)
    (root / JUDGE_CACHE).mkdir(parents=True, exist_ok=True)
    (folder / paths.CACHE).mkdir()
    (folder / JUDGE_CACHE).symlink_to(root / JUDGE_CACHE)
    settings = params.judge
    if settings.calibration is not None:
        labels = settings.calibration.model_copy(
            update={"source": str((root / paths.local_path(settings.calibration.source)).resolve())}
        )
        settings = settings.model_copy(update={"calibration": labels})
    with contextlib.chdir(folder):
        answers = read_answers(settings)
        with open_judges(settings) as judges:
            scored, compared = judge_and_write(judges, answers, settings)
            costs = costs_of(judges)
        require_enough(answers, scored, compared, settings)
        return costs if costs is None else costs.model_copy(update={"verdicts": sha256(VERDICTS)})


def _fill(place: Place, name: str, folder: Path) -> None:
    """Copy what the stage reads and what MLflow shows into a folder.

    Raises:
        DataError: something that the stage reads is not there.
    """
    files = [file for path, stage in _READ.items() for file in place.files(path, stage, name=name)]
    for path, stage in _SHOWN.items():
        with contextlib.suppress(DataError):  # MLflow is told what is not there
            files += place.files(path, stage, name=name)
    for path, source in files:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _publish(run: Run, folder: Path, root: Path, costs: JudgingCosts | None, digest: str) -> str:
    """Put the results into an MLflow run of their own, which ends FAILED where it has not all of them.

    A finished run that has them already stays the only one.

    Returns:
        Where they are, or why they are not there.
    """
    os.environ["MLFLOW_TRACKING_URI"] = mlflow_access.uri(root)  # the files are in another folder
    source, name = _source(run, root)
    # The digest is part of the name, so that the name means these scores and not those of another judge.
    own = f"{Path(names.short_of(name)).name}-rescored-{digest}"
    if there := origins.rescored(root, folder, own):
        return f"{mlflow_access.shown_uri()} has these results already: run {there[1]} ({there[0]})"
    tags = origins.rescoring_tags(root, source, name, run.place.commit)
    run_id = tracker.create_run(folder, name=own, tags=tags)
    if run_id is None:
        return "not there: MLflow does not answer"
    complete = False
    try:
        with temporary.folder() as at:
            files = []
            if costs is not None:
                write_metrics(at / JUDGING_COSTS.name, costs)
                files.append(at / JUDGING_COSTS.name)
            complete = tracker.publish(folder, run_id, ran=["judge"], files=files)
    finally:
        tracker.end(run_id, "FINISHED" if complete else "FAILED")
    if complete:
        return mlflow_access.shown_uri()
    return "not complete there, so that its run is FAILED; the same command again makes another one"


def _source(run: Run, root: Path) -> tuple[str, str]:
    """The id and the name of the MLflow run that has a run's answers; an empty id where none is known to have them."""
    # Results are noted by their verdicts, which may be of earlier answers than those that are there.
    at = run.place.root if run.place.holds_answers() else None
    if at is not None and (note := published.kept(at)) is not None:
        return note.run_id, note.name or run.name
    if run.place.mlflow:
        return run.place.mlflow, run.name
    return origins.of_lineage(root, run.place.lock_text()) or ("", run.name)


def _arguments() -> argparse.Namespace:
    parser = Parser(
        prog="python -m stages.judge.rescore",
        description="Score the answers of a stored run again, with the judge that it had or with another one.",
    )
    parser.add_argument("run", metavar="RUN", help="a folder, a git revision, a DVC experiment or an MLflow run")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a value of the judge, such as judge.model=qwen3; may be given several times",
    )
    return parser.parse_args()


if __name__ == "__main__":
    program.run("rescore", main)
