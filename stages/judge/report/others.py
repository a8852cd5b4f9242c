"""The report of a run that is not that of the working directory: the one that MLflow keeps, or one from its files."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.common import paths
from stages.common.errors import ConfigError, DataError
from stages.common.files import atomic_file
from stages.common.html_page import element
from stages.common.results.download import LEFT_OUT
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY
from stages.common.results.generate import GENERATE_METRICS, RESPONSES
from stages.common.results.judge import JUDGE_METRICS, VERDICTS
from stages.common.results.split import GATE_REPORT, SPLIT_METRICS, split_file
from stages.judge.report import facts, machine
from stages.judge.report.compared import COMPARE
from stages.judge.report.page import page
from stages.judge.runs.sources import Run, find_run
from stages.running import lock, report, temporary
from stages.running.tracking import lookup

#: What a report is made of, and the stage that has made each.
_FILES = (
    (LEFT_OUT, "download"),
    (SPLIT_METRICS, "split"),
    (GATE_REPORT, "split"),
    (split_file("test"), "split"),
    (FINETUNE_METRICS, "finetune"),
    (HISTORY, "finetune"),
    (GENERATE_METRICS, "generate"),
    (RESPONSES, "generate"),
    (JUDGE_METRICS, "judge"),
    (VERDICTS, "judge"),
)
#: What `stages.tokenize.shown` says of the rows in the folder.
_ANY_ROW = f" Any row: {element('code', 'python -m stages.tokenize --show ROW')}."


def text_of(name: str) -> str:
    """The report of a run.

    Args:
        name: what `stages.judge.runs.compare` takes: a folder, a git revision, a DVC experiment, or an MLflow run.

    Raises:
        PipelineError: as `stages.judge.runs.sources.find_run`.
        ConfigError: nothing is known of its values.
    """
    run = find_run(name)
    called = run.place.commit[:7] or name
    if run.place.mlflow and (kept := _kept(run)) is not None:
        return elsewhere(kept, called)
    with _folder_of(run) as folder:
        made_where = _environment(run)
        found = facts.read(folder, repository=Path(), commit=run.place.commit, own=False, environment=made_where)
        return elsewhere(page(found), called)


def elsewhere(made: str, name: str) -> str:
    """A page for a folder that has other results: its commands name the run, or are left out.

    The page that MLflow keeps with a run was made in the folder of its results. A text of a row cannot be one of these
    elements: it is escaped.

    Args:
        made: the page.
        name: the run, as `stages.judge.runs.compare` takes it here.
    """
    named = element("code", f"{COMPARE} {shlex.quote(name)}")
    return made.replace(element("code", f"{COMPARE} artifacts"), named).replace(_ANY_ROW, "")


def _kept(run: Run) -> str | None:
    """The report that MLflow keeps with a run; None where it keeps none."""
    with temporary.folder() as folder:
        found = lookup.download(Path(), run.place.mlflow, [], folder, optional=[report.REPORT.name])
        return found[0].read_text(encoding="utf-8") if found else None


def _environment(run: Run) -> Mapping[str, Any]:
    """What a run was made on, as MLflow keeps it; empty where nothing does."""
    with contextlib.suppress(DataError):
        return machine.of_run(run.place.mlflow) if run.place.mlflow else {}
    return {}


@contextlib.contextmanager
def _folder_of(run: Run) -> Iterator[Path]:
    """A folder with the files of a run, for the block; those that are nowhere any more are missing there."""
    if run.place.root is not None:
        yield run.place.root
        return
    if not run.place.params:
        what = f"{run.name}: no {paths.PARAMS} is kept with it, so that its values are not known"
        raise ConfigError(what, "name another run: make runs lists them")
    with temporary.folder() as folder:
        for name, text in ((paths.PARAMS, run.place.params), (lock.LOCK, run.place.lock)):
            with atomic_file(folder / name) as stream:
                stream.write(text)
        for path, stage in _FILES:
            with contextlib.suppress(DataError):
                there = run.place.file(path, stage, name=run.name)
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(there, folder / path)
        yield folder
