"""A run that has succeeded is a version of the registered model, which points at what DVC has."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from stages.common.results.judge import JUDGE_METRICS
from stages.judge.runs import references
from stages.running.tracking import doors, published, registry, store, tracker
from tests.running.tracking import made

NAME = "instruct-pipeline-quick"


def keep_model(text: str = "weights") -> str:
    """Put a model into DVC's cache and name it in dvc.lock, as DVC does; returns its MD5."""

    def kept(content: str) -> str:
        md5 = hashlib.md5(content.encode()).hexdigest()
        path = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return md5

    listed = json.dumps([{"md5": kept(text), "relpath": "model.safetensors"}])
    md5 = kept(listed)
    entry = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
    entry.rename(entry.with_name(f"{entry.name}.dir"))
    tree = YAML(typ="safe").load(Path("dvc.lock"))
    tree["stages"]["finetune"] = {"cmd": "c", "outs": [{"path": "artifacts/finetune/model", "md5": f"{md5}.dir"}]}
    YAML(typ="safe").dump(tree, Path("dvc.lock"))
    return f"{md5}.dir"


def versions(client: MlflowClient) -> list[registry.Version]:
    found = client.search_model_versions(f"name = '{NAME}'")
    return sorted(map(registry.Version.of, found), key=lambda one: int(one.number))


def candidate(client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias(NAME, "candidate").version)


def test_a_success_is_a_version_that_names_the_weights_and_holds_none(
    project: Path, client: MlflowClient, tmp_path: Path
) -> None:
    md5 = keep_model()
    run_id = made.through_the_flow(project, {"finetune", "judge"})
    (version,) = versions(client)
    assert (version.run_id, version.tags["dvc.md5"], candidate(client)) == (run_id, md5, "1")
    found = client.get_model_version(NAME, "1")
    assert found.description == f"60.0 of 100 [55.0, 65.0]: {client.get_run(run_id).info.run_name}, judge reference"
    at = Path(_downloaded(client, found.source, tmp_path))
    files = {path.relative_to(at).as_posix() for path in at.rglob("*") if path.is_file()}
    assert {"MLmodel", "data/weights.json", "data/decoding.json", "code/pipeline.zip", "input_example.json"} <= files
    weights = json.loads((at / "data" / "weights.json").read_text())
    assert weights["digest"] == md5
    assert weights["files"] == {"model.safetensors": hashlib.md5(b"weights").hexdigest()}
    assert (weights["cache"], weights["project"]) == (str(project / ".dvc" / "cache"), str(project))
    with zipfile.ZipFile(at / "code" / "pipeline.zip") as archive:
        names = archive.namelist()
    assert "stages/generate/served.py" in names
    assert not [name for name in names if name.startswith("stages/running/")]


def _downloaded(client: MlflowClient, source: str, into: Path) -> str:
    import mlflow

    return str(mlflow.artifacts.download_artifacts(source, dst_path=str(into), tracking_uri=client.tracking_uri))


def test_results_that_have_a_version_get_no_other_one(project: Path, client: MlflowClient) -> None:
    keep_model()
    made.through_the_flow(project, {"judge"})
    made.through_the_flow(project, {"judge"})
    assert len(versions(client)) == 1
    keep_model("others")
    made.through_the_flow(project, {"finetune"})
    assert [one.number for one in versions(client)] == ["1", "2"]
    assert candidate(client) == "2"


def test_a_run_that_is_made_again_is_no_newer_candidate(project: Path, client: MlflowClient) -> None:
    keep_model("old")
    made.through_the_flow(project, {"judge"})
    keep_model("new")
    made.through_the_flow(project, {"judge"})
    for text in ("old", "old, on another machine"):
        keep_model(text)
        run_id = tracker.create_run(project, tags={"door": doors.RERUN})
        tracker.publish(project, run_id, ran={"finetune", "judge"})
        assert candidate(client) == "2"
    assert [one.number for one in versions(client)] == ["1", "2", "3"]


@pytest.mark.parametrize(("starts", "expected"), [((10, 20, 15), "2"), ((20, 10, 30), "3")])
def test_of_earlier_results_the_candidate_is_the_one_that_started_last(
    project: Path, client: MlflowClient, starts: tuple[int, ...], expected: str
) -> None:
    for start in starts:
        keep_model(str(start))
        run_id = store.create_from_files(client, project, {}, f"run-{start}", start)
        registry.register(client, run_id, project, ("published",), newest=False)
    assert candidate(client) == expected


def test_a_run_of_plain_dvc_is_a_version_too(project: Path, client: MlflowClient) -> None:
    keep_model()
    with tracker.stage("judge") as run:
        run.publish()
    assert len(versions(client)) == 1


def test_neither_a_run_without_scores_nor_one_that_scores_again_is_a_version(
    project: Path, client: MlflowClient
) -> None:
    keep_model()
    run_id = tracker.create_run(project, tags={"door": doors.RESCORED})
    tracker.publish(project, run_id, ran={"judge"})
    JUDGE_METRICS.unlink()
    made.through_the_flow(project, {"finetune"})
    assert client.search_registered_models() == []


def test_a_model_that_dvc_does_not_have_fails_no_run(
    project: Path, client: MlflowClient, capfd: pytest.CaptureFixture[str]
) -> None:
    keep_model()
    shutil.rmtree(".dvc")
    run_id = made.through_the_flow(project, {"judge"})
    assert client.get_run(run_id).info.status == "FINISHED"
    told = "tracking: the model is not in MLflow's registry: .dvc/cache: DVC's cache does not have artifacts/finetune/"
    assert told in " ".join(capfd.readouterr().out.split())


def test_a_registered_model_that_was_deleted_is_made_again(project: Path, client: MlflowClient) -> None:
    keep_model()
    run_id = tracker.create_run(project)
    assert run_id is not None
    made.through_the_flow(project, {"judge"})
    client.delete_registered_model(NAME)
    registry.register(client, run_id, project, {"judge"})
    assert candidate(client) == "1"


@pytest.mark.parametrize(("profile", "name"), [("quick", NAME), ("a/b: c", "instruct-pipeline-a-b-c")])
def test_the_registered_model_has_a_name_that_mlflow_takes(profile: str, name: str) -> None:
    assert registry.name_of(profile) == name


def test_a_run_is_compared_with_the_champion_unless_it_is_that(project: Path, client: MlflowClient) -> None:
    keep_model()
    run_id = made.through_the_flow(project, {"finetune", "judge"})
    assert references.champion(project, project) is None
    (version,) = versions(client)
    registry.crown(project, version)
    assert references.champion(project, project) is None, "it is the run itself"
    published.keep(project, "0" * 32, "another", made_here=True)
    found = references.champion(project, project)
    assert found is not None
    assert (found.run, found.words) == (run_id, f"the champion, {NAME} 1")
