"""Register the flow with a Prefect server, ready for a worker: `python -m flows.deploy`.

The server is that of PREFECT_API_URL, or that of `make ui` in this folder. The command creates the work pool and its
queues, deploys prefect.yaml, puts the last commit's values into the form, registers the automations, and prints the
next commands. A second time it changes only what has changed here: schedules stay as they are on the server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.workers.process import ProcessWorker
from ruamel.yaml import YAML

from flows import automations, folder, form, prefect_server, servers_file
from flows.command_line import LEAST, MOST
from flows.pipeline import NAME, Preflight, Profile
from flows.seed_runs import USUAL
from flows.tool_settings import search_path
from stages.common import paths
from stages.common.errors import ConfigError, PipelineError, ServiceUnavailable
from stages.common.secrecy import hidden
from stages.params import whole
from stages.running import git, program
from stages.running.arguments import Parser
from stages.running.devices import visible_devices

_POOL = "local"
_NIGHTLY, _EXPERIMENT, _SEEDS = "nightly", "experiment", "seeds"
_FILE = Path("prefect.yaml")


def main() -> None:
    """Register everything, and print the next commands.

    Raises:
        ConfigError: no server is known, or params.yaml is wrong.
        ServiceUnavailable: the server does not answer, or Prefect fails.
        OSError: a file cannot be read or written.
    """
    Parser(prog="python -m flows.deploy", description=__doc__).parse_args()
    _say("looking for the Prefect server")
    folder.check(Path.cwd())
    os.environ.update(servers_file.environment())
    if not (address := os.environ.get("PREFECT_API_URL")):
        raise ConfigError(
            "no Prefect server to deploy to: make ui does not run in this folder, and PREFECT_API_URL is not set",
            "make ui, and in another shell make deploy",
        )
    prefect_server.check()
    root = Path.cwd()
    whole.load(root / paths.PARAMS)
    modes = get_args(Preflight)
    limits = {_NIGHTLY: 1, _EXPERIMENT: max(1, len(visible_devices()))}
    try:
        # Prefect has read its settings when it was imported.
        with temporary_settings({PREFECT_API_URL: address}), get_client(sync_client=True) as client:
            _say("making the work pool and its queues")
            _make_queues(client, limits)
            _say("deploying prefect.yaml (up to half a minute)")
            with _with_schedules_as_they_are(client) as file:
                _prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(file))
            _say(f"putting the values of {paths.PARAMS} into the forms")
            _set_schema(client, _NIGHTLY, form.nightly(modes))
            _set_schema(client, _EXPERIMENT, form.experiment(root, get_args(Profile), modes))
            trainings = form.seeds(root, get_args(Profile), modes, least=LEAST, most=MOST, usual=USUAL)
            _set_schema(client, _SEEDS, trainings)
            _say("registering the automations")
            registered = automations.register(client, NAME)
            _tell(client, root, limits, registered)
    except PipelineError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, TimeoutError):
            raise  # a full disk, a reader that went away: no fault of the server
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ServiceUnavailable(f"Prefect's server does not take the deployment: {reason[:300]}") from error


def _say(step: str) -> None:
    """Say what is being done: a step takes seconds."""
    print(f"{step} ...", flush=True)


def _make_queues(client: SyncPrefectClient, limits: dict[str, int]) -> None:
    """The work pool, and a queue in it for each deployment, with the number of runs that may work at a time."""
    try:
        client.read_work_pool(_POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=_POOL, type=ProcessWorker.type, base_job_template=template))
    found = client.request(
        "POST", "/work_pools/{work_pool_name}/queues/filter", path_params={"work_pool_name": _POOL}, json={}
    )
    there = [queue["name"] for queue in found.json()]
    for name, limit in limits.items():
        if name in there:
            path, body = {"work_pool_name": _POOL, "name": name}, {"concurrency_limit": limit}
            client.request("PATCH", "/work_pools/{work_pool_name}/queues/{name}", path_params=path, json=body)
        else:
            client.create_work_queue(name=name, work_pool_name=_POOL, concurrency_limit=limit)


@contextmanager
def _with_schedules_as_they_are(client: SyncPrefectClient) -> Iterator[Path]:
    """A copy of prefect.yaml in which each schedule is on or off as it is on the server, for `prefect deploy`.

    Prefect sends what the file says at every deployment. So a schedule that somebody has switched on would be switched
    off, and the runs that it has planned would go.
    """
    yaml = YAML()
    tree = yaml.load(_FILE)
    for deployment in tree["deployments"]:
        if (there := _read(client, deployment["name"])) is None:
            continue
        active = {schedule.slug: schedule.active for schedule in there.schedules}
        for schedule in deployment.get("schedules", []):
            schedule["active"] = active.get(schedule["slug"], schedule["active"])
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, _FILE.name)
        yaml.dump(tree, copy)
        yield copy


def _read(client: SyncPrefectClient, name: str) -> Any:
    """The deployment on the server; None where there is none yet."""
    try:
        return client.read_deployment_by_name(f"{NAME}/{name}")
    except ObjectNotFound:
        return None


def _set_schema(client: SyncPrefectClient, name: str, schema: form.Schema) -> None:
    """Put the form's fields into a deployment, and let it plan the runs of its schedules again.

    With each change of a deployment the server removes the planned runs, and plans others within a minute only.
    """
    deployment = _read(client, name)
    path = {"id": str(deployment.id)}
    # Left out, the limit of an earlier deployment would stay.
    changed = {"parameter_openapi_schema": schema, "enforce_parameter_schema": True, "concurrency_limit": None}
    client.request("PATCH", "/deployments/{id}", path_params=path, json=changed)
    client.request("POST", "/deployments/{id}/schedule", path_params=path, json={})


def _tell(client: SyncPrefectClient, root: Path, limits: dict[str, int], registered: list[str]) -> None:
    run = f"{os.path.relpath(sys.executable)} -m flows prefect"
    schedule = _read(client, _NIGHTLY).schedules[0]
    page = prefect_server.page_of(os.environ["PREFECT_API_URL"], _read(client, _EXPERIMENT).id)
    other, word = ("pause", "off") if schedule.active else ("resume", "on")
    print(f"""\ndeployed to {hidden(os.environ["PREFECT_API_URL"])}

{NAME}/{_NIGHTLY}      the folder as it is, one run at a time; its schedule is {"on" if schedule.active else "off"}
{NAME}/{_EXPERIMENT}   other values, in a copy of the last commit; {limits[_EXPERIMENT]} at a time
{NAME}/{_SEEDS}        one recipe, trained several times; in the queue of {_EXPERIMENT}

the form, for a run with other values:
    {page}
the form, for several trainings of one recipe:
    {prefect_server.page_of(os.environ["PREFECT_API_URL"], _read(client, _SEEDS).id)}
a worker, which runs what is asked for:
    {run} worker start --pool {_POOL}
a run of the folder now:
    {run} deployment run {NAME}/{_NIGHTLY}
switch the schedule {word}:
    {run} deployment schedule {other} {NAME}/{_NIGHTLY} {schedule.id}

automations:""")
    for name in registered:
        print(f"    {name.partition(': ')[2]}")
    if not os.environ.get(automations.WEBHOOK):
        print(f"    nobody is told of a failed run: for that, set {automations.WEBHOOK} and deploy again")
    if git.ask(root, "status", "--porcelain", "--", str(paths.PARAMS)):
        print(
            f"\n{paths.PARAMS} has changes that are not committed: the form shows, and runs, the last commit's values"
        )


def _prefect(*arguments: str) -> None:
    """Run a command of Prefect."""
    done = subprocess.run(
        ["prefect", *arguments],
        env={**os.environ, "PATH": search_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServiceUnavailable(f"prefect {' '.join(arguments)}: {(done.stdout + done.stderr).strip()}")


if __name__ == "__main__":
    program.run("deploy", main)
