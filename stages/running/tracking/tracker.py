"""One flat MLflow run for each execution of the pipeline, mirrored from files that are complete without it.

An execution is one run of the Prefect flow, one `dvc repro`, or one stage started by hand. Its run has one owner:

- Under the flow the flow creates the run, passes its id to the stages (`stage_variables`), and at the end calls
  `publish` and `end`. Stages log to it live and leave its status alone.
- Under plain `dvc repro` no process of ours lasts as long as the execution. Each tracked stage finds the run by the
  identity of the dvc process above it, or creates it. It owns the run while it works: the run is RUNNING meanwhile, and
  FINISHED, FAILED or KILLED afterwards. The last stage publishes.

Tracking never fails a stage and delays it only for a bounded time: what goes wrong is said in one line. Only `store`
and `database` import mlflow, when something is tracked; a stage that is not tracked does not wait for that import.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from stages.common import paths
from stages.common.errors import ConfigError, PipelineError, ServiceUnavailable
from stages.params import whole
from stages.running import lock, misrecorded, orphans
from stages.running.inputs import Begun
from stages.running.signals import Interrupted
from stages.running.tracking import (
    description,
    doors,
    execution,
    judged_runs,
    late,
    listing,
    lookup,
    mirror,
    mlflow_access,
    mlflow_experiment,
    published,
    registry,
    store,
    views,
)
from stages.running.tracking.live import (
    CREATE_SECONDS,
    FAILURE_SECONDS,
    NO_RUN,
    PUBLISH_SECONDS,
    RUN_ID_VARIABLE,
    StageRun,
)
from stages.running.tracking.mlflow_access import prepare, shown_uri, uri
from stages.running.tracking.store import Page, StageEnd

__all__ = [
    "RUN_ID_VARIABLE",
    "StageRun",
    "add",
    "add_comparisons",
    "best_run",
    "children",
    "commit_tags",
    "create_run",
    "download",
    "end",
    "finished",
    "id_of",
    "judged",
    "listed",
    "name_lines",
    "of_lineage",
    "page",
    "prepare",
    "publish",
    "publish_files",
    "require_name",
    "rescoring_tags",
    "run",
    "runs_pages",
    "search",
    "set_aside",
    "shown_uri",
    "stage",
    "stage_over",
    "stage_variables",
    "stopping",
    "store_lines",
    "tag",
    "tag_stages",
    "uri",
]

T = TypeVar("T")

#: Seconds that the end of a run may take at most.
END_SECONDS = 20.0

#: Stages of this process whose failure is already in their run.
_failed: set[str] = set()


@contextlib.contextmanager
def stage(name: str) -> Iterator[StageRun]:
    """Track a stage for the length of the block.

    An exception that leaves the block marks the stage as failed, and `Interrupted` as cancelled.

    Args:
        name: name of the stage.

    Yields:
        What to log to. While tracking is down it does nothing.
    """
    run = StageRun(name)
    try:
        yield run
    except BaseException as error:
        _failed.add(name)
        run.close("cancelled" if isinstance(error, Interrupted) else "failed", _why(error))
        raise
    run.close("ran")


def _why(error: BaseException) -> str:
    """What broke a stage off, for the description of its run."""
    if isinstance(error, Interrupted):
        return orphans.reason() or f"stopped by {error}"
    return str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"


def stage_over(name: str, how: StageEnd, why: str = "") -> None:
    """Keep how a stage ended, for the run of the `dvc repro` that it is part of; elsewhere this does nothing.

    A success leaves a mark, by which the last stage knows what ran and what DVC restored. A failure sets the run FAILED
    that an earlier stage of the same `dvc repro` has created, and an interruption sets it KILLED. Where there is no
    run, none is created.

    Args:
        name: name of the stage.
        how: how it ended.
        why: what broke it off.
    """
    if os.environ.get(RUN_ID_VARIABLE) or name in _failed:
        return
    try:
        current = execution.current()
        if current.door == doors.BY_HAND:
            return
        if how == "ran":
            execution.mark(current, name, misrecorded.note(name))
        elif execution.has_run(current):
            mlflow_access.load()
            mlflow_access.bounded(lambda: store.break_off(current, name, how, why), FAILURE_SECONDS)
    except Exception as error:
        mlflow_access.warn(error)


def create_run(
    root: Path,
    *,
    name: str = "",
    tags: Mapping[str, str] | None = None,
    begun: Begun | None = None,
    without: Collection[str] = (),
    repository: Path | None = None,
) -> str | None:
    """Create the flow's run, which this process owns, with its parameters and tags, in the state RUNNING.

    Runs of this machine whose owner was killed are set KILLED.

    Args:
        root: folder that the stages run in, with params.yaml.
        name: short name of the run, which Prefect's run has as its name (`names`).
        tags: further tags, such as ``prefect.flow_run_id``.
        begun: what the run began with; None reads params.yaml.
        without: dotted keys whose values are not those of the run, such as one that its children differ in.
        repository: folder in the git repository, where ``root`` is in none.

    Returns:
        The run's id, or None, with a message, when tracking is down.
    """

    def create() -> str:
        params = whole.load(root / paths.PARAMS) if begun is None else whole.check(begun.section())
        own = execution.Execution(execution.identity(), "flow")
        note = "\n\n".join(description.of_links(tags or {}))
        given = {**(tags or {}), **({description.NOTE: note} if note else {})}
        return store.create(mlflow_access.client(root), own, root, given, params, name, without, repository)

    return _safely(create, CREATE_SECONDS)


def stage_variables(run_id: str | None) -> dict[str, str]:
    """The environment variables by which stages log to the flow's run, or create none where the flow has none."""
    return {RUN_ID_VARIABLE: run_id or NO_RUN}


def page(run_id: str | None, pages: str) -> Page | None:
    """The page of the flow's run; None where there is none, or MLflow does not answer.

    Args:
        run_id: result of `create_run`.
        pages: address of MLflow's pages, where the store is no server with pages of its own.
    """
    if run_id is None:
        return None
    run = run_id
    return _safely(lambda: store.page(mlflow_access.client(Path()), run, pages), END_SECONDS)


def runs_pages(root: Path, pages: str) -> list[tuple[str, str]]:
    """The experiments of this project and the addresses of their tables of runs, the profile's in ``root`` first.

    That experiment is made if need be, so that its address is right before the first run.

    Args:
        root: folder with params.yaml, and with mlflow.db unless MLFLOW_TRACKING_URI is set.
        pages: address of MLflow's pages, where the store is no server with pages of its own.

    Returns:
        Name and address of each; none, with a message, where MLflow does not answer.
    """

    def found() -> list[tuple[str, str]]:
        mlflow = mlflow_access.client(root)
        return store.runs_pages(mlflow, whole.load(root / paths.PARAMS).profile, root, pages)

    return _safely(found, END_SECONDS) or []


def publish(
    root: Path,
    run_id: str | None,
    *,
    ran: Collection[str],
    files: Sequence[Path] = (),
    compared: Sequence[str] = (),
) -> bool:
    """Mirror the files under ``root`` into the run; a second time changes nothing.

    Args:
        root: folder with params.yaml, dvc.lock and artifacts/.
        run_id: result of `create_run`; with None this does nothing.
        ran: stages that ran in this execution. The others were up to date or restored by DVC, and are tagged as cached.
        files: further files for the run's folder judge.
        compared: what comparisons with other runs have found, a line each, for its description.

    Returns:
        Whether the run has all of them; where it has not, a line says why.
    """
    if run_id is None:
        return False

    def mirrored() -> bool:
        client = mlflow_access.client(root)
        mirror.publish(client, run_id, ran, root, lock_is_final=True, compared=compared)
        for file in files:
            client.log_artifact(run_id, str(file), "judge")
        if not all(name.endswith(".dvc") for name in ran):  # what brings data in makes no result
            store.log_machine(client, run_id)
        registry.register(client, run_id, root, mirror.STAGES.keys() & set(ran))
        return True

    return bool(_safely(mirrored, PUBLISH_SECONDS))


def commit_tags(root: Path) -> dict[str, str]:
    """The tags that name the last commit of a repository; none without one."""
    return store.git_tags(root)


def rescoring_tags(root: Path, source: str, name: str, commit: str = "") -> dict[str, str]:
    """The tags of a run that scores the answers of another one again: they name that one, and lead to its page.

    The commit is that of the answers, as far as it is known. That of the code which scores is in a tag of its own.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        source: id of the other run; empty where it is not in MLflow.
        name: name of the other run.
        commit: commit that has the answers; empty: that of the other run.
    """
    tags = {doors.TAG: doors.RESCORED, store.RESCORE_SOURCE: name}
    if here := commit_tags(root):
        tags[store.RESCORE_COMMIT] = here["git.commit"]
    if commit:
        tags |= {"git.commit": commit, "git.dirty": "false", "mlflow.source.git.commit": commit}
    elif source:
        tags |= _safely(lambda: store.git_tags_of(mlflow_access.client(root), source), END_SECONDS) or {}
    if source:
        # Pages of a local store have no address of their own: the link stays on the page that shows it.
        found = _safely(lambda: store.page(mlflow_access.client(root), source, ""), END_SECONDS)
        tags |= {store.RESCORE_OF: source} | ({store.RESCORE_PAGE: found.address} if found else {})
    return tags


def of_lineage(root: Path, text: str) -> tuple[str, str] | None:
    """The id and the name of the newest run that has the results which a dvc.lock names, but for the judge's.

    Runs that score another one's answers again are left out. None where there is none, or MLflow does not tell.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        text: the dvc.lock; empty where there is none.
    """
    if not text:
        return None
    digest = published.lineage(lock.tree_of(text))
    return _safely(lambda: lookup.of_lineage(root, digest), END_SECONDS)


def add(run_id: str | None, metrics: Mapping[str, float], files: Sequence[Path]) -> None:
    """Log figures and files that are of no stage, such as those of a run with children.

    Args:
        run_id: result of `create_run`; with None this does nothing.
        metrics: figures by name.
        files: files for the run's own folder.
    """
    if run_id is None:
        return
    run = run_id

    def added() -> None:
        client = mlflow_access.client(Path())
        now = time.time_ns() // 1_000_000
        store.log_metrics(client, run, [(name, value, now, 0) for name, value in metrics.items()])
        for file in files:
            client.log_artifact(run, str(file))

    _safely(added, PUBLISH_SECONDS)


def add_comparisons(run_id: str, files: Sequence[Path], lines: Sequence[str]) -> None:
    """Put comparisons with other runs into a run: their files, and a line each at the end of its description.

    Args:
        run_id: id of the run.
        files: files for the run's folder judge.
        lines: what was found. Earlier ones with the same runs are replaced.
    """

    def added() -> None:
        client = mlflow_access.client(Path())
        for file in files:
            client.log_artifact(run_id, str(file), "judge")
        before = client.get_run(run_id).data.tags.get(description.NOTE, "")
        client.set_tag(run_id, description.NOTE, description.with_comparisons(before, lines))

    _safely(added, PUBLISH_SECONDS)


def publish_files(root: Path, source: str, provenance: late.Provenance | None = None) -> late.Late:
    """Publish results of an earlier execution, unless MLflow has them; arguments, result and errors as `late.publish`.

    Raises:
        ServiceUnavailable: MLflow does not take them.
    """
    try:
        return late.publish(root, source, provenance)
    except PipelineError:
        raise
    except Exception as error:
        fix = "see MLFLOW_TRACKING_URI; then python -m flows.publish"
        raise ServiceUnavailable(f"MLflow at {shown_uri(root)}: {mlflow_access.why(error)}", fix) from error


def set_aside(root: Path, run_id: str | None) -> None:
    """Take a run out of MLflow's tables whose results are those of an earlier one: nothing was to be done in it.

    It is tagged ``nothing-to-do`` with the earlier run's id, and deleted in MLflow's way: its own page stays, and it
    can be restored.

    Args:
        root: folder with params.yaml, by whose profile the experiment is found.
        run_id: result of `create_run`, which was published and has ended; with None this does nothing.
    """
    if run_id is None:
        return
    run = run_id
    earlier = _safely(lambda: store.set_aside(mlflow_access.client(root), run, root, published.TAG), END_SECONDS)
    if earlier is not None:
        with contextlib.suppress(OSError):  # a note for the summary
            published.keep(root, *earlier)


def store_lines(root: Path, *, stays: bool, stands: bool = True, pages: str = "") -> list[str]:
    """Lines of the summary that tell where in MLflow the results are, or how they come to be there.

    Args:
        root: folder with the results.
        stays: whether the folder stays; a copy of the repository is removed after its run.
        stands: whether the last stage succeeds. Results that do not stand are not published later.
        pages: address of MLflow's pages of this machine; empty where they are not started.
    """
    if (found := published.kept(root)) is not None:
        base = store.pages_of(pages)
        where = f"{'MLflow':<12}{shown_uri(root)}"
        if not (base and found.experiment):
            return [where, f"{'compare':<12}make ui"]
        # An address is longer than a line, and stays beside its label.
        return [where, f"{'compare':\N{NO-BREAK SPACE}<12}{views.runs_page(base, found.experiment)}"]
    if not mirror.results(root):
        return []
    if not stands:
        return [f"{'MLflow':<12}not there; it takes results that stand: see below why these do not"]
    first = "" if stays else ", after that"
    return [f"{'MLflow':<12}not there; to add these results{first}: python -m flows.publish"]


def name_lines(root: Path) -> list[str]:
    """The name of the run that has the results under ``root``; none where MLflow does not have them."""
    found = published.kept(root)
    return [found.name] if found and found.name else []


def best_run(root: Path, judge: str) -> tuple[str, str] | None:
    """The run with the highest mean score; arguments and result as `listing.best`. None where MLflow does not tell."""
    try:
        return listing.best(root, judge)
    except Exception:
        return None  # what is compared with is a courtesy


def judged(root: Path, judge: str) -> list[judged_runs.Judged]:
    """The finished runs that a judge has scored; as `judged_runs.judged`, but none where MLflow does not tell."""
    try:
        return judged_runs.judged(root, judge)
    except Exception:
        return []  # what is known of other runs is a courtesy


def listed(root: Path, most: int | None) -> listing.Listing:
    """The runs of the project; arguments and result as `listing.listed`."""
    return listing.listed(root, most)


def tag(run_id: str | None, tags: Mapping[str, str]) -> None:
    """Tag a run.

    Args:
        run_id: result of `create_run`; with None this does nothing.
        tags: values by name.
    """
    if run_id is None:
        return
    run = run_id

    def tagged() -> None:
        client = mlflow_access.client(Path())
        for name, value in tags.items():
            client.set_tag(run, name, value)

    _safely(tagged, END_SECONDS)


def tag_stages(run_id: str | None, states: Mapping[str, str]) -> None:
    """Tag how stages ended in a run that is not published.

    Args:
        run_id: result of `create_run`; with None this does nothing.
        states: outcome by stage, such as ``{"split": "ran"}``. A .dvc file, which DVC runs as a stage, gets no tag.
    """
    if run_id is None:
        return
    run = run_id

    def tag() -> None:
        client = mlflow_access.client(Path())
        mlflow_experiment.restore(client, run)
        for name, state in states.items():
            if name in mirror.STAGES:
                client.set_tag(run, f"stage.{name}", state)

    _safely(tag, END_SECONDS)


def stopping(run_id: str | None, name: str) -> None:
    """Set the flow's run KILLED while a stage that was told to end may still be saving its work.

    The flow itself may be killed before the stage has ended: Prefect's worker waits for half a minute.

    Args:
        run_id: result of `create_run`, or the value of `RUN_ID_VARIABLE`; with None or NO_RUN this does nothing.
        name: name of the stage.
    """
    if run_id and run_id != NO_RUN:
        tag_stages(run_id, {name: "cancelled"})
        end(run_id, "KILLED", f"{name}: stopped")


def end(run_id: str | None, status: Literal["FINISHED", "FAILED", "KILLED"], why: str = "") -> None:
    """Set the state that the run ends in.

    Args:
        run_id: result of `create_run`; with None this does nothing.
        status: the state.
        why: what broke the run off, for its description.
    """
    if run_id is not None:
        _safely(lambda: store.terminate(mlflow_access.client(Path()), run_id, status, why), END_SECONDS)


def download(
    root: Path, name: str, files: Sequence[str], folder: Path, *, optional: Sequence[str] = ()
) -> list[Path] | None:
    """Fetch files of a run.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        name: id or name of the run.
        files: paths of the files in the run.
        folder: folder to put them into.
        optional: paths of further files, which the run may lack.

    Returns:
        Their paths, in the order of ``files``, and then of the further ones that are there; None if there is no such
        run.

    Raises:
        ConfigError: the run lacks one of them.
        ServiceUnavailable: MLflow cannot be asked.
    """
    return lookup.download(root, name, files, folder, optional)


def require_name(name: str) -> None:
    """Refuse an empty name of a run, as of a variable that is not set: as a path it would mean this folder.

    Raises:
        ConfigError: the name is empty, or white space alone.
    """
    if not name.strip():
        raise ConfigError("an empty name: expected a run, found nothing", "make runs shows the runs that there are")


def full_name(root: Path, name: str) -> str | None:
    """The whole name or id of a run that is given by it, or by its beginning of at least four characters.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        name: id or name of the run, or the beginning of one, such as `make runs` shows with "…" behind it.

    Returns:
        ``name`` itself where it is whole; None if there is no such run.

    Raises:
        ConfigError: several names or ids begin so; the message has them.
        ServiceUnavailable: MLflow cannot be asked.
    """
    return lookup.full_name(root, name)


def did_you_mean(root: Path, name: str, others: Sequence[str] = ()) -> str:
    """What a message on a name that no run has may end with: ``; did you mean calm-otter?``, or nothing.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        name: the name.
        others: names of what else may have been meant, besides this project's runs.

    Raises:
        ServiceUnavailable: MLflow cannot be asked.
    """
    return lookup.did_you_mean(root, name, others)


def id_of(root: Path, name: str) -> str | None:
    """The id of a run; of several with the name that of the newest. None if there is no such run.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        name: id or name of the run.

    Raises:
        ServiceUnavailable: MLflow cannot be asked.
    """
    return lookup.id_of(root, name)


def run(root: Path, name: str) -> listing.Run | None:
    """A run with its values, figures and tags; None if there is no such run.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        name: id or name of the run.

    Raises:
        ServiceUnavailable: MLflow cannot be asked.
    """
    return lookup.run(root, name)


def search(root: Path, query: str, *, most: int) -> list[tuple[str, str]]:
    """The ids and names of the finished runs of this project that a filter of MLflow selects, the newest first.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        query: the filter, such as ``params.`finetune.epochs` = '3'``; empty for all runs.
        most: the largest number of runs.

    Raises:
        ConfigError: MLflow does not take the filter.
        ServiceUnavailable: MLflow cannot be asked.
    """
    return lookup.search(root, query, most)


def children(root: Path, name: str) -> list[tuple[str, str]]:
    """The ids and names of the finished runs that belong to a run, such as the trainings of `make seeds`.

    Args:
        root: folder with mlflow.db, unless MLFLOW_TRACKING_URI is set.
        name: id or name of the run that they belong to.

    Raises:
        ServiceUnavailable: MLflow cannot be asked.
    """
    return lookup.children(root, name)


def finished(root: Path, *, most: int) -> list[tuple[str, str]]:
    """The ids and names of the runs of the profile under ``root`` that have finished, the newest first.

    Args:
        root: folder with params.yaml, and with mlflow.db unless MLFLOW_TRACKING_URI is set.
        most: the largest number of runs.

    Raises:
        ServiceUnavailable: MLflow cannot be asked.
    """
    return lookup.finished(root, most)


def _safely(action: Callable[[], T], seconds: float) -> T | None:
    try:
        mlflow_access.load()
        return mlflow_access.bounded(action, seconds)
    except Exception as error:
        mlflow_access.warn(error)
        return None
