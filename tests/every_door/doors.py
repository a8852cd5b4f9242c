"""The doors by which people run the pipeline, each with values that it is asked for."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.every_door.project import Project, name_of_flow
from tests.faults.clones import STAGES
from tests.flow_project import wait_until
from tests.root import ROOT

#: What Prefect's pages post from the form, by page and by what was filled in.
POSTED = json.loads((ROOT / "tests" / "fixtures" / "forms.json").read_text(encoding="utf-8"))["posted"]
#: The stages that a value of each section makes stale, in this pipeline.
STALE = {"judge": ("judge",), "finetune": ("finetune", "generate", "judge")}


@dataclass(frozen=True)
class Asked:
    """A run that is asked for, and what is to come of it.

    Args:
        change: values over those of the last commit, by dotted key.
        door: the door that `python -m flows.runs` is to show.
    """

    change: Mapping[str, Any]
    door: str

    @property
    def text(self) -> str:
        """The values in words."""
        return ", ".join(f"`{key}={value}`" for key, value in self.change.items()) or "nothing changed"

    @property
    def stages(self) -> list[str]:
        """The stages that are to run, in order: those whose inputs have changed."""
        stale = {stage for key in self.change for stage in STALE[key.partition(".")[0]]}
        return [stage for stage in STAGES if stage in stale]


@dataclass(frozen=True)
class Door:
    """A door, and the runs that go through it in one go.

    Args:
        name: name of the door in the table.
        asked: the runs.
        act: function that makes the runs, waits for their ends, and returns for each a regular expression of the
            short name of its MLflow run.
    """

    name: str
    asked: Sequence[Asked]
    act: Callable[[Project, Sequence[Asked]], list[str]]

    @property
    def values(self) -> str:
        """The values that are asked for, in words."""
        return "; ".join(one.text for one in self.asked)


def _here(command: Sequence[str], name_in: Callable[[Project, str], str]) -> Callable[..., list[str]]:
    """Edit params.yaml and run a command in the folder."""

    def act(project: Project, asked: Sequence[Asked]) -> list[str]:
        (one,) = asked
        project.edit(one.change)
        life = project.clone.start(*command).ends_with(0)
        return [name_in(project, life.said)]

    return act


def _sets(change: Mapping[str, Any], option: str) -> list[str]:
    return [word for key, value in change.items() for word in (option, f"{key}={json.dumps(value)}")]


def _with_overrides(project: Project, asked: Sequence[Asked]) -> list[str]:
    (one,) = asked
    life = project.clone.python("-m", "flows.run", *_sets(one.change, "--set")).ends_with(0)
    return [name_of_flow(life.said)]


def _dvc_name(_project: Project, _said: str = "") -> str:
    return r"\d{8}T\d{6}Z"


def _posted(body: str) -> Callable[..., list[str]]:
    """Send to the server what a page of it sends, with the values that are asked for, and let a worker run it."""

    def act(project: Project, asked: Sequence[Asked]) -> list[str]:
        project.serve()
        (one,) = asked
        sent = copy.deepcopy(POSTED[body])
        put(sent["parameters"], one.change)
        found = project.request("/deployments/name/instruct-pipeline/experiment")
        with project.worker():
            run = project.request(f"/deployments/{found['id']}/create_flow_run", sent)["id"]
            project.completed(run)
        return [re.escape(sent["name"])]

    return act


def put(parameters: dict[str, Any], change: Mapping[str, Any]) -> None:
    """Put other values where a page has put those that were filled in, in the form in which it has sent them."""
    left = dict(change)

    def visit(tree: dict[str, Any], prefix: str) -> None:
        for name, value in tree.items():
            key = f"{prefix}{name}"
            if isinstance(value, dict):
                visit(value, f"{key}." if prefix or name != "overrides" else "")
            elif key in left:
                new = left.pop(key)
                tree[name] = str(new).lower() if isinstance(new, bool) else new

    visit(parameters, "")
    assert not left, f"the page has sent no {left}"


def _scheduled(project: Project, asked: Sequence[Asked]) -> list[str]:
    """Move the schedule of the deployment nightly to a moment from here, switch it on, and wait for its run."""
    project.serve()
    (one,) = asked
    project.edit(one.change)
    found = project.request("/deployments/name/instruct-pipeline/nightly")
    (schedule,) = found["schedules"]
    path = f"/deployments/{found['id']}/schedules/{schedule['id']}"
    of = {"deployments": {"id": {"any_": [found["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"}

    def moved() -> bool:
        """Whether the server has made the run; it makes none for a moment that has passed before it looks."""
        due = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
        daily = {"interval": 86400, "anchor_date": due, "timezone": "UTC"}
        project.request(path, {"schedule": daily, "active": True}, method="PATCH")
        with contextlib.suppress(AssertionError):
            wait_until(lambda: due[:19] in {run["expected_start_time"][:19] for run in runs()}, 30)
            return True
        return False

    def runs() -> list[Any]:
        return list(project.request("/flow_runs/filter", of))

    with project.worker():
        wait_until(moved, 600)
        run = runs()[0]
        assert run["auto_scheduled"], run
        name = project.completed(run["id"])
        project.request(path, {"active": False}, method="PATCH")
    return [re.escape(name)]


def _experiment(*options: str) -> Callable[..., list[str]]:
    """Make an experiment with `dvc exp run`."""

    def act(project: Project, asked: Sequence[Asked]) -> list[str]:
        (one,) = asked
        before = project.experiments()
        project.clone.start(
            sys.executable, "-m", "dvc", "exp", "run", *options, *_sets(one.change, "-S"), door="exp"
        ).ends_with(0)
        return [re.escape(name) for name in project.experiments() - before]

    return act


def _queue(project: Project, asked: Sequence[Asked]) -> list[str]:
    """Queue experiments, and let DVC's queue run them all."""
    names = []
    for one in asked:
        said = project.dvc("exp", "run", "--queue", *_sets(one.change, "-S"))
        names += [re.escape(name) for name in re.findall(r"Queued experiment '([\w-]+)'", said)]
    project.clone.start(sys.executable, "-m", "dvc", "exp", "run", "--run-all", "--jobs", "1").ends_with(0)
    return names


def _two_at_once(project: Project, asked: Sequence[Asked]) -> list[str]:
    """`make run` in the folder, and a run with overrides beside it."""
    here, beside = asked
    project.edit(here.change)
    lives = [
        project.clone.start("make", "run"),
        project.clone.python("-m", "flows.run", *_sets(beside.change, "--set")),
    ]
    return [name_of_flow(life.ends_with(0).said) for life in lives]


def _two_experiments_at_once(project: Project, asked: Sequence[Asked]) -> list[str]:
    """Two runs of the deployment experiment, asked for in one moment."""
    project.serve()
    found = project.request("/deployments/name/instruct-pipeline/experiment")
    with project.worker():
        path = f"/deployments/{found['id']}/create_flow_run"
        runs = [project.request(path, {"parameters": {"overrides": dict(one.change)}})["id"] for one in asked]
        return [re.escape(project.completed(run)) for run in runs]


_REPRO = (sys.executable, "-m", "dvc", "repro")
_MAKE = _here(("make", "run"), lambda _, said: name_of_flow(said))

#: Every door twice: with a value of the last stage, and with one that trains again.
DOORS: Sequence[Door] = (
    Door("make run", [Asked({"judge.seed": 1}, "flow")], _MAKE),
    Door("make run", [Asked({"finetune.seed": 1}, "flow")], _MAKE),
    Door("flow with overrides", [Asked({"judge.seed": 2}, "flow")], _with_overrides),
    Door("flow with overrides", [Asked({"finetune.seed": 2, "judge.seed": 3}, "flow")], _with_overrides),
    Door("form, V1", [Asked({}, "flow")], _posted("V1 untouched")),
    Door("form, V1", [Asked({"finetune.epochs": 40, "finetune.drop_last": False}, "flow")], _posted("V1 filled")),
    Door("form, V2", [Asked({}, "flow")], _posted("V2 untouched")),
    Door("form, V2", [Asked({"finetune.epochs": 48, "finetune.drop_last": False}, "flow")], _posted("V2 filled")),
    Door("schedule", [Asked({"judge.seed": 4}, "schedule")], _scheduled),
    Door("dvc repro", [Asked({"judge.seed": 5}, "dvc repro")], _here(_REPRO, _dvc_name)),
    Door("dvc repro", [Asked({"finetune.seed": 5}, "dvc repro")], _here(_REPRO, _dvc_name)),
    Door("dvc exp run", [Asked({"judge.seed": 6}, "dvc exp")], _experiment()),
    Door("dvc exp run", [Asked({"finetune.seed": 6}, "dvc exp")], _experiment()),
    Door("dvc exp run --temp", [Asked({"judge.seed": 7}, "dvc exp")], _experiment("--temp")),
    Door("dvc exp run --temp", [Asked({"finetune.seed": 7}, "dvc exp")], _experiment("--temp")),
    Door("dvc exp run --queue", [Asked({"judge.seed": 8}, "dvc exp"), Asked({"finetune.seed": 8}, "dvc exp")], _queue),
    Door("two at once", [Asked({"judge.seed": 9}, "flow"), Asked({"finetune.seed": 9}, "flow")], _two_at_once),
    Door(
        "two of the form at once",
        [Asked({"finetune.seed": 10}, "flow"), Asked({"finetune.seed": 11}, "flow")],
        _two_experiments_at_once,
    ),
)
