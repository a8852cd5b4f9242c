"""What Prefect's page of a run shows besides states and logs: progress, links, results and pictures.

All of it are copies of what is in files, so that no run fails for it.
"""

from __future__ import annotations

import base64
import contextlib
import contextvars
import io
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    LinkArtifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

from flows import run_tags
from flows.markdown import cell, fenced
from flows.outcome import server_answers, server_is_gone
from flows.stage_process import StageResult, Stopped
from stages.common.errors import DataError
from stages.common.metrics.gate import GateReport
from stages.common.records import read_metrics, read_records
from stages.common.results.finetune import HISTORY, StepRecord
from stages.common.results.judge import SCORES_PLOT
from stages.common.results.split import GATE_PAGE, GATE_REPORT
from stages.judge.runs.references import Compared
from stages.running import curves, progress_file, summary, temporary
from stages.running.console import duration
from stages.running.progress_file import Work
from stages.running.report import REPORT
from stages.running.summary_parts.lines import narrowed
from stages.running.tracking import champions, views
from stages.running.tracking.mlflow_access import why
from stages.running.tracking.store import Page

#: How a run that was stopped is begun once more, by whichever door it came.
_TO_GO_ON = "to go on, start it once more: a run of a form by Copy to new run, any other by its command"
_DELETED = "Nothing was to be done: the MLflow run of this run is deleted."
_NOTHING_TO_DO = (
    "Nothing was to be done: the earlier run in MLflow with the same results. The MLflow run of this run is deleted."
)
#: Seconds between two looks at a stage's progress, and between two updates of Prefect's page.
_LOOK_SECONDS = 1.0
_SHOW_SECONDS = 5.0
#: Characters that a line of code has beside the margin of Prefect's newer page, in a window of 1500 pixels.
_COLUMNS = 75
#: Seconds that the end of a stage waits for the last update.
_LAST_SECONDS = 5.0


def link(page: Page | None) -> UUID | None:
    """Link to the MLflow run of this run.

    Args:
        page: its page; None where it has none.

    Returns:
        The id of the artifact with the link; None where there is none.
    """
    if page is None:
        return None
    text = "The run in MLflow. Pages of this machine are there while make ui runs."
    made = _stored(lambda: create_link_artifact(page.address, page.name, key="mlflow-run", description=text))
    table = "All runs of its experiment in MLflow: scores, losses, and what differs."
    _stored(lambda: create_link_artifact(page.runs, "table of runs", key="mlflow-runs", description=table))
    return cast("UUID | None", made)


def link_earlier(artifact: UUID | None, page: Page | None) -> None:
    """Let the link of a run in which nothing was to be done lead to the earlier run with the same results.

    Args:
        artifact: result of `link`.
        page: page of the earlier run; None where MLflow does not tell it.
    """
    if artifact is None:
        return
    if page is None:
        update = ArtifactUpdate(description=_DELETED)
    else:
        data = LinkArtifact(link=page.address, link_text=page.name).format()
        update = ArtifactUpdate(description=_NOTHING_TO_DO, data=data)
    with get_client(sync_client=True) as client:
        _stored(lambda: client.update_artifact(artifact, update))


def report(
    tree: Path,
    done: Sequence[StageResult],
    compared: Sequence[Compared],
    page: Page | None,
    *,
    reported: bool,
    isolated: bool,
) -> str:
    """Store what each stage did and the results as an artifact of the Prefect run, and return the results.

    Args:
        tree: folder that the stages ran in.
        done: what they did.
        compared: the scores beside those of other runs.
        page: page of the MLflow run that has the results; None where there is none.
        reported: whether that run gets the report of this run.
        isolated: whether the folder is a copy of the last commit, which is removed after the run.
    """
    results = summary.text(tree, name_files=not isolated, commit_tried=True)
    beside = [f"Compared with {cell(one.words)}:\n\n{fenced(one.text)}\n{one.picture}" for one in compared]
    parts = [
        *_report(page if reported else None),
        *(_champion(tree) if page else ()),
        _table(done),
        fenced(narrowed(results, _COLUMNS)),
        *_pictures(tree),
        *findings(tree),
        *beside,
    ]
    _stored(lambda: create_markdown_artifact("\n\n".join(parts), key="pipeline", description="What the run did"))
    return results


def _report(page: Page | None) -> Iterator[str]:
    """A link to the report of the run in MLflow, which the run's page has in its list of artifacts too."""
    if page is not None:
        address = views.file_page(page.address, REPORT.name)
        text = "The report of the run: one page with scores, answers, losses and lineage."
        _stored(lambda: create_link_artifact(address, "report", key="report", description=text))
        yield f"[Report of the run]({address}): one page, in MLflow while its pages are there."


def _champion(tree: Path) -> Iterator[str]:
    """A line where these results are the champion's; nothing where they are not, or MLflow does not say."""
    try:
        found = champions.of_results(Path.cwd(), tree)
    except Exception as error:
        log = get_run_logger()
        log.warning("Prefect's page does not say whether these results are the champion's: %s", why(error))
        return
    if found:
        yield f"**These results are the champion's:** {cell(found)}."


def report_text(text: str) -> None:
    """Store results that are a text alone as an artifact of the Prefect run."""
    _stored(lambda: create_markdown_artifact(fenced(text), key="pipeline", description="What the run did"))


def report_broken(done: Sequence[StageResult], stage: str, how: str, message: str, retries: int = 0) -> None:
    """Store what each stage did until one broke the run off.

    Args:
        done: what the earlier stages did.
        stage: name of the stage that broke it off.
        how: how it ended: failed or cancelled.
        message: why.
        retries: number of its tries before the last one.
    """
    table = _table(done, (stage, f"{how}{_retried(retries)}"))
    text = f"{table}\n\n{fenced(message)}"
    _stored(lambda: create_markdown_artifact(text, key="pipeline", description="What the run did"))


def report_stopped(done: Sequence[StageResult], stop: Stopped) -> None:
    """Store what each stage did until one was stopped, as `report_broken`.

    Args:
        done: what the earlier stages did.
        stop: the stage, and how far it came.
    """
    report_broken(done, stop.stage, "cancelled", f"{stop.stage}: {stop.why}\n{_TO_GO_ON}")


def report_refused(done: Sequence[StageResult], message: str) -> None:
    """Store why a run failed while no stage was at work, such as for values that do not go together.

    Args:
        done: what the stages did until then.
        message: why.
    """
    text = f"{_table(done) if done else 'No stage has begun.'}\n\n{fenced(message)}"
    _stored(lambda: create_markdown_artifact(text, key="pipeline", description="What the run did"))


@contextlib.contextmanager
def progress_of(stage: str) -> Iterator[dict[str, str]]:
    """Show on Prefect's page how far a stage is, and which GPUs it holds.

    Args:
        stage: name of the stage.

    Yields:
        The environment variable by which the stage tells it.
    """
    with temporary.folder() as folder:
        file, ended = folder / "progress.json", threading.Event()
        # Prefect knows by the context which run and task an artifact belongs to.
        inside = contextvars.copy_context()
        follower = threading.Thread(target=inside.run, args=(_follow, stage, file, ended), daemon=True)
        follower.start()
        try:
            yield {progress_file.VARIABLE: str(file)}
        finally:
            ended.set()
            follower.join(_LAST_SECONDS)


def _follow(stage: str, file: Path, ended: threading.Event) -> None:
    try:
        _show(stage, file, ended)
    except Exception as error:
        if server_answers():  # that it is gone is told at the end of the run
            get_run_logger().warning("Prefect: the progress of %s is not shown: %s", stage, _reason(error))


def _show(stage: str, file: Path, ended: threading.Event) -> None:
    bars: dict[str, _Bar] = {}
    gpus: list[str] = []
    last = False
    while not last:
        last = ended.wait(_LOOK_SECONDS)
        told = progress_file.read(file)
        for what, work in told.works.items():
            bars.setdefault(what, _Bar(stage, what)).show(work, at_once=last)
        if told.gpus != gpus:
            gpus = told.gpus
            run_tags.add([f"gpu:{uuid}" for uuid in gpus])


class _Bar:
    """A progress artifact.

    Args:
        stage: name of the stage.
        what: name of the work.
    """

    def __init__(self, stage: str, what: str) -> None:
        name = what if what.startswith(stage) else f"{stage}-{what}"
        self._key = re.sub(r"[^a-z0-9]+", "-", f"progress-{name}".lower()).strip("-")
        self._what = what
        self._id: UUID | None = None
        self._shown: Work | None = None
        self._at = self._began = time.monotonic()
        self._first = 0

    def show(self, work: Work, *, at_once: bool) -> None:
        """Show how far the work is, if that is new, and the last time was long enough ago or ``at_once``."""
        now = time.monotonic()
        ended = work.done >= work.total
        if work == self._shown or not (self._shown is None or ended or at_once or now - self._at >= _SHOW_SECONDS):
            return
        if self._shown is None or work.done < self._shown.done:
            self._first, self._began = work.done, now
        percent = 100.0 * work.done / work.total if work.total else 100.0
        text = f"{self._what}: {work.done:,} of {work.total:,} {work.unit}s{self._rest(work, now)}"
        if self._id is None:
            self._id = cast(UUID, create_progress_artifact(percent, key=self._key, description=text))
        else:
            update_progress_artifact(self._id, percent, description=text)
        self._shown, self._at = work, now

    def _rest(self, work: Work, now: float) -> str:
        made = work.done - self._first
        if made <= 0 or work.done >= work.total:
            return ""
        return f", about {duration((now - self._began) / made * (work.total - work.done))} left"


def _table(done: Sequence[StageResult], broken: tuple[str, str] | None = None) -> str:
    rows = [f"| {cell(_named(one))} | {one.outcome}{_retried(one.retries)} | {one.seconds:.1f} |" for one in done]
    rows += [f"| {cell(broken[0])} | {broken[1]} | |"] if broken else []
    return "\n".join(["| stage | outcome | seconds |", "|---|---|---:|", *rows])


def _named(one: StageResult) -> str:
    """A stage, or an import, which is none of the stages."""
    return f"{one.stage} (import)" if one.is_import else one.stage


def _retried(times: int) -> str:
    return {0: "", 1: ", retried once"}.get(times, f", retried {times} times")


def _pictures(tree: Path) -> Iterator[str]:
    """The loss curves and the scores, as pictures within the text: its page can ask for no file of this machine."""
    try:
        if (tree / HISTORY).exists():
            history = list(read_records(tree / HISTORY, StepRecord, made_by="dvc repro finetune"))
            drawn = io.BytesIO()
            curves.figure(history).savefig(drawn, format="png")
            yield _picture("losses", drawn.getvalue())
        if (tree / SCORES_PLOT).exists():
            yield _picture("scores", (tree / SCORES_PLOT).read_bytes())
    except Exception as error:
        get_run_logger().warning("no picture on Prefect's page: %s", _reason(error))


def findings(tree: Path) -> Iterator[str]:
    """What the checks of the rows found, as a table; nothing where they found nothing or the report is missing.

    Args:
        tree: folder that the stages ran in.
    """
    if not (tree / GATE_REPORT).exists():
        return
    try:
        found = read_metrics(tree / GATE_REPORT, GateReport, made_by="dvc repro split").findings
    except DataError as error:
        get_run_logger().warning("no findings on Prefect's page: %s", _reason(error))
        return
    if found:
        rows = [f"| {one.severity} | {cell(one.name)} | {one.count:,} | {cell(one.what)} |" for one in found]
        head = f"What the checks of the rows found ({GATE_PAGE.name} of the run in MLflow has examples):"
        yield "\n".join([head, "", "| severity | check | rows | what |", "|---|---|---:|---|", *rows])


def _picture(name: str, png: bytes) -> str:
    return f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})"


def _stored(store: Callable[[], object]) -> object:
    """Store an artifact, and return what that returns. It is a copy of what is elsewhere: its failure fails no run."""
    if server_is_gone():
        return None  # which is told at the end
    try:
        return store()
    except Exception as error:
        get_run_logger().warning("Prefect: no artifact of this run, whose results stand: %s", _reason(error))
        return None


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
