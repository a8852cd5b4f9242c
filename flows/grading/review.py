"""Grading in MLflow: answers as traces in one of its review queues, and grades as people's feedback on them.

A trace holds the instruction, its input, the reference and the answer. No trace, tag or name tells the model or a
score. The questions and queues are those of MLflow's open-source store (mlflow.genai.label_schemas and
mlflow.genai.review_queues, both experimental since MLflow 3.14).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.grading.answers import Item
from stages.common.errors import DataError, ServiceUnavailable
from stages.running.tracking import mlflow_access, mlflow_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Trace

#: The name of the question, and of the feedback that answers it.
QUESTION = "score"
#: The scale is that of the rubric graded-v1 (stages/judge/judges/rubrics).
_INSTRUCTION = (
    "How well does the answer do what the instruction asks? The reference is one right answer. 100: correct and "
    "complete. 80: correct, with a small flaw of wording or form. 60: mostly correct, with one clear error. 40: partly "
    "correct. 20: on the subject, but wrong. 0: empty, off the subject, or no answer. Points between these are allowed."
)
#: The tag of a trace with its item's key.
_TAG = "grading.item"
#: The tag of a trace with the name of its run's answers, by which those are found that are in no queue yet.
_TAG_OF_RUN = "grading.answers"
_EXPERIMENT = f"{mlflow_experiment.PROJECT}-grading"
#: MLflow's pages of an experiment of this kind show traces and reviews.
_KIND = "genai_development"


@dataclass(frozen=True)
class Put:
    """What was put into the queue.

    Attributes:
        added: number of answers that were not in it before.
        waiting: number of answers in it that wait for a grade.
        queue: name of the queue.
        page: path of the queue on MLflow's pages, behind their address.
    """

    added: int
    waiting: int
    queue: str
    page: str


@dataclass(frozen=True)
class Found:
    """What people have graded.

    Attributes:
        grades: grades by the keys of their answers, the last one of each person, from 0 to 100.
        waiting: number of answers without a grade.
        declined: number of answers that somebody has declined to grade.
        again: number of answers with another, earlier grade under the same name. MLflow without a login gives all
            people the name "default", so that the earlier grade may be another person's.
    """

    grades: dict[str, list[float]] = field(default_factory=dict)
    waiting: int = 0
    declined: int = 0
    again: int = 0


def queue_name(digest: str) -> str:
    """The name of the queue with a set of answers."""
    return f"answers {digest}"


def put(root: Path, digest: str, items: Sequence[Item]) -> Put:
    """Put answers into the queue, in this order; those that are in it already are not put again.

    Traces are made first and queued then. Those that an earlier command has made before it was ended are queued, and
    not made again. Two commands at one time may make two traces of an answer: `read` takes both for one.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        digest: name of the run's answers.
        items: the answers to grade.

    Raises:
        ServiceUnavailable: MLflow does not take them. What is in the queue stays; the same command goes on.
    """
    with _store(root) as mlflow:
        from mlflow.genai import review_queues

        experiment = mlflow_experiment.ensured_as(mlflow, _EXPERIMENT, _KIND, root)
        queue = _queue(experiment, queue_name(digest))
        there = {trace.info.tags.get(_TAG) for _, trace in _traces(mlflow, queue.queue_id)}
        new = [item for item in items if item.key not in there]
        made = _made(mlflow, experiment, digest) if new else {}
        traces = [made.get(item.key) or _trace(mlflow, experiment, digest, item) for item in new]
        for trace_id in traces:
            mlflow.get_trace(trace_id)  # MLflow itself only logs where a trace could not be written
        if traces:
            review_queues.add_items_to_review_queue(queue.queue_id, item_ids=traces)
        waiting = sum(item.status == "pending" for item in _pages(queue.queue_id))
        page = f"/#/experiments/{experiment}/review-queue?workflowType=genai&selectedQueueId={queue.queue_id}"
        return Put(len(new), waiting, queue.name, page)


def read(root: Path, digest: str) -> Found | None:
    """The grades in the queue with a set of answers; None where there is no queue.

    A grade counts as soon as it is given, whether or not its answer is marked as reviewed; one of an answer that was
    declined does not.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        digest: name of the run's answers.

    Raises:
        DataError: a grade is no number from 0 to 100.
        ServiceUnavailable: MLflow cannot be asked.
    """
    with _store(root) as mlflow:
        from mlflow.genai import review_queues

        named = mlflow.get_experiment_by_name(_EXPERIMENT)
        if named is None:
            return None
        queue = _or_none(
            lambda: review_queues.get_review_queue(name=queue_name(digest), experiment_id=named.experiment_id)
        )
        if queue is None:
            return None
        by_key: dict[str, list[tuple[str, Trace]]] = {}
        for status, trace in _traces(mlflow, queue.queue_id):
            by_key.setdefault(trace.info.tags[_TAG], []).append((status, trace))
        return _found(by_key)


def _found(by_key: Mapping[str, Sequence[tuple[str, Trace]]]) -> Found:
    """The grades of answers, of which each may have several traces, with their status."""
    grades: dict[str, list[float]] = {}
    waiting = declined = again = 0
    for key, traces in by_key.items():
        if found := _grades([trace for status, trace in traces if status != "declined"]):
            grades[key] = [given[-1] for given in found.values()]
            again += any(len({*given}) > 1 for given in found.values())
        elif any(status == "declined" for status, _ in traces):
            declined += 1
        else:
            waiting += 1
    return Found(grades, waiting, declined, again)


@contextmanager
def _store(root: Path) -> Iterator[MlflowClient]:
    """A client of the store, which is also that of MLflow's functions without one; their errors become ours."""
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    mlflow_access.load()
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        client = mlflow_access.client(root)
        mlflow.set_tracking_uri(mlflow_access.uri(root))
        yield client
    except (MlflowException, OSError, sqlite3.Error) as error:
        what = f"MLflow at {mlflow_access.shown_uri(root)}: {mlflow_access.why(error)}"
        raise ServiceUnavailable(what, "see MLFLOW_TRACKING_URI, or grade in the terminal: --here") from error


def _or_none(ask: Callable[[], Any]) -> Any:
    """What MLflow answers; None where it does not have what it is asked for."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _queue(experiment: str, name: str) -> Any:
    """The queue, which is made with its question if need be."""
    from mlflow.genai import label_schemas, review_queues

    found = _or_none(lambda: review_queues.get_review_queue(name=name, experiment_id=experiment))
    if found is not None:
        return found
    question = _or_none(lambda: label_schemas.get_label_schema(QUESTION, experiment_id=experiment))
    if question is None:
        question = label_schemas.create_label_schema(
            QUESTION,
            type="feedback",
            input=label_schemas.InputNumeric(min_value=0, max_value=100),
            instruction=_INSTRUCTION,
            experiment_id=experiment,
        )
    return review_queues.create_review_queue(
        name, queue_type="custom", schema_ids=[question.schema_id], experiment_id=experiment
    )


def _made(mlflow: MlflowClient, experiment: str, digest: str) -> dict[str, str]:
    """The complete traces of a run's answers that are there, in a queue or in none: their ids by the answers' keys."""
    named = f"tag.`{_TAG_OF_RUN}` = '{digest}' AND trace.status = 'OK'"
    found: dict[str, str] = {}
    token = None
    while True:
        page = mlflow.search_traces(
            locations=[experiment], filter_string=named, max_results=100, page_token=token, include_spans=False
        )
        found |= {trace.info.tags[_TAG]: str(trace.info.trace_id) for trace in page if _TAG in trace.info.tags}
        token = page.token
        if not token:
            return found


def _trace(mlflow: MlflowClient, experiment: str, digest: str, item: Item) -> str:
    """The id of a new trace with an answer."""
    texts = {"instruction": item.instruction, "input": item.input, "reference": item.reference}
    tags = {_TAG: item.key, _TAG_OF_RUN: digest}
    span = mlflow.start_trace("answer", inputs=texts, tags=tags, experiment_id=experiment)
    mlflow.end_trace(span.trace_id, outputs={"answer": item.answer})
    return str(span.trace_id)


def _pages(queue_id: str) -> Iterator[Any]:
    """The items of a queue."""
    from mlflow.genai import review_queues

    token = None
    while True:
        page = review_queues.list_review_queue_items(queue_id, max_results=100, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _traces(mlflow: MlflowClient, queue_id: str) -> Iterator[tuple[str, Trace]]:
    """The status and the trace of each of our items in a queue; a trace that somebody has deleted is left out."""
    for item in _pages(queue_id):
        trace = _or_none(partial(mlflow.get_trace, item.item_id))
        if trace is not None and _TAG in trace.info.tags:
            yield str(item.status), trace


def _grades(traces: Sequence[Trace]) -> dict[str, list[float]]:
    """The grades that each person gave an answer, which has these traces, by the person's name; the last one counts.

    Raises:
        DataError: one is no number from 0 to 100.
    """
    by_person: dict[str, list[float]] = {}
    given = [(one, trace.info.trace_id) for trace in traces for one in trace.info.assessments]
    for found, trace_id in sorted(given, key=lambda pair: pair[0].create_time_ms or 0):
        if found.name != QUESTION or found.source.source_type != "HUMAN" or found.valid is False:
            continue
        value = found.feedback.value if found.feedback else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
            what = f"MLflow trace {trace_id}: {QUESTION}: expected a number from 0 to 100; found {value!r}"
            raise DataError(what, f"correct it in MLflow, in the experiment {_EXPERIMENT}")
        by_person.setdefault(found.source.source_id or "", []).append(float(value))
    return by_person
