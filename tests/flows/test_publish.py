"""Results are put into MLflow from what git, DVC's cache and a remote have of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from flows import publish
from flows.again.revisions import Revision
from stages.common.errors import ConfigError, DataError
from stages.common.results.judge import SCORES_PLOT
from stages.running.tracking import mirror, mlflow_access
from stages.running.tracking.names import short_of
from tests.running.tracking.conftest import client, empty_database, project  # noqa: F401
from tests.running.tracking.made import points, runs
from tests.running.tracking.test_late import lock

pytestmark = pytest.mark.thorough
CODE = Path("stages/split/job.py")


def git(*arguments: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    return subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def kept(path: Path) -> Path:
    """The path of a result in DVC's cache."""
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    return Path(".dvc/cache/files/md5", md5[:2], md5[2:])


@pytest.fixture
def committed(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """The project, with a commit of its dvc.lock and values, whose results are in DVC's cache alone."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_access.uri(project))
    SCORES_PLOT.write_bytes(b"a picture")
    CODE.parent.mkdir(parents=True)
    CODE.write_text("first = 1\n")
    lock()
    tree = YAML(typ="safe").load(Path("dvc.lock"))
    tree["stages"]["split"]["deps"] = [{"path": str(CODE), "md5": hashlib.md5(CODE.read_bytes()).hexdigest()}]
    YAML(typ="safe").dump(tree, Path("dvc.lock"))
    for path in mirror.results(Path()):
        kept(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, kept(path))
    git("init", "--quiet")
    Path(".gitignore").write_text("/artifacts\n/.cache\n/mlflow.db\n/mlruns\n/.dvc/cache\n/.dvc/tmp\n/.prefect\n")
    Path(".dvc/config").write_text("[core]\n    analytics = false\n")
    git("add", "--all")
    git("commit", "--quiet", "--message", "results")
    shutil.rmtree("artifacts")
    return project


def published(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["publish", *words])
        try:
            publish.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    said = capsys.readouterr()
    return code, " ".join((said.out + said.err).split())


def test_a_commit_s_results_are_published_once_and_with_where_they_were(
    committed: Path,
    client: MlflowClient,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    commit = git("rev-parse", "HEAD")
    code, told = published(capsys, "HEAD")
    assert (code, "HEAD: published as run" in told) == (0, True)
    (run,) = runs(client)
    assert short_of(run.info.run_name).endswith(f"Z-{commit[:7]}-published")
    assert run.info.start_time == int(git("show", "--no-patch", "--format=%ct")) * 1000
    assert (run.data.tags["git.commit"], run.data.tags["door"]) == (commit, "published")
    assert run.data.tags["published.from"].endswith(f"{committed}: commit {commit[:7]}, DVC's cache 10")
    assert run.data.metrics["score/mean"] == 60.0
    assert points(client, run.info.run_id, "loss/train") == [(1, 8.0), (2, 4.0)]
    git("commit", "--quiet", "--allow-empty", "--message", "x")
    assert "MLflow has these results already: run" in published(capsys, "HEAD~1..HEAD", "HEAD~1")[1]
    assert "MLflow has these results already: run" in published(capsys)[1], "of this folder, whose files are missing"
    assert len(runs(client)) == 1


def test_what_is_nowhere_is_named_and_added_once_it_is_found(
    committed: Path,
    client: MlflowClient,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    entries = YAML(typ="safe").load(Path("dvc.lock"))["stages"]["judge"]["outs"]
    (md5,) = [out["md5"] for out in entries if out["path"].endswith("verdicts.jsonl")]
    path = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
    path.rename("verdicts.away")
    told = published(capsys, "HEAD")[1]
    assert "in no file, cache or remote (none is set up), and so not in the run: artifacts/judge/verdicts.jsonl" in told
    assert published(capsys, "HEAD")[0] == 0
    (run,) = runs(client)
    assert run.data.tags["published.missing"] == "artifacts/judge/verdicts.jsonl"
    assert "verdicts.jsonl" not in {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "judge")}
    Path("verdicts.away").rename(path)
    assert published(capsys, "HEAD")[0] == 0
    (run,) = runs(client)
    assert "published.missing" not in run.data.tags
    assert "verdicts.jsonl" in {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "judge")}
    path.unlink()
    published(capsys, "HEAD")
    assert "published.missing" not in runs(client)[0].data.tags, "fewer results change nothing"


def test_results_that_are_lost_are_an_error_and_the_others_are_published(
    committed: Path,
    client: MlflowClient,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = git("rev-parse", "HEAD")
    tree = YAML(typ="safe").load(Path("dvc.lock"))
    for entry in tree["stages"].values():
        entry["outs"] = [out | {"md5": "0" * 32} for out in entry["outs"]]
    YAML(typ="safe").dump(tree, Path("dvc.lock"))
    git("commit", "--quiet", "--all", "--message", "lost")
    told = r"HEAD: its results are neither in files, nor in DVC's cache, nor in a remote \(none is set up\): artifacts/"
    with pytest.raises(DataError, match=told):
        published(capsys, "HEAD")
    code, told = published(capsys, "HEAD", first)
    assert code == 65
    assert "1 of 2 are in MLflow; what is wrong with the others is said above" in told
    assert len(runs(client)) == 1
    assert Revision("HEAD", first).text(Path(), Path("no file")) == ""
    with pytest.raises(ConfigError, match="nonsense: no git revision, DVC experiment or folder"):
        published(capsys, "nonsense")


def test_a_training_of_make_seeds_is_published_from_its_folder_and_the_cache(
    committed: Path,
    client: MlflowClient,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = Path(".cache/seeds/calm-otter/seed-7")
    at.mkdir(parents=True)
    for name in ("dvc.lock", "dvc.yaml", "params.yaml"):
        shutil.copy(name, at / name)
    assert published(capsys, str(at))[0] == 0
    (run,) = runs(client)
    assert (short_of(run.info.run_name), run.data.tags["git.commit"]) == ("calm-otter-seed-7", git("rev-parse", "HEAD"))
    (at / "params.yaml").unlink()
    client.delete_run(run.info.run_id)
    with pytest.raises(DataError, match=r"no params.yaml, so that its values are not known"):
        published(capsys, str(at))


@pytest.mark.slow
def test_what_the_cache_lacks_is_pulled_from_a_remote(
    committed: Path,
    client: MlflowClient,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    entries = YAML(typ="safe").load(Path("dvc.lock"))["stages"].items()
    stages = {name: {"cmd": name, "outs": [out["path"] for out in entry["outs"]]} for name, entry in entries}
    Path("dvc.yaml").write_text(json.dumps({"stages": stages}))
    store = committed.parent / "store"
    remote = "['remote \"store\"']\n    url = ../../store\n"
    Path(".dvc/config").write_text(f"[core]\n    analytics = false\n    remote = store\n{remote}")
    git("commit", "--quiet", "--all", "--message", "a remote")
    shutil.copytree(".dvc/cache/files", store / "files")
    shutil.rmtree(".dvc/cache")
    code, told = published(capsys, "HEAD")
    assert code == 0, told
    assert runs(client)[0].data.tags["published.from"].endswith(", a remote 10")
