"""The champion moves by the test that allows for training seeds, or by hand, and says why."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from flows import promote
from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.files import write_jsonl
from stages.common.results.judge import VERDICTS
from stages.params import reading
from stages.running.tracking import registry, tracker
from stages.running.tracking.store import PARENT
from tests.running.tracking.conftest import client, empty_database, project  # noqa: F401
from tests.running.tracking.test_registry import keep_model

pytestmark = pytest.mark.thorough
NAME = "instruct-pipeline-quick"
ROWS = 20


def trained(name: str, mean: float, *, seed: int, epochs: int, parent: str = "") -> str:
    """A training in MLflow, whose answers have scores around a mean."""
    params = YAML(typ="safe").load(Path("params.yaml"))
    params["finetune"] |= {"seed": seed, "epochs": epochs}
    YAML(typ="safe").dump(params, Path("params.yaml"))
    draws = np.random.default_rng([seed, epochs])
    rows = np.random.default_rng(0).normal(0, 5, ROWS)
    scores = 50 + mean + rows + draws.normal(0, 1) + draws.normal(0, 2, ROWS)
    scored = {"model": "tuned", "status": "scored", "detail": ""}
    rated = enumerate(map(float, scores))
    write_jsonl(VERDICTS, [scored | {"id": f"r{row}", "score": score, "cluster": f"c{row}"} for row, score in rated])
    keep_model(name)
    tree = YAML(typ="safe").load(Path("dvc.lock"))
    plain = reading.plain(params)
    for stage in ("download", "split", "tokenize", "finetune", "generate"):
        tree["stages"].setdefault(stage, {"cmd": stage})["params"] = {"params.yaml": {stage: plain[stage]}}
    tree["stages"]["generate"]["deps"] = [{"path": "artifacts/split/test.jsonl", "md5": "7e57" * 8}]
    YAML(typ="safe").dump(tree, Path("dvc.lock"))
    run_id = tracker.create_run(Path(), name=name, tags={PARENT: parent} if parent else {})
    assert run_id is not None
    tracker.publish(Path(), run_id, ran={"finetune", "judge"})
    tracker.end(run_id, "FINISHED")
    return run_id


def promoted(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code and the output of the command."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["promote", *arguments])
        patch.setenv("MLFLOW_TRACKING_URI", tracker.uri(Path.cwd()))
        try:
            promote.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    return code, capsys.readouterr().out


def champion(client: MlflowClient) -> Any:  # noqa: F811
    return client.get_model_version_by_alias(NAME, "champion")


def test_the_champion_is_granted_kept_moved_and_explained(
    project: Path,  # noqa: F811
    client: MlflowClient,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained("first-otter", 0, seed=1, epochs=1)
    code, told = promoted(capsys)
    assert (code, champion(client).version) == (0, 1)
    assert "version 1 is the champion: granted without a test, since there was no champion" in told
    assert "is the champion already" in promoted(capsys)[1]

    trained("lucky-newt", 30, seed=1, epochs=2)
    code, told = promoted(capsys)
    assert (code, champion(client).version) == (1, 1)
    assert "the champion stays, version 1, run first-otter: the candidate scores higher; one training each" in told
    assert re.search(r"several trainings of the champion's recipe, at commit \w+: python -m flows\.seeds 5", told), told
    refused = client.get_model_version(NAME, "2").tags
    assert (refused["promotion.asked.decision"], refused["promotion.asked.against"]) == (
        "refused",
        "version 1, run first-otter",
    )

    code, told = promoted(capsys, "lucky-newt", "--by-hand", "the customer wants it")
    assert (code, champion(client).version) == (0, 2)
    assert "the customer wants it; this overrides: the candidate scores higher" in told
    by_hand = champion(client).tags
    assert (by_hand["promotion.crowned.decision"], by_hand["promotion.crowned.by_hand"]) == (
        "by hand",
        "the customer wants it",
    )

    for seed in (2, 3, 4):
        trained(f"lucky-newt-{seed}", 30, seed=seed, epochs=2)
        trained(f"strong-moth-{seed}", 60, seed=seed, epochs=3)
    code, told = promoted(capsys, "strong-moth-2")
    assert code == 0, told
    assert "the candidate is better; it rests on 4 and 3 trainings" in told
    tags = champion(client).tags
    assert (tags["promotion.crowned.decision"], tags["promotion.crowned.trainings"]) == (
        "promoted",
        "4 of the champion, 3 of the candidate",
    )
    assert 20 < float(tags["promotion.crowned.ci95_low"]) < float(tags["promotion.crowned.difference"]) < 40
    told = promoted(capsys, "--why")[1]
    assert "run strong-moth-2" in told
    assert "decision    promoted" in told
    assert "test        Student's t over seeds and instructions, on " in told
    assert "against     version 2, run lucky-newt" in told
    minus = r"difference  \+3\d\.\d points \[\+2\d\.\d, \+3\d\.\d\], the candidate minus the champion; p 0\.0\d+"
    assert re.search(minus, told), told
    assert "judge       built-in reference judge, fingerprint ab12\n" in told
    assert "decision    by hand" in promoted(capsys, "lucky-newt", "--why")[1]


def test_the_champion_is_that_of_the_run_s_own_profile(
    project: Path,  # noqa: F811
    client: MlflowClient,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained("first-otter", 30, seed=1, epochs=1)
    assert promoted(capsys)[0] == 0
    trained("worse-newt", 0, seed=1, epochs=2)
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("profile: quick", "profile: other"))
    assert "profile: other" in params.read_text()
    code, told = promoted(capsys, "worse-newt")
    assert (code, champion(client).version) == (1, 1), told
    assert "the champion stays, version 1" in told


def test_a_later_decision_leaves_nothing_of_an_earlier_one(
    project: Path,  # noqa: F811
    client: MlflowClient,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = trained("first-otter", 0, seed=1, epochs=1)
    trained("other-newt", 30, seed=1, epochs=2)
    told = promoted(capsys, "first-otter", "--by-hand", "the paper has it")[1]
    assert "by hand     the paper has it\n" in told, "nothing is overridden"
    assert promoted(capsys, "other-newt")[0] == 1
    assert client.get_model_version(NAME, "2").tags["promotion.asked.rows"] == "20"
    client.delete_run(first)
    client._tracking_client.store._hard_delete_run(first)
    assert promoted(capsys, "other-newt", "--by-hand", "the first is gone")[0] == 0
    tags = champion(client).tags
    assert {tags[f"promotion.asked.{name}"] for name in ("rows", "difference", "p", "ci95_low")} == {""}


def test_a_refused_request_does_not_change_how_a_version_became_champion(
    project: Path,  # noqa: F811
    client: MlflowClient,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained("first-otter", 0, seed=1, epochs=1)
    trained("other-newt", 30, seed=1, epochs=2)
    assert promoted(capsys, "first-otter", "--by-hand", "the paper has it")[0] == 0
    assert promoted(capsys, "other-newt", "--by-hand", "a trial")[0] == 0
    assert promoted(capsys, "first-otter")[0] == 1
    assert "decision    refused" in promoted(capsys, "first-otter", "--why")[1]
    client.set_registered_model_alias(NAME, "champion", "1")
    told = promoted(capsys, "--why")[1]
    assert "decision    first champion" in told
    assert "by hand     the paper has it" in told


def test_no_tag_says_that_a_version_is_champion_where_mlflow_did_not_take_the_alias(
    project: Path,  # noqa: F811
    client: MlflowClient,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def down(*_: object) -> None:
        raise ServiceUnavailable("MLflow: refused")

    trained("first-otter", 0, seed=1, epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(registry, "crown", down)
        with pytest.raises(ServiceUnavailable):
            promoted(capsys)
    assert not [name for name in client.get_model_version(NAME, "1").tags if name.startswith("promotion.")]
    with monkeypatch.context() as patch:
        patch.setattr(registry, "tag", down)
        with pytest.raises(ServiceUnavailable, match="is the champion, but its tags do not say why"):
            promoted(capsys)
    assert "not known: it has the alias champion" in promoted(capsys, "--why")[1]


def test_a_run_of_make_seeds_stands_for_its_first_training(
    project: Path,  # noqa: F811
    client: MlflowClient,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    parent = tracker.create_run(project, name="dizzy-moth", without=["finetune.seed"])
    assert parent is not None
    for seed in (8, 7):
        trained(f"dizzy-moth-seed-{seed}", 10, seed=seed, epochs=1, parent=parent)
    tracker.end(parent, "FINISHED")
    assert promoted(capsys, "dizzy-moth")[0] == 0
    assert champion(client).tags["run"] == "dizzy-moth-seed-7"
    assert champion(client).tags["promotion.crowned.trainings"] == "2 trainings"


def test_what_has_no_version_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    with pytest.raises(ConfigError, match="candidate: instruct-pipeline-quick has no version with this alias"):
        promoted(capsys)
    with pytest.raises(ConfigError, match="instruct-pipeline-quick has no champion yet"):
        promoted(capsys, "--why")
    with pytest.raises(ConfigError, match="nobody: no such MLflow run"):
        promoted(capsys, "nobody")
    tracker.end(tracker.create_run(project, name="calm-otter"), "FINISHED")
    with pytest.raises(ConfigError, match="calm-otter: its model is not in the registry"):
        promoted(capsys, "calm-otter")
    with pytest.raises(ConfigError, match="--by-hand: expected a reason, found nothing"):
        promoted(capsys, "--by-hand", " ")
