"""Both deployments on a Prefect server, with a worker: what is asked for runs, in order, and nothing hangs."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import prefect_server, profiles
from stages.params import reading
from tests import flow_project
from tests.flow_project import Project, gone, wait_until
from tests.flows.test_form import CHANGED, POSTED
from tests.prefect_api import request
from tests.quiet_server import QuietServer

pytestmark = pytest.mark.slow

_WORKER = ("-m", "flows", "prefect", "worker", "start", "--pool", "local")

#: Put before the fake stages: they keep the params.yaml that they have seen, and hold a made-up GPU.
_STAGE = """
import os, shutil, sys
from pathlib import Path

kept = Path(os.environ["FAKE_STAGES"]) / "params"
kept.mkdir(exist_ok=True)
shutil.copy("params.yaml", kept / f"{os.environ['PREFECT__FLOW_RUN_ID']}-{sys.argv[1]}.yaml")
from stages.running import gpu

lease = gpu.lease()
cards = lease.__enter__()
(kept / f"{os.environ['PREFECT__FLOW_RUN_ID']}-{sys.argv[1]}.cards").write_text(",".join(cards))
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = flow_project.create(tmp_path_factory.mktemp("template") / "project")
    code = project.root / "stage.py"
    code.write_text(_STAGE + code.read_text())
    project.git("commit", "-qam", "a stage that keeps its values")
    return project


@pytest.fixture
def project(template: Project, tmp_path: Path, server: str) -> Project:
    """A project of two made-up GPUs, which the server knows no other project beside."""
    made = flow_project.copy(template, tmp_path)
    made.env |= {
        "PREFECT_API_URL": server,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PIPELINE_GPUS": "GPU-a,GPU-b",
        "PIPELINE_GPU_LOCKS": str(tmp_path / "locks"),
    }
    return made


def deploy(project: Project, **variables: str) -> str:
    done = project.python("-m", "flows.deploy", **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def deployment(server: str, name: str) -> Any:
    return request(server, f"/deployments/name/instruct-pipeline/{name}")


def start(server: str, of: str, /, **body: Any) -> str:
    """Ask for a run of a deployment, and return its id."""
    return str(request(server, f"/deployments/{deployment(server, of)['id']}/create_flow_run", body)["id"])


def states(server: str, *runs: str) -> list[str]:
    return [request(server, f"/flow_runs/{run}")["state_type"] for run in runs]


def planned(server: str) -> list[str]:
    """The times of the runs that are planned, by a schedule."""
    found = request(server, "/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
    return sorted(run["expected_start_time"] for run in found if run["auto_scheduled"])


def messages(server: str, run: str) -> list[str]:
    found = request(server, "/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"})
    return [line["message"] for line in found]


def page_of(server: str, run: str) -> dict[str, dict[str, Any]]:
    """The artifacts of a run by key, each of which it has once."""
    found = request(server, "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
    assert len({one["key"] for one in found}) == len(found), found
    return {one["key"]: one for one in found}


def the_flow_of(run: str) -> psutil.Process:
    """The process of a run: the one that starts the stages."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("PREFECT__FLOW_RUN_ID") == run and "prefect" in " ".join(process.cmdline()):
                return process
    raise AssertionError(f"run {run} has no process")


def has_ended(run: str) -> bool:
    """Whether the process of a run is gone, which sends its last log lines when it ends."""
    try:
        return gone(the_flow_of(run))
    except AssertionError:
        return True


def test_deploying_again_changes_what_has_changed_here_and_leaves_the_rest(project: Project, server: str) -> None:
    first = deploy(project)
    nightly, experiment = deployment(server, "nightly"), deployment(server, "experiment")
    (schedule,) = nightly["schedules"]
    assert (schedule["active"], planned(server)) == (False, [])
    assert list(nightly["parameter_openapi_schema"]["properties"]) == ["force", "preflight"]
    assert list(experiment["parameter_openapi_schema"]["properties"]) == ["profile", "overrides", "force", "preflight"]
    seeds = deployment(server, "seeds")
    assert list(seeds["parameter_openapi_schema"]["properties"])[:3] == ["trainings", "profile", "overrides"]
    assert seeds["work_queue_name"] == "experiment"
    assert f"/v2/deployments/deployment/{seeds['id']}/run\n" in first
    assert f"/v2/deployments/deployment/{experiment['id']}/run\n" in first
    assert prefect_server.form_page(server, "instruct-pipeline/experiment") in first
    queues = request(server, "/work_pools/local/queues/filter", {})
    limits = {queue["name"]: queue["concurrency_limit"] for queue in queues}
    assert limits == {"default": None, "nightly": 1, "experiment": 2}
    automations = request(server, "/automations/filter", {})
    assert len(automations) == 2

    (resume,) = [line.split()[-5:] for line in first.splitlines() if " schedule resume " in line]
    assert project.python("-m", "flows", "prefect", *resume).returncode == 0
    wait_until(lambda: planned(server))
    before = planned(server)
    request(server, f"/automations/{automations[0]['id']}", {"enabled": False}, method="PATCH")
    # As an earlier version of prefect.yaml set it.
    request(server, f"/deployments/{nightly['id']}", {"concurrency_limit": 1}, method="PATCH")
    wait_until(lambda: planned(server))
    text = (project.root / "params.yaml").read_text()
    (project.root / "params.yaml").write_text(text.replace("  epochs: 3", "  epochs: 9"))
    project.git("commit", "-qam", "more epochs")

    second = deploy(project, PIPELINE_GPUS="GPU-a")
    assert deployment(server, "nightly")["global_concurrency_limit"] is None
    (again,) = deployment(server, "nightly")["schedules"]
    assert (again["id"], again["active"], planned(server)) == (schedule["id"], True, before)
    assert "its schedule is on" in second
    assert " schedule pause " in second
    fields = deployment(server, "experiment")["parameter_openapi_schema"]["properties"]["overrides"]["properties"]
    assert fields["finetune.epochs"]["description"].startswith("Now 9. ")
    known = {one["id"]: one["enabled"] for one in request(server, "/automations/filter", {})}
    assert known == {one["id"]: one["id"] != automations[0]["id"] for one in automations}
    queues = request(server, "/work_pools/local/queues/filter", {})
    assert {queue["name"]: queue["concurrency_limit"] for queue in queues} == limits | {"experiment": 1}

    request(server, f"/automations/{automations[0]['id']}", {"enabled": True}, method="PATCH")
    schedules = f"/deployments/{nightly['id']}/schedules/{schedule['id']}"
    request(server, schedules, {"active": False}, method="PATCH")


def test_what_the_pages_post_is_what_runs(project: Project, server: str) -> None:
    # A stage that ran before would come from DVC's cache, and show nothing.
    pipeline = project.root / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("  zeta:\n", "  zeta:\n    always_changed: true\n"))
    project.git("commit", "-qam", "a stage that always runs")
    deploy(project)
    own = reading.flatten(profiles.overlaid(project.root, "current", {}))
    with project.start(*_WORKER):
        posted = {body: start(server, "experiment", **POSTED[body]) for body in POSTED if "many" not in body}
        wait_until(lambda: set(states(server, *posted.values())) == {"COMPLETED"})
    assert len(posted) == 4
    for body, run in posted.items():
        used = reading.read_values(project.todo / "params" / f"{run}-zeta.yaml")
        assert reading.flatten(used) == own | CHANGED[body.split()[1]], body
    with pytest.raises(urllib.error.HTTPError, match="409"):
        start(server, "experiment", parameters={"overrides": {"finetune.epochs": 0}})
    with pytest.raises(urllib.error.HTTPError, match="409"):
        start(server, "nightly", parameters={"overrides": {"finetune.epochs": 3}})


def test_a_run_that_fails_tells_it_once_in_its_log_and_on_its_page(project: Project, server: str) -> None:
    deploy(project)
    project.tell("alpha", "65")
    apart = {"finetune.accumulate": 9, "finetune.batch_size": 8}
    rule = "finetune: accumulate (9) cannot be more than batch_size (8)"
    tiny = "generate.temperature: expected 0, which is greedy decoding, or 1e-06 or more; found 1e-09"
    with project.start(*_WORKER) as worker:
        together = start(server, "experiment", parameters={"overrides": apart})
        recipe = start(server, "seeds", parameters={"trainings": 2, "overrides": apart})
        # The schema of the form does not say that there is nothing between 0 and 1e-6.
        alone = start(server, "experiment", parameters={"overrides": {"generate.temperature": 1e-9, "split.seed": 5}})
        wait_until(lambda: states(server, together, recipe, alone) == ["FAILED"] * 3)
        broken = start(server, "experiment", parameters={"overrides": {"judge.seed": 9}})
        wait_until(lambda: states(server, broken) == ["FAILED"])
        wait_until(lambda: all(map(has_ended, (together, recipe, alone, broken))))
        os.killpg(worker.pid, signal.SIGKILL)
        output, _ = worker.communicate(timeout=60)
    told = {together: rule, recipe: rule, alone: tiny, broken: "alpha: row 3 is wrong"}
    for run, message in told.items():
        lines = messages(server, run)
        assert "\n".join(lines).count(message) == 1, lines
        assert [line for line in lines if "Traceback" in line or "exited with" in line] == []
        assert message in request(server, f"/flow_runs/{run}")["state"]["message"]
        assert message in page_of(server, run)["pipeline"]["data"]
    for run in (together, recipe, alone):
        assert page_of(server, run)["pipeline"]["data"].startswith("No stage has begun.\n")
    assert "| alpha | failed | |" in page_of(server, broken)["pipeline"]["data"]
    assert "Traceback" not in output, output
    tags = {run: request(server, f"/flow_runs/{run}")["tags"] for run in told}
    assert tags[together] == ["finetune.batch_size=8", "accumulate=9"]
    assert tags[recipe] == ["trainings=2", "finetune.batch_size=8", "accumulate=9"]
    assert (tags[alone], tags[broken][0]) == ([], "judge.seed=9")


def test_several_trainings_of_one_recipe_are_asked_for_by_the_form(project: Project, server: str) -> None:
    pipeline = project.root / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("params: [judge.seed]", "params: [finetune.seed]"))
    project.git("commit", "-qam", "a stage that depends on the seed of the training")
    deploy(project)
    with project.start(*_WORKER):
        run = start(server, "seeds", parameters={"trainings": 3, "overrides": {"finetune.seed": 7}})
        wait_until(lambda: states(server, run) == ["COMPLETED"])
    assert (project.calls("zeta"), project.calls("alpha")) == (1, 3)
    assert request(server, f"/flow_runs/{run}")["state"]["message"].startswith("3 trainings: 4 stages ran")
    used = reading.flatten(reading.read_values(project.todo / "params" / f"{run}-alpha.yaml"))
    assert used["finetune.seed"] == 9
    for wrong in (1, 51):
        with pytest.raises(urllib.error.HTTPError, match="409"):
            start(server, "seeds", parameters={"trainings": wrong})


def test_as_many_runs_as_gpus_in_the_order_asked_and_a_killed_holder_frees(project: Project, server: str) -> None:
    deploy(project)
    project.tell("zeta", *["wait"] * 4)
    seeds = [{"parameters": {"overrides": {"split": {"seed": seed}}}} for seed in (1, 2, 3, 4)]
    with project.start(*_WORKER):
        runs = [start(server, "experiment", **seed) for seed in seeds]
        cards = [project.todo / "params" / f"{run}-zeta.cards" for run in runs]
        wait_until(lambda: cards[0].exists() and cards[1].exists())
        assert {card.read_text() for card in cards[:2]} == {"GPU-a", "GPU-b"}
        assert states(server, *runs) == ["RUNNING", "RUNNING", "SCHEDULED", "SCHEDULED"]
        assert messages(server, runs[2]) == messages(server, runs[3]) == []

        the_flow_of(runs[0]).kill()
        wait_until(lambda: cards[2].exists())
        assert cards[2].read_text() == cards[0].read_text()
        assert states(server, *runs) == ["CRASHED", "RUNNING", "RUNNING", "SCHEDULED"]
        project.go_on("zeta")
        wait_until(lambda: states(server, *runs) == ["CRASHED", *["COMPLETED"] * 3])
    assert project.git("status", "--porcelain", "--untracked-files=no") == ""


class _Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    told: list[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.told.append(body["text"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[str]]]:
    """An address that takes messages, and the messages that have come."""
    told: list[str] = []
    with QuietServer(("127.0.0.1", 0), type("R", (_Receiver,), {"told": told})) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/hook", told
        served.shutdown()


#: The automations, with as little patience as the reports of a flow allow, which come every 30 seconds at most.
_QUICK = """
from prefect.client.orchestration import get_client
from flows import automations
with get_client(sync_client=True) as client:
    automations.register(client, "instruct-pipeline", silent=50, not_begun=180)
"""


def test_a_run_whose_worker_was_killed_is_crashed_and_told_of_and_the_next_one_starts(
    project: Project, server: str, receiver: tuple[str, list[str]]
) -> None:
    address, told = receiver
    deploy(project, PIPELINE_WEBHOOK=address)
    assert project.python("-c", _QUICK, PIPELINE_WEBHOOK=address).returncode == 0
    # As a worker leaves it that is killed after it has taken a run.
    taken = start(server, "experiment", name="taken")
    request(server, f"/flow_runs/{taken}/set_state", {"state": {"type": "PENDING"}})
    project.tell("zeta", "wait")
    with project.start(*_WORKER):
        # What the automation does to a run whose machine has slept: it goes on, and ends as it ends.
        asleep = start(server, "experiment", name="asleep")
        project.hanging("zeta")
        request(server, f"/flow_runs/{asleep}/set_state", {"state": {"type": "CRASHED", "name": "Crashed"}})
        project.go_on("zeta")
        wait_until(lambda: states(server, asleep) == ["COMPLETED"])
    (project.todo / "zeta.pid").unlink()
    project.tell("zeta", "hang")
    with project.start(*_WORKER) as worker:
        zombie = start(server, "nightly", name="the zombie", parameters={"force": "yes"})
        stage = project.hanging("zeta")
        flow = the_flow_of(zombie)
        worker.send_signal(signal.SIGKILL)
        flow.kill()
        wait_until(lambda: gone(stage))
    later = start(server, "nightly", name="later")
    with project.start(*_WORKER):
        wait_until(lambda: states(server, zombie, taken) == ["CRASHED", "CRASHED"])
        wait_until(lambda: states(server, later) == ["COMPLETED"])
    assert request(server, f"/flow_runs/{zombie}")["state"]["message"].startswith("no sign of life for 50 s: ")
    assert request(server, f"/flow_runs/{taken}")["state"]["message"].startswith("not started in 180 s: ")
    crashed = {f"instruct-pipeline: run {name} is Crashed" for name in ("asleep", "taken", "the zombie")}
    wait_until(lambda: crashed <= {line.splitlines()[0] for line in told})
    # Neither of the runs that have ended was touched, long after the automations have looked.
    assert states(server, asleep, later) == ["COMPLETED", "COMPLETED"]
    answer = request(server, f"/flow_runs/{later}/set_state", {"state": {"type": "CRASHED", "name": "Crashed"}})
    assert (answer["status"], states(server, later)) == ("ABORT", ["COMPLETED"])


def test_a_run_that_finds_nothing_to_do_makes_no_second_run_in_mlflow(project: Project, server: str) -> None:
    del project.env["MLFLOW_TRACKING_URI"]
    deploy(project)
    with project.start(*_WORKER):
        for name in ("nightly", "experiment"):
            runs = []
            for _ in range(2):
                runs.append(start(server, name))
                wait_until(lambda runs=runs: states(server, *runs) == ["COMPLETED"] * len(runs))
            second = request(server, f"/flow_runs/{runs[1]}")["state"]["message"]
            assert second.startswith("everything is up to date" if name == "nightly" else "0 of 2 stages ran")
    # The run of MLflow that stays is the first one's: the second one's page leads there.
    page = page_of(server, runs[1])
    assert "report" not in page
    assert page["mlflow-run"]["description"].startswith("Nothing was to be done: ")
    code = (
        "from mlflow import MlflowClient; from mlflow.entities import ViewType; c = MlflowClient('sqlite:///mlflow.db')\n"
        "e = [x.experiment_id for x in c.search_experiments()]\n"
        "print(*(r.info.run_id for r in c.search_runs(e)), [bool(r.data.tags.get('nothing-to-do')) for r in"
        " c.search_runs(e, run_view_type=ViewType.DELETED_ONLY)])"
    )
    stays, aside = project.python("-c", code).stdout.split(maxsplit=1)
    assert aside == "[True, True]\n"
    assert f"/runs/{stays}?" in page["mlflow-run"]["data"]
