"""The runs of this project in MLflow, newest first: who made each, of which values, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from stages.common import paths, secrecy
from stages.common.errors import DataError
from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.metrics.generate import GenerateMetrics
from stages.common.metrics.judge import JudgeMetrics
from stages.common.records import Metrics, read_metrics
from stages.common.results.finetune import FINETUNE_METRICS
from stages.common.results.generate import GENERATE_METRICS
from stages.common.results.judge import JUDGE_METRICS
from stages.params import whole
from stages.running.lock import Recorded
from stages.running.tracking import (
    champions,
    database,
    doors,
    execution,
    metric_names,
    mirror,
    mlflow_access,
    mlflow_experiment,
    names,
    published,
    store,
)

#: Seconds that a server may take to answer.
_SECONDS = 20.0
#: The same, where its answer is a courtesy.
BEST_SECONDS = 10.0
_PAGE = 500
#: The files of a folder's results that hold figures, in the order of `metric_names.of_run`.
FIGURES: dict[Path, type[Metrics]] = {
    FINETUNE_METRICS: FinetuneMetrics,
    GENERATE_METRICS: GenerateMetrics,
    JUDGE_METRICS: JudgeMetrics,
}


@dataclass(frozen=True)
class Run:
    """One execution, as MLflow has it.

    Args:
        name: its name.
        run_id: its id.
        started: when it began, in milliseconds since 1970.
        door: how it was started, in the words of `doors`.
        state: running, finished, failed or killed.
        values: its values of params.yaml, as a tree.
        metrics: its figures by name.
        tags: its tags.
        champion: the version of a registered model by which it is the champion of its profile; else empty.
    """

    name: str
    run_id: str
    started: int
    door: str
    state: str
    values: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    champion: str = ""

    @property
    def short_name(self) -> str:
        """The part of its name that is unique, which is enough wherever a run is named."""
        return names.short_of(self.name)

    @property
    def commit(self) -> str:
        """The git commit; empty where it is not known."""
        return self.tags.get("git.commit", "")

    @property
    def ended(self) -> str:
        """Why it was broken off, in a line; empty for any other run, or where nobody knows."""
        return self.tags.get(store.ENDED, "")

    @property
    def judge(self) -> str:
        """The judge's model, or the judge that is no model; empty without scores."""
        return self.tags.get("judge.model") or self.tags.get("judge.backend", "")

    @property
    def judge_mark(self) -> str:
        """What the judge's self-test found against it; empty for a judge that can be believed."""
        return self.tags.get("judge.self_test", "")


@dataclass(frozen=True)
class Listing:
    """The runs, and where they are from.

    Args:
        source: address of the store, without a password; empty where there is none.
        runs: runs, the newest first.
        notes: what was in the way, a line each.
        more: whether there are more runs than were asked for.
    """

    source: str
    runs: list[Run]
    notes: list[str] = field(default_factory=list)
    more: bool = False


def listed(root: Path, most: int | None) -> Listing:
    """The runs of the store that is used in ``root``; where that does not answer, those of mlflow.db there.

    Args:
        root: folder of the project.
        most: number of runs at most; None gives all.
    """
    own, notes = f"sqlite:///{root.resolve() / 'mlflow.db'}", []
    places = [mlflow_access.uri(root), own]
    for number, where in enumerate(dict.fromkeys(places)):
        path = database.path_of(where)
        if path is not None and not path.exists():
            if not number:
                notes.append(f"MLflow: {path}: no such file: no run of this project is on record there")
            continue
        try:
            mlflow_access.load()
            found = mlflow_access.bounded(lambda where=where: _runs(where, most), _SECONDS)  # type: ignore[misc]
        except Exception as error:
            notes.append(f"MLflow at {secrecy.hidden(where)} does not answer: {mlflow_access.why(error)}")
            continue
        if number:
            notes.append(f"these are the runs of {path}")
        runs = _marked(found if most is None else found[:most], where, notes)
        return Listing(secrecy.hidden(where), runs, notes, more=len(found) > len(runs))
    files = _of_files(root)
    return Listing("", files, [*notes, *["this is of the files in this folder alone"] * bool(files)])


def _marked(runs: list[Run], where: str, notes: list[str]) -> list[Run]:
    """The runs with their champions; where the registry does not say, a note tells it, and none is marked."""
    try:
        found = mlflow_access.bounded(lambda: champions.by_run(mlflow_access.client_of(where)), _SECONDS)
    except Exception as error:
        notes.append(f"the champion is not marked: MLflow's registry does not answer: {mlflow_access.why(error)}")
        return runs
    return [replace(run, champion=found.get(run.run_id, "")) for run in runs]


def best_run(root: Path, judge: str) -> tuple[str, str] | None:
    """As `best`; None where MLflow does not tell."""
    try:
        return best(root, judge)
    except Exception:
        return None  # what is compared with is a courtesy


def best(root: Path, judge: str) -> tuple[str, str] | None:
    """The finished run with the highest mean score by a judge, of the profile in ``root`` and with other results.

    Args:
        root: folder with the results that are compared with it.
        judge: fingerprint of the judge.

    Returns:
        Its id and its name; None without one.
    """
    experiment = f"{mlflow_experiment.PROJECT}/{whole.load(root / paths.PARAMS).profile}"
    ours = published.digest(root)
    if (path := database.path_of(mlflow_access.uri(root))) is not None:
        return database.best(path, experiment, judge, metric_names.SCORES, ours)
    if published.kept(root) is None:
        return None  # the server may be away, and nobody waits for a courtesy
    mlflow_access.load()
    return mlflow_access.bounded(
        lambda: _best_of_server(mlflow_access.uri(root), experiment, judge, ours), BEST_SECONDS
    )


def _best_of_server(where: str, experiment: str, judge: str, ours: str) -> tuple[str, str] | None:
    mlflow = mlflow_access.client_of(where)
    named = mlflow.get_experiment_by_name(experiment)
    if named is None or "'" in judge:
        return None
    query = f"tags.`judge.fingerprint` = '{judge}' and attributes.status = 'FINISHED'"
    found: list[tuple[float, str, str]] = []
    for name in metric_names.SCORES:
        for run in mlflow.search_runs(
            [named.experiment_id], query, max_results=50, order_by=[f"metrics.`{name}` DESC"]
        ):
            if run.data.tags.get(published.TAG) not in (None, ours) and name in run.data.metrics:
                found.append((run.data.metrics[name], str(run.info.run_id), str(run.info.run_name)))
                break
    return max(found)[1:] if found else None


def figures_in(root: Path) -> dict[str, float]:
    """The figures of the results in a folder by their names in MLflow; none where no stage has left any."""
    return _figures_of(*_metrics_in(root))


def _of_files(root: Path) -> list[Run]:
    """The results in a folder as a run; none where no stage has left figures."""
    found = _metrics_in(root)
    if not any(found):
        return []
    newest = max((root / path).stat().st_mtime for path in FIGURES if (root / path).exists())
    judged = found[-1]
    tags = {} if judged is None else mirror.judge_tags(cast("JudgeMetrics", judged))
    values = Recorded.of(root).values
    return [Run("(this folder)", "", int(newest * 1000), "", "", values, _figures_of(*found), tags)]


def _metrics_in(root: Path) -> list[Metrics | None]:
    """What the files of `FIGURES` hold, each None where it is missing or of an earlier version."""
    found: list[Metrics | None] = []
    for path, kind in FIGURES.items():
        try:
            found.append(read_metrics(root / path, kind, made_by="dvc repro"))
        except DataError:
            found.append(None)
    return found


def _figures_of(trained: Metrics | None, answered: Metrics | None, judged: Metrics | None) -> dict[str, float]:
    return metric_names.of_run(
        cast("FinetuneMetrics | None", trained),
        cast("GenerateMetrics | None", answered),
        cast("JudgeMetrics | None", judged),
    )


def _runs(where: str, most: int | None) -> list[Run]:
    """One more than ``most``, if there are so many."""
    mlflow = mlflow_access.client_of(where)
    ours = mlflow_experiment.ids_of_all(mlflow)
    found: list[Run] = []
    token: str | None = None
    while ours and (most is None or len(found) <= most):
        page = mlflow.search_runs(
            ours,
            order_by=["attributes.start_time DESC"],
            max_results=_PAGE if most is None else min(_PAGE, most + 1),
            page_token=token,
        )
        found += map(run_of, page)
        if not (token := page.token):
            break
    return found


def run_of(found: Any) -> Run:
    """A run of MLflow's client as a row of the list."""
    tags = dict(found.data.tags)
    return Run(
        name=str(found.info.run_name or found.info.run_id),
        run_id=str(found.info.run_id),
        started=int(found.info.start_time or 0),
        door=doors.of(tags),
        state=_state(str(found.info.status), tags.get("pipeline.owner", "")),
        values=tree_of(found.data.params),
        metrics=metric_names.of_any_version(found.data.metrics),
        tags=tags,
    )


def _state(status: str, owner: str) -> str:
    """The state in words; a run whose owner was killed on this machine is RUNNING in MLflow until the next one."""
    if status == "RUNNING" and owner.count(":") >= 3 and execution.is_gone(owner):
        return "killed"
    return status.lower()


def tree_of(params: Mapping[str, str]) -> dict[str, Any]:
    """MLflow's flat parameters as the tree of params.yaml that they were made of."""
    tree: dict[str, Any] = {}
    for key, text in params.items():
        *parents, last = key.split(".")
        inner = tree
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):  # not of this project
                break
        else:
            inner[last] = _value(text)
    return tree


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
