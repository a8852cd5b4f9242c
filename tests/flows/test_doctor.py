"""The doctor on healthy and on broken folders: each fault is a real one, and is found and named."""

from __future__ import annotations

import http.server
import json
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from flows import doctor as program
from flows import servers, servers_file
from flows.checks import folders, network, packages, prefect, repository, tracking
from stages.running import gpu
from stages.running.checks.row import Row, guarded, ok
from tests import clone, small_disks, small_pipeline
from tests.fake_ollama import FakeOllama
from tests.quiet_server import QuietServer
from tests.root import ROOT
from tests.running.tracking.made import made_by_an_older_mlflow

IDENTITY = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
EXPERIMENT = "instruct-pipeline/quick"


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, env=os.environ | IDENTITY, check=True, capture_output=True)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with a commit."""
    folder = clone.make(tmp_path_factory.mktemp("doctor") / "project")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "start")
    return folder


@pytest.fixture
def project(healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which a test may break; the working directory."""
    folder = shutil.copytree(healthy, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def doctor(folder: Path, **variables: str) -> tuple[int, list[dict[str, Any]]]:
    """Run the doctor, and return its exit code and its rows."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.doctor", "--json"],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def found(rows: Iterator[Row], state: str) -> list[str]:
    """The rows in one state, in words."""
    return [str(row) for row in rows if row.state == state]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_a_healthy_clone_has_no_problem(project: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    code, rows = doctor(project, **IDENTITY)

    assert code == 0
    assert [row for row in rows if row["state"] == "problem"] == []
    assert {row["name"] for row in rows} >= {"Python", "packages", "git", "DVC", "Prefect", "MLflow", "judge", "disk"}
    # On a machine that does nothing else, two cores do it in half of that.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 20
    # It has looked and has changed nothing.
    done = subprocess.run(["git", "status", "--porcelain"], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert not (project / "mlflow.db").exists()


@pytest.mark.slow
def test_twelve_planted_faults_are_each_found_and_named(project: Path, tmp_path: Path) -> None:
    shadow = tmp_path / "shadow" / "rapidfuzz"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError('libstdc++.so.6: version GLIBCXX_3.4.32 not found')\n")
    overlay = {"judge": {"backend": "ollama"}, "download": {"model": {"weights": "hub", "repo": "a/b"}}}
    overlay["download"]["model"] |= {"revision": "a" * 40, "sha256": "0" * 64, "config_sha256": "0" * 64}
    small_pipeline.write_params(project, overlay)
    (project / ".git" / "index.lock").touch()
    (project / "dvc.lock").write_text("<<<<<<< HEAD\nstages:\n")
    settings = "[core]\n    remote = away\n['remote \"disk\"']\n    url = /mnt/gone\n"
    (project / ".dvc" / "config.local").write_text(settings)
    sqlite3.connect(project / "mlflow.db").execute("CREATE TABLE experiments (x)").connection.close()
    away = f"127.0.0.1:{free_port()}"

    code, rows = doctor(
        project,
        PYTHONPATH=str(tmp_path / "shadow"),
        OLLAMA_HOST=away,
        PREFECT_API_URL=f"http://{away}/api",
        HF_ENDPOINT=f"http://{away}",
        PIPELINE_RETRY_SECONDS="soon",
        ALL_PROXY="socks5://proxy.example:1080",
    )

    bad = [f"{row['state']} {row['name']}: {row['found']}" for row in rows if row["state"] != "ok"]
    for expected in (
        "problem packages: rapidfuzz: ImportError: libstdc++.so.6",
        f"problem git: {project}/.git/index.lock: left by a git that was killed",
        "warning git: at ",
        "warning git identity: not set",
        "problem params.yaml: PIPELINE_RETRY_SECONDS: expected a number of seconds",
        "problem DVC: dvc.lock: cannot be read, such as after a merge",
        "problem DVC remote: core.remote is 'away', and there is no such remote",
        "problem DVC remote: disk: /mnt/gone: no such folder",
        f"problem Prefect: PREFECT_API_URL: the Prefect server at http://{away}/api does not answer",
        "warning MLflow: " + str(project / "mlflow.db") + ": left half made",
        "warning proxies: ALL_PROXY names a SOCKS proxy",
        f"problem weights: http://{away}/a/b/resolve/",
        f"problem judge: no Ollama at http://{away}",
    ):
        assert sum(line.startswith(expected) for line in bad) == 1, (expected, bad)
    assert code == 78  # that of the first problem
    assert all(row["fix"] for row in rows if row["state"] != "ok" and "could not be checked" not in row["found"])


@pytest.mark.slow
def test_the_table_for_people(project: Path) -> None:
    (project / "dvc.lock").write_text("stages: 3\n")

    command = [sys.executable, "-m", "flows.doctor"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)

    lines = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 65
    told = "problem DVC dvc.lock: cannot be read, such as after a merge: expected stages by name, found {'stages': 3}"
    assert told in " ".join(done.stdout.split()), "a message is as wide as the table, and goes on in the next line"
    assert ["to", "fix", "it:", "git", "checkout", "HEAD", "--", "dvc.lock"] in lines
    assert lines[-1][:2] == ["1", "problem"]


def test_a_row_is_told_as_soon_as_it_is_known() -> None:
    told: list[str] = []
    seen: list[list[str]] = []

    def slow() -> Iterator[Row]:
        deadline = time.monotonic() + 60
        while "git" not in told and time.monotonic() < deadline:
            time.sleep(0.01)
        seen.append(told[:])  # what a person has read while this one was at work
        yield ok("packages", "all start")

    named = {"packages": slow, "disk": lambda: iter([ok("disk", "full"), ok("git", "no")])}
    rows = program.look(named, lambda row: told.append(row.name))
    assert seen == [["disk", "git"]]
    assert told == ["disk", "git", "packages"]
    assert [row.name for row in rows] == ["packages", "disk", "git"]


def test_every_package_that_is_declared_is_imported() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {entry.split("=")[0].split("<")[0].replace("-", "_") for entry in declared}
    imported = {name.split(".")[0] for group in packages.GROUPS for name in group}

    assert {name.split(".")[0] for name in names} == imported | set(packages.FILES_ALONE)


def test_a_package_that_ends_the_interpreter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crashing.py").write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert packages._faults(("crashing",)) == ["crashing: the interpreter ended with -6: no message"]


def test_a_file_in_the_place_of_a_folder(project: Path) -> None:
    (project / ".cache").write_text("no folder")

    (line,) = found(folders.folders(project), "problem")

    assert line == (
        f"disk: {project / '.cache'} (.cache): cannot be written: Not a directory\n"
        f"  to fix it: remove {project / '.cache'}, which is a file"
    )


def test_a_full_disk_and_a_folder_that_cannot_be_written(project: Path) -> None:
    (project / ".dvc" / "tmp").mkdir(exist_ok=True)
    (project / "artifacts").mkdir()
    with small_disks.full(project / ".cache"), small_disks.read_only(project / "artifacts"):
        bad = {row.found: row for row in folders.folders(project) if row.state == "problem"}

    full, read_only = sorted(bad.values(), key=lambda row: row.found)
    assert "No space left on device" in full.found
    assert full.found.startswith(f"{project}/.cache (.cache)")
    assert full.fix == f"free some space there: df -h {project}/.cache"
    assert "Read-only file system" in read_only.found
    assert {full.exit_code, read_only.exit_code} == {74}


def test_an_archive_a_new_repository_and_another_user_s(project: Path) -> None:
    (new := project.parent / "new").mkdir()
    git(new, "init", "-q")
    shutil.copytree(project, project.parent / "archive", ignore=shutil.ignore_patterns(".git"))
    if os.geteuid() == 0:
        os.chown(project, 12345, 12345)
        os.chown(project / ".git", 12345, 12345)
        (foreign,) = found(repository.repository(project), "problem")
        assert "dubious ownership" in foreign
        assert f"git config --global --add safe.directory {project}" in foreign

    (archive,) = found(repository.repository(project.parent / "archive"), "problem")
    (empty,) = found(repository.repository(new), "problem")

    assert "not a git repository" in archive
    assert empty.startswith("git: no commit yet")


def test_a_merge_that_is_not_finished_and_files_that_are_not_committed(project: Path) -> None:
    (project / ".git" / "MERGE_HEAD").write_text("0" * 40)
    (project / "params.yaml").write_text((project / "params.yaml").read_text() + "# a comment\n")
    (project / "new.txt").touch()

    merge, changed = found(repository.repository(project), "warning")

    assert merge == "git: a merge is not finished\n  to fix it: git merge --continue, or git merge --abort"
    assert "2 changed or new files, which no run with other values sees: params.yaml and more" in changed


def test_a_commit_on_no_branch_is_not_advised(project: Path) -> None:
    """As `dvc exp run` leaves the folder when it is stopped: its values would be committed, and on no branch."""
    subprocess.run(["git", "checkout", "--quiet", "--detach"], cwd=project, check=True)
    (project / "params.yaml").write_text((project / "params.yaml").read_text() + "# a comment\n")

    (told,) = found(repository.repository(project), "warning")

    assert "on no branch, as after a dvc exp run that was stopped" in told
    assert told.endswith("to fix it: git checkout BRANCH; with -f, which drops the values of that experiment")


def test_a_lock_that_a_run_has_changed_is_told_in_the_row_of_git(project: Path) -> None:
    (project / "dvc.lock").write_text("# of a run\n")

    (told,) = found(repository.repository(project), "ok")

    assert "dvc.lock alone has changed, by a run" in told
    assert "all committed" not in told


def test_gpus_and_who_holds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_GPUS", "GPU-a,GPU-b")
    monkeypatch.setenv("PIPELINE_GPU_LOCKS", str(tmp_path / "locks"))
    with gpu.lease():
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")  # which the lease has set, for this process
        held, free = (row.found for row in folders.gpus())
    after = [row.found for row in folders.gpus()]

    assert held.startswith(f"GPU-a: process {os.getpid()}: ")
    assert [free, *after] == ["GPU-b: free", "GPU-a: free", "GPU-b: free"]


def test_remotes_of_dvc(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.parent / "store").mkdir()
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    (tmp_path / "global").mkdir()
    (tmp_path / "global" / "config").write_text("['remote \"everywhere\"']\n    url = gone\n")
    remotes = {"here": "../../store", "cloud": "s3://bucket/path", "web": "https://me:secret@example.org/store"}
    with (project / ".dvc" / "config").open("a") as stream:
        stream.writelines(f"['remote \"{name}\"']\n    url = {url}\n" for name, url in remotes.items())

    here, cloud, web, everywhere = repository.remotes(project)

    assert (here.state, here.found) == ("ok", f"here: {project.parent / 'store'}")
    assert (everywhere.state, everywhere.found) == (
        "problem",
        f"everywhere: {tmp_path / 'global' / 'gone'}: no such folder",
    )
    assert (cloud.state, cloud.exit_code, cloud.fix) == ("problem", 78, "pip install dvc-s3")
    assert web.found.startswith("web: https://example.org")


def test_a_configuration_of_dvc_that_cannot_be_read(project: Path) -> None:
    (project / ".dvc" / "config.local").write_text("[core\n")

    named = program.checks(project)
    rows = [row for row in guarded("DVC remote", named["DVC remote"]) if row.state != "ok"]

    assert [(row.state, row.exit_code) for row in rows] == [("problem", 78)]
    assert rows[0].found.startswith(f"{project}/.dvc/config.local: DVC cannot read its configuration: ")


def test_a_lock_of_dvc_that_is_half_written(project: Path) -> None:
    (project / ".dvc" / "tmp").mkdir(exist_ok=True)
    (project / ".dvc" / "tmp" / "rwlock").write_text('{"wri')

    (half,) = found(repository.dvc(project), "warning")

    assert "half written by a DVC that was killed" in half


def test_a_params_yaml_that_is_wrong_is_told(project: Path) -> None:
    (project / "params.yaml").write_text("judge: 3\n")

    named = program.checks(project)
    rows = [row for name in ("params.yaml", "MLflow", "stages") for row in guarded(name, named[name])]

    assert [(row.name, row.state, row.exit_code) for row in rows] == [
        ("params.yaml", "problem", 78),
        ("MLflow", "warning", 0),
        ("stages", "warning", 0),
    ]


def test_a_database_of_mlflow_that_is_none(project: Path) -> None:
    (project / "mlflow.db").write_text("no database, but long enough for a header of one" * 10)

    (row,) = tracking.mlflow(project)

    assert (row.state, row.exit_code) == ("problem", 69)
    assert "file is not a database" in row.found


def test_a_database_of_another_mlflow_is_told_and_not_changed(project: Path) -> None:
    path = project / "mlflow.db"
    made_by_an_older_mlflow(path)
    before = path.read_bytes()

    (older,) = tracking.mlflow(project)

    assert (older.state, path.read_bytes()) == ("ok", before)
    assert older.found.endswith("an older MLflow made it, and the next run brings it up to date")
    assert list(project.glob("mlflow.db.*")) == []
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    (newer,) = guarded("MLflow", lambda: tracking.mlflow(project))
    assert (newer.state, newer.exit_code) == ("problem", 78)
    assert "made by a newer MLflow" in newer.found


#: MLflow in a process of its own, which makes its database and an experiment, and deletes that.
_DELETE = """
import sys
from pathlib import Path
from stages.running.tracking import mlflow_access
mlflow_access.load()
client = mlflow_access.client(Path())
client.delete_experiment(client.create_experiment(sys.argv[1]))
"""


@pytest.mark.slow
def test_an_experiment_that_was_deleted_is_told_with_the_command_that_restores_it(project: Path) -> None:
    subprocess.run([sys.executable, "-c", _DELETE, EXPERIMENT], cwd=project, check=True, capture_output=True)

    (deleted,) = found(tracking.mlflow(project), "warning")

    assert deleted.startswith(f"MLflow experiment: {EXPERIMENT} is deleted")
    assert deleted.endswith("python -m flows mlflow experiments restore --experiment-id 1")
    command = [sys.executable, "-m", *deleted.rpartition("python -m ")[2].split()]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    assert found(tracking.mlflow(project), "warning") == []


def test_an_mlflow_server_that_is_away(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port()}")

    (away,) = found(tracking.mlflow(project), "problem")

    assert "does not answer" in away
    assert "secret" not in away


def test_a_model_that_is_not_pulled(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_pipeline.write_params(project, {"judge": {"backend": "ollama"}})
    with FakeOllama(model="mistral") as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        (missing,) = found(network.stages(project), "problem")

    assert missing.endswith("ollama pull llama3")


def test_no_prefect_server_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))

    assert [row.state for row in prefect.prefect()] == ["ok"]


def test_no_password_goes_unencrypted_or_is_shown(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@mlflow.example:5000")
    (refused,) = guarded("MLflow", lambda: tracking.mlflow(project))
    assert (refused.state, refused.exit_code) == ("problem", 78)
    assert "would go unencrypted to mlflow.example" in refused.found
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example:4200/api")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:secret")
    (refused,) = guarded("Prefect", prefect.prefect)
    assert (refused.state, refused.exit_code) == ("problem", 78)


class _Prefect(http.server.BaseHTTPRequestHandler):
    """A Prefect server with one deployment, whose automations are those of the class."""

    automations: ClassVar[list[dict[str, Any]]] = []
    paused = False

    def do_GET(self) -> None:
        self._answer({"is_paused": False})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        workers = [{"name": "w", "status": "ONLINE"}]
        deployments = [{"id": 7, "name": "nightly", "work_pool_name": "local", "paused": self.paused}]
        lists = {"deployments/filter": deployments, "workers/filter": workers, "automations/filter": self.automations}
        self._answer(next(found for path, found in lists.items() if self.path.endswith(path)))

    def _answer(self, found: Any) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_the_server_of_make_ui_is_looked_at_and_what_is_missing_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    server = QuietServer(("127.0.0.1", 0), _Prefect)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    with servers_file.kept(address, None):
        (none,) = found(prefect.prefect(), "warning")
        name = "instruct-pipeline: a run whose process is gone is Crashed"
        _Prefect.automations = [{"name": name, "enabled": False}, {"name": "somebody's own", "enabled": False}]
        (off,) = found(prefect.prefect(), "warning")
        _Prefect.paused = True
        paused, _ = found(prefect.prefect(), "warning")
    server.shutdown()
    server.server_close()

    assert none.startswith("Prefect automations: none of ours")
    assert none.endswith("to fix it: make deploy")
    assert f"curl -X POST {address}/api/deployments/7/resume_deployment, or " in paused
    resume = f"python -m flows prefect automation resume '{name}'"
    assert off.endswith(f"to fix it: {resume}")


@pytest.mark.slow
def test_a_prefect_server_without_deployment_worker_and_schedule(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    started = servers.start_prefect(servers.free_port(0))
    with servers.running(started):
        monkeypatch.setenv("PREFECT_API_URL", f"{started.address}/api")
        (bare,) = found(prefect.prefect(), "warning")
        done = subprocess.run(
            [sys.executable, "-m", "flows.deploy"], cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        rows = list(prefect.prefect())

    deployed = found(iter(rows), "warning")
    assert bare == "Prefect deployment: none: no form and no schedule\n  to fix it: make deploy"
    assert any(line.startswith("Prefect worker: none in the work pool local: nothing runs") for line in deployed)
    # A schedule that was never switched on is no fault: there would be a warning for ever.
    (off,) = [
        row for row in rows if row.found.startswith("instruct-pipeline/nightly: off, as at first; to switch it on:")
    ]
    assert off.state == "ok"
    assert "\npython -m flows prefect deployment schedule resume instruct-pipeline/nightly " in off.found
    steps = [line for line in done.stdout.splitlines() if line.endswith(" ...")]
    assert steps == [
        "looking for the Prefect server ...",
        "making the work pool and its queues ...",
        "deploying prefect.yaml (up to half a minute) ...",
        "putting the values of params.yaml into the forms ...",
        "registering the automations ...",
    ]
