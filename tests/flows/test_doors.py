"""The flow by each of its doors, for real: without a server, deployed to one with a worker, cancelled, killed."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import flow_project
from tests.flow_project import Project, gone, wait_until
from tests.prefect_api import request

pytestmark = pytest.mark.slow

_WORKER = ("-m", "flows", "prefect", "worker", "start", "--pool", "local")
_NIGHTLY = "instruct-pipeline/nightly"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return flow_project.create(tmp_path_factory.mktemp("template") / "project")


def ask(server: str, path: str, **query: Any) -> Any:
    return request(server, path, query)


def state_of(server: str, name: str) -> str:
    runs = ask(server, "/flow_runs/filter", flow_runs={"name": {"any_": [name]}})
    return str(runs[0]["state_type"]) if runs else "NONE"


def test_without_a_server_all_runs_and_mlflow_has_the_run(project: Project) -> None:
    del project.env["MLFLOW_TRACKING_URI"]
    done = project.python("-m", "flows.run")
    assert done.returncode == 0, done.stderr
    assert project.calls("zeta") == project.calls("alpha") == 1
    assert "up to date" in project.dvc("repro")
    assert mlflow_statuses(project) == ["FINISHED"]


def test_other_values_run_beside_the_users_files(project: Project) -> None:
    del project.env["MLFLOW_TRACKING_URI"]
    before = project.git("status", "--porcelain")
    done = project.python("-m", "flows.run", "--profile", "quick", "--set", "judge.seed=5")
    assert done.returncode == 0, done.stderr
    assert project.git("status", "--porcelain") == before
    assert not (project.root / "zeta.txt").exists()
    # What a relative path in params.yaml starts from, in the copy too.
    assert (project.todo / "zeta.calls").read_text() == f"{project.root}\n"
    assert list((project.root / ".cache" / "workspaces").iterdir()) == []
    assert mlflow_statuses(project) == ["FINISHED"]
    assert mlflow_runs(project, "r.data.tags['git.dirty']") == ["params"]
    assert "in DVC's cache; put the same values into params.yaml" in done.stdout
    (lock,) = (project.root / "mlruns").rglob("dvc.lock")
    assert "alpha.txt" in lock.read_text()
    assert all(path.is_relative_to(project.root / "mlruns") for path in project.root.rglob("dvc.lock"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_flow_leaves_no_stage_and_can_go_on(project: Project, server: str, number: signal.Signals) -> None:
    del project.env["MLFLOW_TRACKING_URI"]
    project.tell("zeta", "hang")
    with project.start("-m", "flows.run", PREFECT_API_URL=server) as flow:
        stage = project.hanging("zeta")
        flow.send_signal(number)
        output, _ = flow.communicate(timeout=120)
    assert flow.returncode == 75, output
    assert "run the same command again" in output
    assert gone(stage)
    assert mlflow_statuses(project) == ["KILLED"]
    assert project.python("-m", "flows.run", PREFECT_API_URL=server).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_at_the_terminal_or_killed_the_command_leaves_nothing_behind(project: Project, number: int) -> None:
    """Ctrl-C goes to the whole process group; without a server configured, Prefect's temporary one is at stake."""
    project.tell("zeta", "hang")
    with project.start("-m", "flows.run") as command:
        stage = project.hanging("zeta")
        started = psutil.Process(command.pid).children(recursive=True)
        assert any("uvicorn" in " ".join(process.cmdline()) for process in started)
        if number == signal.SIGINT:
            os.killpg(command.pid, signal.SIGINT)
        else:
            command.kill()
        output, _ = command.communicate(timeout=60)
        wait_until(lambda: all(map(gone, [stage, *started])), 60)
    if number == signal.SIGINT:
        assert command.returncode == 75, output
        assert "Traceback" not in output
        assert "run the same command again" in output


def test_a_run_whose_make_is_killed_ends_and_can_go_on(project: Project, server: str) -> None:
    (project.root / "Makefile").write_text(f"run:\n\t@{sys.executable} -m flows.run\n", encoding="utf-8")
    project.tell("zeta", "hang")
    become = "import os; os.execvp('make', ['make', 'run'])"
    with project.start("-c", become, PREFECT_API_URL=server) as make:
        stage = project.hanging("zeta")
        started = psutil.Process(make.pid).children(recursive=True)
        make.kill()
        wait_until(lambda: all(map(gone, [stage, *started])), 60)
    assert project.python("-m", "flows.run", PREFECT_API_URL=server).returncode == 0


def test_a_killed_flow_leaves_no_stage_and_the_next_ends_its_mlflow_run(project: Project, server: str) -> None:
    del project.env["MLFLOW_TRACKING_URI"]
    project.tell("zeta", "hang")
    with project.start("-m", "flows.run", "--set", "judge.seed=5", PREFECT_API_URL=server) as command:
        stage = project.hanging("zeta")
        (flow,) = psutil.Process(command.pid).children()
        flow.kill()
        wait_until(lambda: gone(stage))
    assert mlflow_statuses(project) == ["RUNNING"]
    done = project.python("-m", "flows.run", "--set", "judge.seed=5", PREFECT_API_URL=server)
    assert done.returncode == 0, done.stderr
    assert "the workspace of a run that was killed" in done.stderr
    assert sorted(mlflow_statuses(project)) == ["FINISHED", "KILLED"]


_JUDGE = """
from stages.common.records import write_metrics, write_records
from stages.common.results.judge import JUDGE_METRICS, VERDICTS, Verdict
from stages.params import whole
from tests import results

seed = whole.load().judge.seed
rows = [Verdict(id=f"r{n}", model="tuned", status="scored", score=50.0 + seed * (n % 3), detail="") for n in range(12)]
write_records(VERDICTS, rows)
scores = results.model_scores(50.0 + seed, scored=12, n=12)
write_metrics(JUDGE_METRICS, results.judge_metrics(results.identity(), scores))
"""


def add_judge(project: Project) -> None:
    """A stage that judges, so that there are results."""
    project.env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{project.env['PATH']}"
    (project.root / "judge.py").write_text(_JUDGE)
    stage = "  judge:\n    cmd: python judge.py\n    params: [judge.seed]\n    outs: [artifacts/judge/verdicts.jsonl]\n"
    with (project.root / "dvc.yaml").open("a") as file:
        file.write(f"{stage}    metrics: [artifacts/judge/metrics.json]\n")


def test_the_comparison_with_the_last_commit_is_in_the_artifact_and_in_mlflow(project: Project, server: str) -> None:
    del project.env["MLFLOW_TRACKING_URI"]
    add_judge(project)
    settings = (project.root / "params.yaml").read_text()
    judge = settings.index("\njudge:")
    seeds = [settings[:judge] + settings[judge:].replace("  seed: 123", f"  seed: {seed}") for seed in (4, 9)]
    (project.root / "params.yaml").write_text(seeds[0])
    project.dvc("repro", "-q")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "four points")
    commit = project.git("rev-parse", "HEAD")[:7]
    (project.root / "params.yaml").write_text(seeds[1])
    done = project.python("-m", "flows.run", PREFECT_API_URL=server)
    assert done.returncode == 0, done.stderr

    found = ask(server, "/artifacts/latest/filter", artifacts={"key": {"any_": ["pipeline"]}})
    (artifact,) = [one["data"] for one in found if commit in one["data"]]
    assert f"A HEAD ({commit})\nB this run\n" in artifact
    assert "B minus A   +5.0 [" in artifact
    assert "![differences](data:image/png;base64,iVBOR" in artifact
    _, compared = artifact.split(f"Compared with the last commit, {commit}:")
    assert str(project.root) not in compared  # the summary before it names the folder's database

    (kept,) = (project.root / "mlruns").rglob("comparison.json")
    assert kept.parent.name == "judge"
    assert (kept.parent / "comparison.png").read_bytes().startswith(b"\x89PNG")
    table = json.loads(kept.read_text())
    assert (table["a"]["name"], table["comparisons"][0]["b"]["name"]) == (f"HEAD ({commit})", "this run")
    assert table["comparisons"][0]["difference"] == 5.0
    assert str(project.root) not in kept.read_text()
    for text in (done.stdout, artifact):  # the lines of the artifact are broken for a narrower page
        words = " ".join(text.split())
        assert f"values other than in the last commit, {commit} (its value in brackets): judge.seed=9 (4) " in words
        assert f"compared with the last commit, {commit}, on 12 rows: 54.0 of 100 points there, 59.0 here " in words


def test_a_run_has_one_name_in_prefect_in_mlflow_in_the_summary_and_in_the_table(project: Project, server: str) -> None:
    del project.env["MLFLOW_TRACKING_URI"]
    add_judge(project)
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "a judge")
    done = project.python("-m", "flows.run", "--set", "judge.seed=7", PREFECT_API_URL=server)
    assert done.returncode == 0, done.stderr

    (run,) = json.loads(project.python("-m", "flows.runs", "--json").stdout)["runs"]
    found = ask(server, "/flow_runs/filter", flow_runs={"name": {"any_": [run["short_name"]]}})
    assert run["name"] == f"judge.seed=7 ({run['short_name']})"
    assert [one["id"] for one in found] == mlflow_runs(project, "r.data.tags['prefect.flow_run_id']")
    assert f"run         {run['name']}\n" in done.stdout
    assert (run["door"], run["state"], run["differs"]) == ("flow", "finished", {"judge.seed": "7"})
    assert run["metrics"]["score/mean"] == 57.0


def test_a_run_without_tracking_says_how_to_publish_it_and_that_works(project: Project, server: str) -> None:
    add_judge(project)
    done = project.python("-m", "flows.run", PREFECT_API_URL=server)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("MLflow      not there; to add these results: python -m flows.publish\n")
    assert "MLflow      sqlite" not in done.stdout
    del project.env["MLFLOW_TRACKING_URI"]
    published = project.python("-m", "flows.publish")
    assert published.returncode == 0, published.stderr
    assert published.stdout.splitlines()[-1].startswith("published as run ")
    assert mlflow_runs(project, "r.data.tags['door']") == ["published"]
    again = project.python("-m", "flows.run")
    assert again.stdout.startswith("everything is up to date")
    assert again.stdout.endswith("compare     make ui\n")


def test_a_stage_that_ignores_signals_is_killed(project: Project) -> None:
    stubborn = "import signal; [signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)]\n"
    code = (project.root / "stage.py").read_text()
    (project.root / "stage.py").write_text(stubborn + code)
    project.dvc("repro", "-q", "data.dvc")
    project.tell("zeta", "hang")
    run = "from pathlib import Path; from flows.stage_process import run_stage; run_stage('zeta', Path(), log=print)"
    with project.start("-c", run) as caller:
        stage = project.hanging("zeta")
        caller.kill()
        wait_until(lambda: gone(stage))


def test_deployed_and_cancelled(project: Project, server: str) -> None:
    project.env["PREFECT_API_URL"] = server
    done = project.python("-m", "flows.deploy")
    assert done.returncode == 0, done.stderr

    with project.start(*_WORKER):
        prefect(project, "deployment", "run", _NIGHTLY, "--flow-run-name", "by hand")
        wait_until(lambda: state_of(server, "by hand") == "COMPLETED")
        assert (project.root / "alpha.txt").exists()

        project.tell("zeta", "hang")
        prefect(project, "deployment", "run", _NIGHTLY, "--flow-run-name", "to cancel", "--param", "force=yes")
        stage = project.hanging("zeta")
        cancelled = next(iter(ask(server, "/flow_runs/filter", flow_runs={"name": {"any_": ["to cancel"]}})))
        prefect(project, "flow-run", "cancel", cancelled["id"])
        wait_until(lambda: gone(stage))
        wait_until(lambda: state_of(server, "to cancel") == "CANCELLED")


def test_deploying_needs_a_server(project: Project) -> None:
    done = project.python("-m", "flows.deploy")
    assert done.returncode == 78
    assert done.stderr.startswith("deploy: no Prefect server to deploy to: make ui does not run in this folder")


def test_both_pages_come_up_and_go_with_ctrl_c(project: Project) -> None:
    del project.env["MLFLOW_TRACKING_URI"]
    (project.root / "mlflow.db").write_bytes(b"")
    os.utime(project.root / "mlflow.db", (1e9, 1e9))
    with project.start("-m", "flows.servers", "--mlflow-port", "0", "--prefect-port", "0") as ui:
        assert ui.stdout is not None
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(ui.stdout.readline())
            assert lines[-1], f"it has ended: {lines}"
        assert lines[1].startswith(f"making MLflow's database, {project.root}/mlflow.db: ")
        assert "the form not there yet: make deploy\n" in lines
        addresses = [line.split()[1] for line in lines if line.startswith(("MLflow ", "Prefect "))]
        assert len(addresses) == 2
        for address in addresses:
            with urllib.request.urlopen(address, timeout=30) as answer:
                assert answer.status == 200
        ui.send_signal(signal.SIGINT)
        rest, _ = ui.communicate(timeout=60)
    assert ui.returncode == 0
    assert rest == "\nending what was started ... ended\n"
    # Nothing of the servers' own lines is among these, and what they have said is kept.
    assert len(lines) == 9, lines
    (table,) = (line for line in lines if line.startswith("runs "))
    assert "?workflowType=machine_learning&viewStateShareKey=pipeline-" in table
    assert table.endswith("   (instruct-pipeline/quick)\n")
    for server in ("mlflow", "prefect"):
        log = project.root / ".prefect" / f"{server}.log"
        assert f"(log: .prefect/{server}.log)" in "".join(lines)
        assert log.read_text() != ""
        assert log.stat().st_mode & 0o777 == 0o600
    for address in addresses:
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(address, timeout=30)


def test_an_mlflow_server_elsewhere_is_named_and_none_started(project: Project) -> None:
    project.env["MLFLOW_TRACKING_URI"] = "http://me:secret@127.0.0.1:9"
    with project.start("-m", "flows.servers", "--mlflow-port", "0", "--prefect-port", "0") as ui:
        assert ui.stdout is not None
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(ui.stdout.readline())
            assert lines[-1], f"it has ended: {lines}"
        commands = [" ".join(child.cmdline()) for child in psutil.Process(ui.pid).children(recursive=True)]
        ui.send_signal(signal.SIGINT)
        ui.communicate(timeout=60)
    assert lines[0] == "starting Prefect (up to a minute) ...\n"
    assert lines[1] == "MLflow   http://***@127.0.0.1:9, which is not started here (MLFLOW_TRACKING_URI)\n"
    assert not any("secret" in line for line in lines)
    assert commands
    assert not any("mlflow" in command for command in commands)


def prefect(project: Project, *arguments: str) -> None:
    done = project.python("-m", "flows", "prefect", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def mlflow_statuses(project: Project) -> list[str]:
    """The states of all MLflow runs in the project's database."""
    return mlflow_runs(project, "r.info.status")


def mlflow_runs(project: Project, expression: str) -> list[str]:
    """The value of an expression for every MLflow run ``r`` in the project's database."""
    code = (
        "from mlflow import MlflowClient; c = MlflowClient('sqlite:///mlflow.db');"
        f"print(*[{expression} for r in c.search_runs([e.experiment_id for e in c.search_experiments()])])"
    )
    done = project.python("-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
