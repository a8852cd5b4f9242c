"""MLflow's store: how a run is found, created, filled and ended there.

Besides `database`, only this module imports mlflow.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import socket
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from stages.common import paths, reasons, secrecy
from stages.common.errors import ConfigError, PipelineError, ServiceUnavailable
from stages.params import reading, whole
from stages.running import git, proxies
from stages.running.console import say
from stages.running.inputs import Begun
from stages.running.tracking import database, execution
from stages.running.tracking.execution import Execution

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

#: How a stage ends.
StageEnd = Literal["ran", "failed", "cancelled"]
#: The state of a run that a stage has broken off.
_STATUS = {"failed": "FAILED", "cancelled": "KILLED"}

PROJECT = "instruct-pipeline"
#: DVC sets it for the stages of every experiment, to the name that `dvc exp show` gives. The run has it as its name.
EXPERIMENT_VARIABLE = "DVC_EXP_NAME"
EXPERIMENT_TAG = "dvc.experiment"
#: MLflow's own tag of a run that belongs to another one.
PARENT = "mlflow.parentRunId"
#: MLflow's limits: characters of a parameter's value; parameters and metrics in a request.
PARAM_LENGTH = 6000
_PARAMS_BATCH = 100
METRICS_BATCH = 1000

_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # MLflow's defaults are 120 seconds and seven attempts.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    # With the default level it reports every table that it creates.
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def uri(root: Path = Path()) -> str:
    """The address of the store: MLFLOW_TRACKING_URI, or else mlflow.db in ``root``.

    A sqlite file's path is absolute in it: a run with other values works in another folder.
    """
    return database.absolute(os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db", root)


def load() -> None:
    """Import mlflow in the calling thread: of imports in two threads one can meet a module that is not complete."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401


def client(root: Path) -> MlflowClient:
    """A client of the store that is used in a folder; errors as `client_of`."""
    return client_of(uri(root))


def client_of(where: str) -> MlflowClient:
    """A client of a store, whose database is made, or brought up to date, before.

    Args:
        where: address of the store.

    Raises:
        sqlite3.Error: the database cannot be used.
        OSError: it cannot be made.
        ConfigError: a password or token would go unencrypted to another machine.
    """
    from mlflow import MlflowClient

    _require_secrecy(where)
    if (path := database.path_of(where)) is not None:
        database.prepare(path)
    return MlflowClient(tracking_uri=where)


def _require_secrecy(where: str) -> None:
    """Refuse to send what MLflow logs in with where others can read it; arguments and errors as `secrecy.require`."""
    from mlflow.utils import credentials

    untyped: Any = credentials
    found = untyped.get_default_host_creds(where)
    if found.username or found.password or found.token or secrecy.has_user(where):
        fix = "set MLFLOW_TRACKING_URI to an https:// address"
        secrecy.require(where, "MLflow's password or token", named_by="MLFLOW_TRACKING_URI", fix=fix)


def prepare() -> None:
    """Make the store's database if it is a sqlite file that is not made yet, or bring it up to date.

    Raises:
        ConfigError: a newer MLflow has made it.
        ServiceUnavailable: the database cannot be used.
    """
    path = database.path_of(uri())
    if path is None:
        return
    try:
        if not database.is_finished(path):
            doing = (
                "bringing MLflow's database up to date" if database.state(path) == "old" else "making MLflow's database"
            )
            say(f"{doing}, {path}: it takes some seconds, once")
            load()
            database.prepare(path)
    except PipelineError:
        raise
    except Exception as error:
        fix = "set MLFLOW_TRACKING_URI to another address, or move the file away"
        raise ServiceUnavailable(f"MLflow's database {path}: {why(error)}", fix) from error


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
        mlflow.update_run(run_id, status="RUNNING")
    if own.door == "dvc":
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
) -> str:
    """Create a run with its parameters and tags; set the runs of dead owners KILLED.

    Its name is ``name``, or that of the DVC experiment, or one that begins with the time. Parameters of the keys in
    ``without`` are left out.
    """
    _reap(mlflow)
    commit = git.ask(root, "rev-parse", "HEAD")
    if not commit and (refusal := git.refusal(root)) is not None:
        say(f"tracking: this run has no git.commit: {refusal.what}; {refusal.fix}")
    started = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    experiment = os.environ.get(EXPERIMENT_VARIABLE, "") if own.door == "dvc" else ""
    run = mlflow.create_run(
        _experiment(mlflow, tree.profile, root),
        # The time first: pages cut long names, and their beginnings must differ.
        run_name=name or experiment or "-".join([started, tree.profile, *([commit[:7]] if commit else [])]),
        tags={
            "pipeline.execution": own.identity,
            "pipeline.owner": execution.identity(),
            "door": own.door,
            "host": socket.gethostname(),
            "profile": tree.profile,
            "env.python": platform.python_version(),
            "env.torch": importlib.metadata.version("torch"),
            **({EXPERIMENT_TAG: experiment} if experiment else {}),
            **_git_tags(root, commit),
            **tags,
        },
    )
    run_id = str(run.info.run_id)
    values = reading.flatten(tree.model_dump())
    log_params(mlflow, run_id, {key: value for key, value in values.items() if key not in without}, {})
    return run_id


def create_from_files(mlflow: MlflowClient, root: Path, tags: Mapping[str, str]) -> str:
    """Create a run for results of an earlier execution, which this process owns.

    It has no tags of the machine that made them, which the files do not name.
    """
    profile = whole.load(root / paths.PARAMS).profile
    _reap(mlflow)
    run = mlflow.create_run(
        _experiment(mlflow, profile, root),
        run_name=f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{profile}-published",
        tags={
            "pipeline.owner": execution.identity(),
            "door": "publish",
            "host": socket.gethostname(),
            "profile": profile,
            **tags,
        },
    )
    return str(run.info.run_id)


def find_by_tag(mlflow: MlflowClient, root: Path, name: str, value: str) -> Any:
    """The newest run of the profile's experiment with a tag; None without one. Deleted runs are left out."""
    experiment = _experiment(mlflow, whole.load(root / paths.PARAMS).profile, root)
    order = ["attributes.start_time DESC"]
    found = mlflow.search_runs([experiment], f"tags.`{name}` = '{value}'", max_results=1, order_by=order)
    return next(iter(found), None)


def set_aside(mlflow: MlflowClient, run_id: str, root: Path, tag: str) -> tuple[str, str] | None:
    """Tag and delete a run, if another one that has finished has the same value of a tag.

    Returns:
        The id and the name of the other one; None where there is none.
    """
    experiment = _experiment(mlflow, whole.load(root / paths.PARAMS).profile, root)
    value = mlflow.get_run(run_id).data.tags.get(tag, "")
    same = f"tags.`{tag}` = '{value}' and attributes.status = 'FINISHED'"
    earlier = [run.info for run in mlflow.search_runs([experiment], same) if run.info.run_id != run_id]
    if not (value and earlier):
        return None
    mlflow.set_tag(run_id, "nothing-to-do", earlier[0].run_id)
    mlflow.delete_run(run_id)
    return str(earlier[0].run_id), str(earlier[0].run_name)


def git_tags(root: Path) -> dict[str, str]:
    """The tags of the last commit; none without one."""
    return _git_tags(root, git.ask(root, "rev-parse", "HEAD"))


class Page(NamedTuple):
    """The page of a run.

    Args:
        name: name of the run.
        address: its URL.
    """

    name: str
    address: str


def page(mlflow: MlflowClient, run_id: str, pages: str) -> Page:
    """The page of a run; ``pages`` is the address of MLflow's pages where the store is no server."""
    info = mlflow.get_run(run_id).info
    where = proxies.without_user(uri())
    base = where if where.lower().startswith(("http://", "https://")) else pages
    return Page(info.run_name, f"{base.rstrip('/')}/#/experiments/{info.experiment_id}/runs/{run_id}")


def close(mlflow: MlflowClient, run_id: str) -> None:
    """End a run that this process owns: FAILED if a stage has failed, KILLED if one was cancelled, else FINISHED."""
    tags = mlflow.get_run(run_id).data.tags
    ends = {value for name, value in tags.items() if name.startswith("stage.")}
    mlflow.set_terminated(run_id, next((_STATUS[end] for end in _STATUS if end in ends), "FINISHED"))


def break_off(own: Execution, stage: str, how: StageEnd) -> None:
    """Mark a stage as failed or cancelled in the run of an execution, if there is one, and end that run."""
    mlflow = client(Path())
    found = _find(mlflow, own, params_of(own, Path()).profile)
    if found is not None:
        mlflow.set_tag(found.info.run_id, f"stage.{stage}", how)
        mlflow.set_terminated(found.info.run_id, _STATUS[how])


def log_params(mlflow: MlflowClient, run_id: str, values: Mapping[str, Any], there: Mapping[str, str]) -> bool:
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


def download(
    root: Path, name: str, files: Sequence[str], folder: Path, optional: Sequence[str] = ()
) -> list[Path] | None:
    """Fetch files of a run; arguments, result and errors are those of `tracker.download`."""
    if not _exists(root):
        return None
    with _asked(root):
        mlflow = client(root)
        run_id = _named(mlflow, name)
        if run_id is None:
            return None
        folders = {str(Path(file).parent).removeprefix(".") for file in (*files, *optional)}
        there = {file.path for parent in sorted(folders) for file in mlflow.list_artifacts(run_id, parent or None)}
        if missing := [file for file in files if file not in there]:
            raise ConfigError(f"MLflow run {name}: it does not hold {', '.join(missing)}", "name another run")
        wanted = [*files, *(file for file in optional if file in there)]
        return [Path(mlflow.download_artifacts(run_id, file, str(folder))) for file in wanted]


def search(root: Path, query: str, most: int) -> list[tuple[str, str]]:
    """Ids and names of finished runs; arguments, result and errors are those of `tracker.search`."""
    if not _exists(root):
        return []
    with _asked(root):
        from mlflow.exceptions import MlflowException

        mlflow = client(root)
        ours = [one.experiment_id for one in mlflow.search_experiments(filter_string=f"name LIKE '{PROJECT}/%'")]
        if not ours:
            return []
        finished_ones = " and ".join(filter(None, [query, "attributes.status = 'FINISHED'"]))
        order = ["attributes.start_time DESC"]
        try:
            found = mlflow.search_runs(ours, finished_ones, max_results=most, order_by=order)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            fix = "such as params.`finetune.epochs` = '3' and tags.profile = 'quick'"
            raise ConfigError(f"{query}: MLflow does not take the filter: {why(error)}", fix) from None
        return [(str(run.info.run_id), str(run.info.run_name)) for run in found]


def children(root: Path, name: str) -> list[tuple[str, str]]:
    """Ids and names of a run's children; arguments, result and errors are those of `tracker.children`."""
    if not _exists(root):
        return []
    with _asked(root):
        run_id = _named(client(root), name)
        return [] if run_id is None else search(root, f"tags.`{PARENT}` = '{run_id}'", METRICS_BATCH)


def finished(root: Path, most: int) -> list[tuple[str, str]]:
    """Ids and names of finished runs; arguments and errors are those of `tracker.finished`."""
    if not _exists(root):
        return []
    with _asked(root):
        mlflow = client(root)
        named = mlflow.get_experiment_by_name(experiment_name(whole.load(root / paths.PARAMS).profile))
        if named is None:
            return []
        query, order = "attributes.status = 'FINISHED'", ["attributes.start_time DESC"]
        found = mlflow.search_runs([named.experiment_id], query, max_results=most, order_by=order)
        return [(str(run.info.run_id), str(run.info.run_name)) for run in found]


def _exists(root: Path) -> bool:
    """Whether there is a store, as far as that is known without asking a server."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI")) or (root / "mlflow.db").exists()


@contextlib.contextmanager
def _asked(root: Path) -> Iterator[None]:
    """Turn the errors of MLflow within the block into ours."""
    load()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError, sqlite3.Error) as error:
        raise ServiceUnavailable(f"MLflow at {shown_uri(root)}: {why(error)}", "see MLFLOW_TRACKING_URI") from error


def _named(mlflow: MlflowClient, name: str) -> str | None:
    """The id of the run with this id or this name, and of several with the name that of the newest."""
    if "'" in name:  # MLflow's filters cannot express it
        return None
    field = "run_id" if re.fullmatch(r"[0-9a-f]{32}", name) else "run_name"
    experiments = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    order = ["attributes.start_time DESC"]
    found = mlflow.search_runs(experiments, f"attributes.{field} = '{name}'", max_results=1, order_by=order)
    return str(found[0].info.run_id) if found else None


def bounded(action: Callable[[], T], seconds: float) -> T:
    """Run an action in a thread and wait for it.

    Args:
        action: what to run.
        seconds: longest wait.

    Raises:
        TimeoutError: the action takes longer. Its thread ends with the process.
    """
    outcome: list[T] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            outcome.append(action())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="tracking", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds")
    return outcome[0]


def why(error: Exception) -> str:
    """Why MLflow does not work: one of our errors with its fix, or what the system or MLflow says; no password."""
    said = " ".join(str(error).split()) if isinstance(error, PipelineError) else reasons.reason(error)
    return secrecy.hidden(said)


def warn(error: Exception) -> None:
    """Say in one line that tracking does not work."""
    say(f"tracking: MLflow at {shown_uri()}{_through()} does not work, going on without it: {why(error)}")


def _through() -> str:
    """The proxy that a server is asked through, for a message; a SOCKS proxy needs a package."""
    proxy = proxies.proxy_for(uri()) if uri().lower().startswith(("http://", "https://")) else None
    if proxy is None:
        return ""
    needs = ", which needs the package PySocks" if proxy.is_socks else ""
    return f" ({proxy}{needs}; to fix it: {proxy.fix})"


def shown_uri(root: Path = Path()) -> str:
    """`uri` without a password."""
    return secrecy.hidden(uri(root))


def _find(mlflow: MlflowClient, own: Execution, profile: str) -> Any:
    named = mlflow.get_experiment_by_name(experiment_name(profile))
    if named is None:
        return None
    query = f"tags.`pipeline.execution` = '{own.identity}' and tags.door = '{own.door}'"
    return next(iter(mlflow.search_runs([named.experiment_id], query, max_results=1)), None)


def experiment_name(profile: str) -> str:
    """The name of the experiment with the runs of a profile."""
    return f"{PROJECT}/{profile}"


def _experiment(mlflow: MlflowClient, profile: str, root: Path) -> str:
    from mlflow.exceptions import MlflowException

    name = experiment_name(profile)
    # Beside the database. MLflow's default is the working directory, which is removed after an isolated run.
    path = database.path_of(uri(root))
    artifacts = None if path is None else (path.resolve().parent / "mlruns").as_uri()
    if (named := mlflow.get_experiment_by_name(name)) is None:
        try:
            # By this tag MLflow's page shows training runs with curves, not evaluations of an application.
            tags = {"mlflow.experimentKind": "custom_model_development"}
            return str(mlflow.create_experiment(name, artifact_location=artifacts, tags=tags))
        except MlflowException:
            # Another process may have created it in between; if not, the error is real.
            if (named := mlflow.get_experiment_by_name(name)) is None:
                raise
    if named.lifecycle_stage == "deleted":
        _restore_experiment(mlflow, named.experiment_id, name)
    return str(named.experiment_id)


def restore(mlflow: MlflowClient, run_id: str) -> None:
    """Restore a run, and its experiment, that was deleted in MLflow while this execution was at work."""
    found = mlflow.get_run(run_id)
    experiment = mlflow.get_experiment(found.info.experiment_id)
    if experiment.lifecycle_stage == "deleted":
        _restore_experiment(mlflow, experiment.experiment_id, experiment.name)
        found = mlflow.get_run(run_id)
    if found.info.lifecycle_stage == "deleted":
        mlflow.restore_run(run_id)
        say(f"tracking: the run {found.info.run_name} was deleted in MLflow while it was at work: restored")


def _restore_experiment(mlflow: MlflowClient, experiment_id: str, name: str) -> None:
    """Restore a deleted experiment: MLflow lets no other have its name, and tracks nothing in one that is deleted."""
    from mlflow.exceptions import MlflowException

    try:
        mlflow.restore_experiment(experiment_id)
    except MlflowException:
        # Another process may have restored it in between; if not, the error is real.
        if mlflow.get_experiment(experiment_id).lifecycle_stage == "deleted":
            raise
        return
    say(f"tracking: the experiment {name} was deleted in MLflow: restored, with its runs, as this run belongs there")


def _reap(mlflow: MlflowClient) -> None:
    """Set runs KILLED that a dead owner on this machine has left RUNNING: no other machine can know that it is dead."""
    ours = mlflow.search_experiments(filter_string=f"name LIKE '{PROJECT}/%'")
    if not ours:
        return
    query = f"attributes.status = 'RUNNING' and tags.host = '{socket.gethostname()}'"
    for run in mlflow.search_runs([one.experiment_id for one in ours], query, max_results=1000):
        owner = run.data.tags.get("pipeline.owner")
        if owner and execution.is_gone(owner):
            mlflow.set_terminated(run.info.run_id, "KILLED")


def _git_tags(root: Path, commit: str) -> dict[str, str]:
    if not commit:
        return {}
    # params.yaml is in the run's parameters and files; dvc.lock is written by the pipeline.
    dirty = git.ask(root, "status", "--porcelain", "--", ".", f":(exclude){paths.PARAMS}", ":(exclude)dvc.lock")
    return {"git.commit": commit, "git.dirty": str(bool(dirty)).lower(), "mlflow.source.git.commit": commit}
