"""A run beside `make ui`: what Prefect's page and log and the terminal show of it, and what MLflow has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import run_page
from stages.common.metrics.gate import Finding, GateReport
from stages.common.records import write_metrics
from stages.common.results.split import GATE_REPORT
from stages.running.tracking import champions
from stages.running.tracking.store import Page
from tests import flow_project
from tests.flow_project import Project, gone, wait_until
from tests.prefect_api import request

pytestmark = pytest.mark.slow

#: A stage as ours are, without their work: it leases a GPU, tracks, tells its progress, and may be stopped.
_WORK = """
import os, sys, time
from pathlib import Path
from stages.running import console, gpu, signals
from stages.running.tracking import tracker

signals.raise_at_once()
todo = Path(os.environ["FAKE_STAGES"])
try:
    with gpu.lease(), tracker.stage("finetune"), console.progress(total=4, unit="step", what="finetune") as bar:
        time.sleep(1.1)  # progress is written once a second
        bar.update(1)
        (todo / "finetune.pid").write_text(str(os.getpid()))
        while not (todo / "finetune.go").exists():
            time.sleep(0.05)
        bar.update(3)
        Path("finetune.txt").write_text("done")
except signals.Interrupted as signal:
    Path(".cache/finetune/k/step-00000001").mkdir(parents=True, exist_ok=True)
    print(f"finetune: stopped by {signal}; run the same command again", file=sys.stderr)
    sys.exit(75)
"""
_STOPPED = (
    "finetune: stopped at step 1 of 4; the next run with the same code, data and values goes on from its newest "
    "checkpoint, if it has saved one"
)
_STAGE = "  finetune:\n    cmd: python work.py\n    params: [finetune.seed]\n    outs: [finetune.txt]\n"


def test_the_report_of_a_run_is_a_link_to_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_page, "_stored", lambda store: None)  # there is no server here
    run = "http://127.0.0.1:5000/#/experiments/1/runs/2f"
    page = Page("calm-otter", f"{run}?workflowType=machine_learning", "")
    assert list(run_page._report(page)) == [
        f"[Report of the run]({run}/artifacts/report.html?workflowType=machine_learning): one page, in MLflow while "
        "its pages are there."
    ]
    assert list(run_page._report(None)) == []


def test_the_results_of_the_champion_are_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champions, "of_results", lambda root, tree: "instruct-pipeline-quick version 3")
    (line,) = run_page._champion(tmp_path)
    assert line.replace("\\", "") == "**These results are the champion's:** instruct-pipeline-quick version 3."
    monkeypatch.setattr(champions, "of_results", lambda root, tree: "")
    assert list(run_page._champion(tmp_path)) == []


def test_the_findings_of_the_checks_are_a_table(tmp_path: Path) -> None:
    assert list(run_page.findings(tmp_path)) == []
    found = Finding(
        name="near_leaks", severity="warning", count=1200, groups=None, limit=None, what="a|b", ids=[], examples=[]
    )
    empty = GateReport(
        rows={},
        findings=[],
        passed=[],
        characters={},
        categories={},
        scripts={},
        languages={},
        templates=[],
        longest={},
    )
    (tmp_path / GATE_REPORT).parent.mkdir(parents=True)
    write_metrics(tmp_path / GATE_REPORT, empty)
    assert list(run_page.findings(tmp_path)) == []

    write_metrics(tmp_path / GATE_REPORT, empty.model_copy(update={"findings": [found]}))

    (table,) = run_page.findings(tmp_path)
    assert table.splitlines()[-1] == r"| warning | near\_leaks | 1,200 | a\|b |"


def with_work(project: Project) -> Project:
    """The project with a stage named finetune, and one GPU that is none."""
    project.env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{project.env['PATH']}"
    project.env |= {"PIPELINE_GPUS": "GPU-a", "PIPELINE_GPU_LOCKS": str(project.root.parent / "locks")}
    del project.env["MLFLOW_TRACKING_URI"]
    (project.root / "work.py").write_text(_WORK)
    with (project.root / "dvc.yaml").open("a") as file:
        file.write(_STAGE)
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "work")
    return project


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return with_work(flow_project.create(tmp_path_factory.mktemp("template") / "project"))


@pytest.fixture(scope="module")
def beside_ui(template: Project) -> Iterator[tuple[Project, dict[str, str]]]:
    """A project with `make ui` at work, and the addresses of its servers by name."""
    with template.start("-m", "flows.servers", "--mlflow-port", "0", "--prefect-port", "0") as ui:
        assert ui.stdout is not None
        lines: list[str] = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(ui.stdout.readline())
            assert lines[-1], f"it has ended: {lines}"
        yield template, dict(line.split()[:2] for line in lines if line.startswith(("MLflow ", "Prefect ")))
        ui.send_signal(signal.SIGINT)
        ui.communicate(timeout=60)


@pytest.fixture
def project(beside_ui: tuple[Project, dict[str, str]]) -> Project:
    project, _ = beside_ui
    for file in project.todo.iterdir():
        file.unlink()
    return project


@pytest.fixture
def api(beside_ui: tuple[Project, dict[str, str]]) -> str:
    return f"{beside_ui[1]['Prefect']}/api"


def ask(api: str, path: str, **query: Any) -> Any:
    return request(api, path, query)


def last_run(api: str) -> dict[str, Any]:
    (run,) = ask(api, "/flow_runs/filter", sort="START_TIME_DESC", limit=1)
    return dict(run)


def artifacts_of(api: str, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["key"]: one for one in ask(api, "/artifacts/filter", flow_runs={"id": {"any_": [run["id"]]}})}


def log_of(api: str, run: dict[str, Any]) -> str:
    found = ask(api, "/logs/filter", logs={"flow_run_id": {"any_": [run["id"]]}}, sort="TIMESTAMP_ASC")
    return "\n".join(one["message"] for one in found)


def mlflow_run(project: Project, run: dict[str, Any]) -> dict[str, Any]:
    """The state and the tags of a run's MLflow run."""
    code = (
        "import json; from mlflow import MlflowClient; c = MlflowClient('sqlite:///mlflow.db');"
        "experiments = [e.experiment_id for e in c.search_experiments()];"
        f"(r,) = c.search_runs(experiments, \"tags.`prefect.flow_run_id` = '{run['id']}'\");"
        "print(json.dumps({'id': r.info.run_id, 'status': r.info.status, **r.data.tags}))"
    )
    done = project.python("-c", code)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_run_beside_make_ui_is_on_its_page_with_links_progress_and_gpu(
    project: Project, beside_ui: tuple[Project, dict[str, str]], api: str
) -> None:
    project.tell("zeta", "75", "0")
    with project.start("-m", "flows.run") as command:
        stage = project.hanging("finetune")
        below = psutil.Process(command.pid).children(recursive=True)
        assert not any("import uvicorn" in " ".join(process.cmdline()) for process in below)
        run = last_run(api)
        wait_until(lambda: artifacts_of(api, run).get("progress-finetune", {}).get("data") == 25.0)
        holder = json.loads(project.python("-m", "flows.gpus", "--json").stdout)["gpus"][0]["holder"]
        assert (holder["run"], holder["door"], holder["process"]) == (run["name"], "flow", stage.pid)
        assert artifacts_of(api, run)["progress-finetune"]["description"].startswith("finetune: 1 of 4 steps, about ")
        project.go_on("finetune")
        output, _ = command.communicate(timeout=120)
    assert command.returncode == 0, output
    assert f"this run is on the Prefect server of make ui: {api.removesuffix('/api')}\n" in output
    run = last_run(api)
    assert run["state_type"] == "COMPLETED"
    assert "gpu:GPU-a" in run["tags"]
    found = artifacts_of(api, run)
    assert found["progress-finetune"]["data"] == 100.0
    table = found["pipeline"]["data"]
    assert "| zeta | ran, retried once | " in table
    assert "| data\\.dvc \\(import\\) | " in table
    mlflow = mlflow_run(project, run)
    at = f"{beside_ui[1]['MLflow']}/#/experiments/1/runs"
    assert f"{at}/{mlflow['id']}?workflowType=machine_learning" in found["mlflow-run"]["data"]
    runs = f"{at}?workflowType=machine_learning&viewStateShareKey=pipeline-"
    assert runs in found["mlflow-runs"]["data"]
    assert f"            compare     {runs}" in output
    assert mlflow["prefect.flow_run_url"] == f"{api.removesuffix('/api')}/runs/flow-run/{run['id']}"
    assert mlflow["mlflow.note.content"].endswith(f"[This run in Prefect]({mlflow['prefect.flow_run_url']})")
    assert mlflow["mlflow.source.name"] == "python -m flows.run"
    assert mlflow["status"] == "FINISHED"


def test_a_failure_is_told_once_in_the_terminal_and_once_in_the_log(project: Project, api: str) -> None:
    project.go_on("finetune")
    project.tell("alpha", "65")
    done = project.python("-m", "flows.run", "--force")
    output = done.stdout + done.stderr
    assert (done.returncode, output.count("row 3 is wrong"), "Traceback" in output) == (65, 1, False), output
    assert "exited with" not in output
    run = last_run(api)
    wait_until(lambda: "Finished in state Failed" in log_of(api, run))
    log = log_of(api, run)
    assert (log.count("row 3 is wrong"), "Traceback" in log, "exited with" in log) == (1, False, False), log
    assert run["state"]["message"] == "alpha: row 3 is wrong\n  to fix it: correct row 3"
    page = artifacts_of(api, run)["pipeline"]["data"]
    assert "| alpha | failed | |" in page
    assert "alpha: row 3 is wrong\n  to fix it: correct row 3" in page


def test_retries_that_do_not_help_are_told_without_a_traceback(project: Project, api: str) -> None:
    project.go_on("finetune")
    project.tell("alpha", "69", "69", "69", "69")
    done = project.python("-m", "flows.run", "--force")
    output = done.stdout + done.stderr
    assert done.returncode == 69
    assert (output.count("row 3 is wrong"), output.count("trying again")) == (4, 3), output
    assert "NoneType: None" not in output
    assert "| alpha | failed, retried 3 times | |" in artifacts_of(api, last_run(api))["pipeline"]["data"]


def test_ctrl_c_is_no_crash_and_mlflow_has_the_run_as_killed(project: Project, api: str) -> None:
    with project.start("-m", "flows.run", "--force") as command:
        stage = project.hanging("finetune")
        os.killpg(command.pid, signal.SIGINT)
        output, _ = command.communicate(timeout=60)
    assert command.returncode == 75, output
    assert output.count("finetune: stopping, saving the work (up to 5 s)") == 1
    assert output.splitlines()[-1] == "pipeline: stopped; run the same command again to go on"
    assert "Crash detected" not in output
    assert "Traceback" not in output
    assert gone(stage)
    run = last_run(api)
    assert run["state_type"] == "CANCELLED"
    assert "Crash detected" not in log_of(api, run)
    page = artifacts_of(api, run)["pipeline"]["data"]
    assert "| finetune | cancelled | |" in page
    assert f"{_STOPPED}\nto go on, start it once more: a run of a form by Copy to new run, any other by its" in page
    mlflow = mlflow_run(project, run)
    assert (mlflow["status"], mlflow["stage.finetune"]) == ("KILLED", "cancelled")
    assert mlflow["ended"] == _STOPPED
    assert mlflow["mlflow.note.content"].startswith(f"Stopped before its end: {_STOPPED}\n\n")


def test_a_run_cancelled_on_the_page_is_killed_in_mlflow_and_no_crash(project: Project, api: str) -> None:
    def prefect(*arguments: str) -> None:
        done = project.python("-m", "flows", "prefect", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    # Each of these commands finds the server of make ui by itself.
    done = project.python("-m", "flows.deploy")
    assert done.returncode == 0, done.stderr
    assert f"deployed to {api}\n" in done.stdout
    worker = ("-m", "flows", "prefect", "worker", "start", "--pool", "local")
    with project.start(*worker):
        named = ("--flow-run-name", "to cancel", "--param", "force=yes")
        prefect("deployment", "run", "instruct-pipeline/nightly", *named)
        stage = project.hanging("finetune")
        run = last_run(api)
        prefect("flow-run", "cancel", run["id"])
        wait_until(lambda: gone(stage))
        wait_until(lambda: last_run(api)["state_type"] == "CANCELLED")
    mlflow = mlflow_run(project, run)
    assert (mlflow["status"], mlflow["stage.finetune"]) == ("KILLED", "cancelled")
    wait_until(lambda: mlflow_run(project, run)["ended"] == _STOPPED)  # the flow ends after its stage
    log = log_of(api, run)
    assert log.count("finetune: stopping, saving the work (up to 5 s)") == 1
    assert "Crash detected" not in log
    assert "Traceback" not in log


def test_a_second_make_ui_uses_the_prefect_server_of_the_first(project: Project, api: str) -> None:
    with project.start("-m", "flows.servers", "--mlflow-port", "0") as ui:
        assert ui.stdout is not None
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(ui.stdout.readline())
            assert lines[-1], f"it has ended: {lines}"
        ui.send_signal(signal.SIGINT)
        ui.communicate(timeout=60)
    assert lines[0] == "starting MLflow (up to a minute) ...\n"
    assert f"Prefect  {api.removesuffix('/api')}, which another make ui has started here\n" in lines
    assert (project.root / ".prefect" / "servers.json").exists()


def test_the_file_of_a_make_ui_that_was_killed_counts_for_nothing(template: Project, tmp_path: Path) -> None:
    project = flow_project.copy(template, tmp_path)
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    known = {"process": f"{os.uname().nodename}:{process.pid}:1:0", "prefect": "http://127.0.0.1:9"}
    (project.root / ".prefect").mkdir(exist_ok=True)
    (project.root / ".prefect" / "servers.json").write_text(json.dumps(known | {"mlflow": None, "database": ""}))
    code = "from flows import servers_file as f; print(f.prefect_address(), f.mlflow_address())"
    assert project.python("-c", code).stdout == "None http://127.0.0.1:5000\n"


@pytest.mark.slow
def test_progress_that_cannot_be_shown_is_told_once_and_fails_no_run(server: str, tmp_path: Path) -> None:
    plain = flow_project.create(tmp_path / "project")
    code = plain.root / "stage.py"
    garbage = (
        "import os, pathlib\npathlib.Path(os.environ['PIPELINE_PROGRESS']).write_text('{\"works\": {\"a\": 3}}')\n"
    )
    code.write_text(garbage + code.read_text())
    done = plain.python("-m", "flows.run", PREFECT_API_URL=server)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert said.count("Prefect: the progress of zeta is not shown: TypeError: ") == 1, said
    assert said.count("Prefect: the progress of alpha is not shown: TypeError: ") == 1, said
    assert "Traceback" not in said
