"""A run of MLflow's store: how it is found, created, filled and ended there.

Only the modules of this folder import mlflow.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import socket
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from stages.common import paths
from stages.common.secrecy import hidden
from stages.params import reading, whole
from stages.running import git, made_on, proxies
from stages.running.console import say
from stages.running.inputs import Begun
from stages.running.tracking import (
    description,
    doors,
    execution,
    mlflow_access,
    mlflow_experiment,
    names,
    provenance,
    views,
)
from stages.running.tracking.execution import Execution
from stages.running.tracking.metric_names import TRAIN_LOSS

if TYPE_CHECKING:
    from mlflow import MlflowClient


#: How a stage ends.
StageEnd = Literal["ran", "failed", "cancelled"]
#: The state of a run that a stage has broken off.
_STATUS = {"failed": "FAILED", "cancelled": "KILLED"}

#: DVC sets it for the stages of every experiment, to the name that `dvc exp show` gives. The run has it as its name.
EXPERIMENT_VARIABLE = "DVC_EXP_NAME"
#: Tags of a run whose answers are those of another one, with that one's id, name and page.
RESCORE_OF, RESCORE_SOURCE, RESCORE_PAGE = "rescore.of", description.RESCORE_SOURCE, description.RESCORE_PAGE
#: The commit of the code that scored again.
RESCORE_COMMIT = "rescore.commit"
#: The tag of a run that was broken off: why, in a line.
ENDED = "ended"
_SILENT = "its process ended without a word, as by SIGKILL or a loss of power"
#: The tag of a run with the digest of what its scores depend on (`published.lineage`).
LINEAGE = "dvc.lock.sha256"
#: MLflow's own tag of a run that belongs to another one.
PARENT = "mlflow.parentRunId"
#: MLflow's limits: characters of a parameter's value; parameters and metrics in a request.
PARAM_LENGTH = 6000
_TAG_LENGTH = 5000
_PARAMS_BATCH = 100
METRICS_BATCH = 1000


def params_of(own: Execution, root: Path) -> whole.Params:
    """The values of an execution: those that its first stage has kept, since params.yaml may have been edited."""
    kept = execution.kept_by_first(own)
    return whole.load(root / paths.PARAMS) if kept is None else whole.check(Begun.from_json(kept).section())


def find_or_create(mlflow: MlflowClient, own: Execution, root: Path, params: whole.Params) -> str:
    """The run of an execution with these values, RUNNING and owned by this process from now on."""
    found = _find(mlflow, own, params.profile)
    if found is None:
        run_id = create(mlflow, own, root, {}, params)
    else:
        run_id = str(found.info.run_id)
        mlflow.set_tag(run_id, "pipeline.owner", execution.identity())
        if ENDED in found.data.tags:
            mlflow.delete_tag(run_id, ENDED)
        mlflow.update_run(run_id, status="RUNNING")
    if own.of_dvc:
        execution.mark_run(own)
    return run_id


def create(
    mlflow: MlflowClient,
    own: Execution,
    root: Path,
    tags: Mapping[str, str],
    tree: whole.Params,
    name: str = "",
    without: Collection[str] = (),
    repository: Path | None = None,
) -> str:
    """Create a run with its parameters and tags; set the runs of dead owners KILLED.

    Its name says what differs from the commit, and ends with ``name``, or that of the DVC experiment, or the time.
    Parameters of the keys in ``without`` are left out. ``repository`` is a folder of the git repository, where ``root``
    is in none.
    """
    _reap(mlflow)
    commit = git.ask(root, "rev-parse", "HEAD")
    if not commit and (refusal := git.refusal(root)) is not None:
        say(f"tracking: this run has no git.commit: {refusal.what}; {refusal.fix}")
    of_dvc = os.environ.get(EXPERIMENT_VARIABLE, "") if own.of_dvc else ""
    values = tree.model_dump()
    differs = names.differing(repository or root, commit or tags.get("git.commit", ""), values, without)
    run = mlflow.create_run(
        mlflow_experiment.ensured(mlflow, tree.profile, root),
        # What differs first: pages cut long names.
        run_name=names.full(differs, values, name or of_dvc or names.of_time()),
        tags={
            "pipeline.execution": own.identity,
            "pipeline.owner": execution.identity(),
            doors.TAG: _door(own, of_dvc, tags),
            "host": socket.gethostname(),
            "profile": tree.profile,
            "env.python": platform.python_version(),
            "env.torch": importlib.metadata.version("torch"),
            **provenance.maker(own),
            **({doors.EXPERIMENT_TAG: of_dvc} if of_dvc else {}),
            # Answers that are scored again are of their source's commit, which ``tags`` has.
            **({} if doors.of(tags) == doors.RESCORED else provenance.git_tags(root, commit)),
            **_differs(differs, values),
            **tags,
        },
    )
    run_id = str(run.info.run_id)
    flat = reading.flatten(values)
    log_params(mlflow, run_id, {key: value for key, value in flat.items() if key not in without}, {})
    return run_id


def _door(own: Execution, of_dvc: str, tags: Mapping[str, str]) -> str:
    if tags.get(doors.SCHEDULED) == "true":
        return doors.SCHEDULE
    return doors.EXPERIMENT if of_dvc else own.door


def _differs(found: Mapping[str, str] | None, tree: Mapping[str, Any]) -> dict[str, str]:
    """The tag with the values that differ from the commit's; none where that is not known."""
    if found is None:
        return {}
    return {views.DIFFERS: names.in_words(found, tree)[:_TAG_LENGTH] if found else views.NOTHING}


def log_machine(mlflow: MlflowClient, run_id: str) -> None:
    """Log what the stages of a run that ran here were made on, for whoever makes it again.

    Not where none ran: what made results of DVC's cache is not known. A failure is told, and the run is as good.
    """
    try:
        mlflow.log_dict(run_id, made_on.here(), made_on.FILE)
    except Exception as error:
        say(f"tracking: {made_on.FILE} is not in the run: {mlflow_access.why(error)}")


def create_from_files(
    mlflow: MlflowClient, root: Path, tags: Mapping[str, str], name: str = "", started: int | None = None
) -> str:
    """Create a run for results of an earlier execution, which this process owns.

    It has no tags of the machine that made them, which the files do not name.

    Args:
        mlflow: the client.
        root: folder with params.yaml.
        tags: its tags.
        name: its name; empty for one with the time.
        started: when the results were made, in milliseconds since 1970; None for now.
    """
    params = whole.load(root / paths.PARAMS)
    values = params.model_dump()
    differs = names.differing(root, tags.get("git.commit", ""), values)
    _reap(mlflow)
    run = mlflow.create_run(
        mlflow_experiment.ensured(mlflow, params.profile, root),
        start_time=started,
        run_name=names.full(differs, values, name or f"{names.of_time()}-published"),
        tags={
            "pipeline.owner": execution.identity(),
            doors.TAG: doors.PUBLISHED,
            "host": socket.gethostname(),
            "profile": params.profile,
            **provenance.maker(execution.current()),
            **_differs(differs, values),
            **tags,
        },
    )
    return str(run.info.run_id)


def all_by_tag(mlflow: MlflowClient, root: Path, name: str, value: str) -> list[Any]:
    """The runs of the profile's experiment with a tag, the newest first. Deleted runs are left out."""
    at = mlflow_experiment.ensured(mlflow, whole.load(root / paths.PARAMS).profile, root)
    order = ["attributes.start_time DESC"]
    return list(mlflow.search_runs([at], f"tags.`{name}` = '{value}'", order_by=order))


def set_aside(mlflow: MlflowClient, run_id: str, root: Path, tag: str) -> tuple[str, str, str] | None:
    """Tag and delete a run, if another one that has finished has the same value of a tag.

    Returns:
        The id, the name and the experiment of the other one; None where there is none.
    """
    at = mlflow_experiment.ensured(mlflow, whole.load(root / paths.PARAMS).profile, root)
    value = mlflow.get_run(run_id).data.tags.get(tag, "")
    same = f"tags.`{tag}` = '{value}' and attributes.status = 'FINISHED'"
    earlier = [run.info for run in mlflow.search_runs([at], same) if run.info.run_id != run_id]
    if not (value and earlier):
        return None
    mlflow.set_tag(run_id, "nothing-to-do", earlier[0].run_id)
    mlflow.delete_run(run_id)
    return str(earlier[0].run_id), str(earlier[0].run_name), at


def git_tags(root: Path) -> dict[str, str]:
    """The tags of the last commit; none without one."""
    return provenance.git_tags(root, git.ask(root, "rev-parse", "HEAD"))


def git_tags_of(mlflow: MlflowClient, run_id: str) -> dict[str, str]:
    """The tags of a run that name its commit; none where it has none."""
    tags = mlflow.get_run(run_id).data.tags
    return {name: str(tags[name]) for name in provenance.OF_GIT if name in tags}


class Page(NamedTuple):
    """The page of a run.

    Args:
        name: name of the run.
        address: its URL.
        runs: URL of the table of runs of its experiment.
    """

    name: str
    address: str
    runs: str


def page(mlflow: MlflowClient, run_id: str, pages: str) -> Page:
    """The page of a run; ``pages`` is the address of MLflow's pages where the store is no server."""
    info = mlflow.get_run(run_id).info
    base, experiment = pages_of(pages), info.experiment_id
    return Page(info.run_name, views.run_page(base, experiment, run_id), views.runs_page(base, experiment))


def runs_pages(mlflow: MlflowClient, profile: str, root: Path, pages: str) -> list[tuple[str, str]]:
    """The names of this project's experiments, the profile's first, and the addresses of their tables of runs."""
    first = mlflow_experiment.ensured(mlflow, profile, root)
    others = [one for one in mlflow_experiment.ids_of_all(mlflow) if one != first]
    return [
        (mlflow_experiment.with_view(mlflow, one), views.runs_page(pages_of(pages), one)) for one in (first, *others)
    ]


def pages_of(pages: str) -> str:
    """The address of the store's own pages, or else of those that show it."""
    where = proxies.without_user(mlflow_access.uri())
    return where if where.lower().startswith(("http://", "https://")) else pages


def close(mlflow: MlflowClient, run_id: str, why: str = "") -> None:
    """End a run that this process owns: FAILED if a stage has failed, KILLED if one was cancelled, else FINISHED."""
    tags = mlflow.get_run(run_id).data.tags
    ends = {value for name, value in tags.items() if name.startswith("stage.")}
    terminate(mlflow, run_id, next((_STATUS[end] for end in _STATUS if end in ends), "FINISHED"), why)


def terminate(mlflow: MlflowClient, run_id: str, status: str, why: str = "") -> None:
    """End a run; one that was broken off says why in its description.

    Args:
        mlflow: the client.
        run_id: id of the run.
        status: FINISHED, FAILED or KILLED.
        why: what broke it off, which takes the place of what was said before: of a stage that has ended more is known
            than of one that was told to. Empty leaves that.
    """
    if status in ("FAILED", "KILLED"):
        tags = mlflow.get_run(run_id).data.tags
        if why or not tags.get(ENDED):
            note = description.of_end("KILLED" if status == "KILLED" else "FAILED", why, tags)
            mlflow.set_tag(run_id, description.NOTE, note)
            mlflow.set_tag(run_id, ENDED, in_a_line(hidden(why) or status)[:_TAG_LENGTH])
    mlflow.set_terminated(run_id, status)


def in_a_line(why: str) -> str:
    r"""The first line of a message, with the first problem behind it where a list of them follows.

    >>> in_a_line("download: rows.csv: 2 problems in 60 rows:\n  - row 8: answer: missing\n  - row 9: no object")
    'download: rows.csv: 2 problems in 60 rows: row 8: answer: missing'
    """
    first, *rest = why.splitlines() or [""]
    return f"{first} {rest[0].strip().removeprefix('- ')}" if first.endswith(":") and rest else first


def break_off(own: Execution, stage: str, how: StageEnd, why: str = "") -> None:
    """Mark a stage as failed or cancelled in the run of an execution, if there is one, and end that run."""
    mlflow = mlflow_access.client(Path())
    found = _find(mlflow, own, params_of(own, Path()).profile)
    if found is not None:
        mlflow.set_tag(found.info.run_id, f"stage.{stage}", how)
        terminate(mlflow, str(found.info.run_id), _STATUS[how], f"{stage}: {why}" if why else stage)


def log_params(mlflow: MlflowClient, run_id: str, values: Mapping[str, object], there: Mapping[str, str]) -> bool:
    """Log the parameters that are not there yet; a value that is not text is logged as JSON.

    Returns:
        Whether all that are there have these values.
    """
    from mlflow.entities import Param

    new = {}
    same = True
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value)
        if len(text) > PARAM_LENGTH:
            say(f"tracking: {name} is cut to the {PARAM_LENGTH} characters that MLflow keeps")
        text = text[:PARAM_LENGTH]
        if there.get(name, text) != text:
            say(f"tracking: {name} was {there[name]} when this run began, and is {text} now; MLflow keeps the first")
            same = False
        elif name not in there:
            new[name] = text
    entries = [Param(name, text) for name, text in new.items()]
    for start in range(0, len(entries), _PARAMS_BATCH):
        mlflow.log_batch(run_id, params=entries[start : start + _PARAMS_BATCH])
    return same


def log_metrics(mlflow: MlflowClient, run_id: str, points: Sequence[tuple[str, float, int, int]]) -> None:
    """Log metrics in batches.

    Args:
        mlflow: the client.
        run_id: id of the run.
        points: name, value, milliseconds since 1970, and step of each.
    """
    from mlflow.entities import Metric

    for start in range(0, len(points), METRICS_BATCH):
        entries = [Metric(*point) for point in points[start : start + METRICS_BATCH]]
        mlflow.log_batch(run_id, metrics=entries)


def set_tags(mlflow: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run in one request."""
    from mlflow.entities import RunTag

    if tags:
        mlflow.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])


def _find(mlflow: MlflowClient, own: Execution, profile: str) -> Any:
    named = mlflow.get_experiment_by_name(mlflow_experiment.name_of(profile))
    if named is None:
        return None
    query = f"tags.`pipeline.execution` = '{own.identity}' and tags.door LIKE '{own.door.split()[0]}%'"
    return next(iter(mlflow.search_runs([named.experiment_id], query, max_results=1)), None)


def _reap(mlflow: MlflowClient) -> None:
    """Set runs KILLED that a dead owner on this machine has left RUNNING: no other machine can know that it is dead."""
    ours = mlflow_experiment.ids_of_all(mlflow)
    if not ours:
        return
    query = f"attributes.status = 'RUNNING' and tags.host = '{socket.gethostname()}'"
    for run in mlflow.search_runs(ours, query, max_results=1000):
        owner = run.data.tags.get("pipeline.owner")
        if owner and execution.is_gone(owner):
            terminate(mlflow, str(run.info.run_id), "KILLED", f"{_SILENT}{_curve_of(mlflow, run)}")


def _curve_of(mlflow: MlflowClient, run: Any) -> str:
    """Where the loss curve of a run ends, in words; empty where it has none."""
    if TRAIN_LOSS not in run.data.metrics:
        return ""
    last = max(point.step for point in mlflow.get_metric_history(run.info.run_id, TRAIN_LOSS))
    return f"; its loss curve ends at step {last:,}"
