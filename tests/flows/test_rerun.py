"""A run is made again from MLflow: in a copy of its commit, with its values and data, compared by its outputs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from stages.running.tracking import tracker
from stages.running.tracking.names import short_of
from tests.flow_project import Project

pytestmark = pytest.mark.thorough


@pytest.fixture
def made(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The project with one run of the flow's kind, called calm-otter, of a value that no commit has."""
    monkeypatch.chdir(project.root)
    project.env["MLFLOW_TRACKING_URI"] = f"sqlite:///{project.root / 'mlflow.db'}"
    project.env["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "")  # threads are a part of what it is made on
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.env["MLFLOW_TRACKING_URI"])
    record(project, "calm-otter", seed=7)
    project.git("checkout", "--quiet", "--", "params.yaml")
    return project


def record(project: Project, name: str, *, seed: int) -> str:
    """Run the project with a seed of the split and put it into MLflow, as the flow does; returns the run's id."""
    params = project.root / "params.yaml"
    head, _, tail = params.read_text().partition("\nsplit:")
    params.write_text(head + "\nsplit:" + tail.replace("seed: 123", f"seed: {seed}", 1))
    run_id = tracker.create_run(project.root, name=name)
    assert run_id is not None
    project.dvc("repro", "-q")
    tracker.publish(project.root, run_id, ran={"zeta", "alpha"})
    tracker.end(run_id, "FINISHED")
    return run_id


def rerun(project: Project, name: str = "calm-otter") -> tuple[int, str]:
    """The exit code and the output of the command."""
    done = project.python("-m", "flows.rerun", name)
    return done.returncode, done.stdout + done.stderr


def runs(project: Project) -> dict[str, object]:
    client = MlflowClient(project.env["MLFLOW_TRACKING_URI"])
    named = client.get_experiment_by_name("instruct-pipeline/quick")
    return {short_of(run.info.run_name): run for run in client.search_runs([named.experiment_id])}


def test_a_run_is_made_again_and_equal(made: Project) -> None:
    calls = made.calls("zeta")
    code, told = rerun(made, "calm-")
    assert code == 0, told
    assert "data as in the commit's assets/data" in told
    assert "nothing that is known: versions, processor and device are those of the run" in told
    assert told.splitlines()[-1] == "result      equal: all 2 stages made the same bytes again"
    assert made.calls("zeta") == calls + 1, "it ran, and was not taken from DVC's cache"
    again = runs(made)["calm-otter-again"]
    assert (again.data.tags["rerun.source"], again.data.tags["rerun.equal"]) == ("calm-otter", "yes")
    assert (again.data.params["split.seed"], again.info.status) == ("7", "FINISHED")
    assert made.git("status", "--porcelain", "params.yaml") == ""
    assert not list((made.root / ".cache" / "workspaces").glob("run-*"))
    assert not list((made.root / ".cache" / "again").glob("*"))

    assert rerun(made, "calm-otter")[0] == 0
    assert {"calm-otter-again", "calm-otter-again-2"} <= runs(made).keys(), "each has a name of its own"


def test_an_output_that_differs_ends_with_1_and_is_named(made: Project) -> None:
    client = MlflowClient(made.env["MLFLOW_TRACKING_URI"])
    run_id = runs(made)["calm-otter"].info.run_id
    lock = Path(client.download_artifacts(run_id, "dvc.lock", str(made.root.parent)))
    tree = YAML(typ="safe").load(lock)
    tree["stages"]["zeta"]["outs"][0]["md5"] = "0" * 32
    YAML(typ="safe").dump(tree, lock)
    client.log_artifact(run_id, str(lock))
    code, told = rerun(made)
    assert code == 1, told
    assert "differs  1 of 1 output" in told
    assert "zeta.txt  0000000 → " in told
    assert runs(made)["calm-otter-again"].data.tags["rerun.equal"].startswith("no: ")


def test_code_that_is_in_no_commit_is_refused_and_accepted_once_committed(made: Project) -> None:
    stage = made.root / "stage.py"
    stage.write_text(stage.read_text() + "# edited\n")
    record(made, "dirty-newt", seed=8)
    made.git("checkout", "--quiet", "--", "params.yaml")
    code, told = rerun(made, "dirty-newt")
    assert code == 78, told
    assert "its code is in no commit: changed since" in told
    assert "stage.py" in told
    assert "this folder has that code: git commit it, then python -m flows.rerun dirty-newt" in told
    made.git("commit", "--quiet", "--message", "edited", "stage.py")
    code, told = rerun(made, "dirty-newt")
    assert code == 0, told
    assert "it was not committed yet when the run began" in told


def test_data_of_the_run_come_from_the_cache_and_are_said_to_be_gone_without_it(made: Project) -> None:
    rows = made.root / "assets" / "data" / "rows.json"
    rows.write_text('["another"]')
    record(made, "edited-rows", seed=9)
    made.git("checkout", "--quiet", "--", "assets", "params.yaml", "data.dvc")
    code, told = rerun(made, "edited-rows")
    assert code == 0, told
    assert "data from DVC's cache, by its MD5" in told
    shutil.rmtree(made.root / ".dvc" / "cache")
    code, told = rerun(made, "edited-rows")
    assert code == 65, told
    assert "its data are gone: data with the MD5" in told


def test_another_clone_pulls_the_data_from_a_remote(made: Project, tmp_path: Path) -> None:
    (made.root / "assets" / "data" / "rows.json").write_text('["another"]')
    record(made, "edited-rows", seed=9)
    made.git("checkout", "--quiet", "--", "assets", "params.yaml")
    made.dvc("remote", "add", "-q", "--default", "store", "../store")
    made.git("commit", "--quiet", "--message", "a remote", ".dvc/config")
    made.dvc("push", "-q")
    made.git("clone", "--quiet", str(made.root), str(made.root.parent / "clone"))
    clone = Project(made.root.parent / "clone")
    clone.env = made.env | {"HOME": str(tmp_path)}
    (made.root.parent / "store").rename(tmp_path / "away")
    code, told = rerun(clone, "edited-rows")
    assert code == 65, told
    assert "is not in the commit, in DVC's cache or in a remote" in told
    (tmp_path / "away").rename(made.root.parent / "store")
    code, told = rerun(clone, "edited-rows")
    assert code == 0, told
    assert "data from a remote, by its MD5" in told


def test_runs_without_results_of_their_own_are_refused(made: Project) -> None:
    tracker.end(tracker.create_run(made.root, name="failed-newt"), "FAILED")
    code, told = rerun(made, "failed-newt")
    assert code == 65
    assert "failed-newt is failed, and keeps no dvc.lock" in told
    assert "python -m flows.run --set" not in told
    tracker.create_run(made.root, name="at-work")
    assert "it is at work" in rerun(made, "at-work")[1]
    assert "no such MLflow run; did you mean calm-otter?" in rerun(made, "calm-ottar")[1]


def test_what_differs_from_the_machine_of_the_run_is_named_before_it_begins(made: Project) -> None:
    client = MlflowClient(made.env["MLFLOW_TRACKING_URI"])
    run_id = runs(made)["calm-otter"].info.run_id
    kept = Path(client.download_artifacts(run_id, "environment.json", str(made.root.parent)))
    then = json.loads(kept.read_text())
    kept.write_text(json.dumps(then | {"python": "3.10.0", "capability": "VSX", "threads": 999}))
    client.log_artifact(run_id, str(kept))
    client.set_tag(run_id, "gpu.uuid", "GPU-1")
    made.tell("zeta", "78")
    done = made.python("-m", "flows.rerun", "calm-otter", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 78
    before = done.stdout.partition("Running stage")[0]
    for line in (
        "Python 3.10.0 → ",
        "kernels of torch VSX → ",
        "threads 999 → ",
        "device GPU → CPU: there is none here",
    ):
        assert line in before
    assert "zeta: judge.seed is wrong" in done.stderr
    assert runs(made)["calm-otter-again"].info.status == "FAILED"


def test_of_a_run_whose_results_came_from_the_cache_the_machine_is_not_known(made: Project) -> None:
    client = MlflowClient(made.env["MLFLOW_TRACKING_URI"])
    run_id = runs(made)["calm-otter"].info.run_id
    for stage in ("zeta", "alpha"):
        client.set_tag(run_id, f"stage.{stage}", "cached")
    made.tell("zeta", "78")
    told = rerun(made)[1]
    assert "not known: of what it was made on nothing is kept: its results came from DVC's cache" in told
    assert "nothing that is known" not in told
