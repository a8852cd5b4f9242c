"""The champion moves by the test that allows for training seeds, or by hand, and says why."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from flows import promote
from stages.common.errors import ConfigError, ServiceUnavailable, TemporaryFailure
from stages.common.files import write_jsonl
from stages.common.results.judge import VERDICTS
from stages.params import reading
from stages.running.tracking import mlflow_access, registry, tracker
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


@dataclass(frozen=True)
class Models:
    """The registered models of a project, and the command that moves the champion."""

    project: Path
    client: MlflowClient
    capsys: pytest.CaptureFixture[str]

    def promote(self, *arguments: str) -> tuple[int, str]:
        """The exit code and the output of the command."""
        self.capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["promote", *arguments])
            patch.setenv("MLFLOW_TRACKING_URI", mlflow_access.uri(Path.cwd()))
            try:
                promote.main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return code, self.capsys.readouterr().out

    @property
    def champion(self) -> Any:
        return self.client.get_model_version_by_alias(NAME, "champion")


@pytest.fixture
def models(project: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> Models:  # noqa: F811
    return Models(project, client, capsys)


def test_the_champion_is_granted_kept_moved_and_explained(models: Models) -> None:
    trained("first-otter", 0, seed=1, epochs=1)
    code, told = models.promote()
    assert (code, models.champion.version) == (0, 1)
    assert "version 1 is the champion: granted without a test, since there was no champion" in told
    assert "is the champion already" in models.promote()[1]

    trained("lucky-newt", 30, seed=1, epochs=2)
    code, told = models.promote()
    assert (code, models.champion.version) == (1, 1)
    assert "the champion stays, version 1, run first-otter: the candidate scores higher; one training each" in told
    assert re.search(r"several trainings of the champion's recipe, at commit \w+: python -m flows\.seeds 5", told), told
    refused = models.client.get_model_version(NAME, "2").tags
    assert (refused["promotion.asked.decision"], refused["promotion.asked.against"]) == (
        "refused",
        "version 1, run first-otter",
    )

    code, told = models.promote("lucky-newt", "--by-hand", "the customer wants it")
    assert (code, models.champion.version) == (0, 2)
    assert "the customer wants it; this overrides: the candidate scores higher" in told
    by_hand = models.champion.tags
    assert (by_hand["promotion.crowned.decision"], by_hand["promotion.crowned.by_hand"]) == (
        "by hand",
        "the customer wants it",
    )

    for seed in (2, 3, 4):
        trained(f"lucky-newt-{seed}", 30, seed=seed, epochs=2)
        trained(f"strong-moth-{seed}", 60, seed=seed, epochs=3)
    code, told = models.promote("strong-moth-2")
    assert code == 0, told
    assert "the candidate is better; it rests on 4 and 3 trainings" in told
    tags = models.champion.tags
    assert (tags["promotion.crowned.decision"], tags["promotion.crowned.trainings"]) == (
        "promoted",
        "4 of the champion, 3 of the candidate",
    )
    assert 20 < float(tags["promotion.crowned.ci95_low"]) < float(tags["promotion.crowned.difference"]) < 40
    told = models.promote("--why")[1]
    assert "run strong-moth-2" in told
    assert "decision    promoted" in told
    assert "test        Student's t over seeds and instructions, on " in told
    assert "against     version 2, run lucky-newt" in told
    minus = r"difference  \+3\d\.\d points \[\+2\d\.\d, \+3\d\.\d\], the candidate minus the champion; p 0\.0\d+"
    assert re.search(minus, told), told
    assert "judge       built-in reference judge, fingerprint ab12\n" in told
    assert "decision    by hand" in models.promote("lucky-newt", "--why")[1]


def test_the_champion_is_that_of_the_run_s_own_profile(models: Models) -> None:
    trained("first-otter", 30, seed=1, epochs=1)
    assert models.promote()[0] == 0
    trained("worse-newt", 0, seed=1, epochs=2)
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("profile: quick", "profile: other"))
    assert "profile: other" in params.read_text()
    code, told = models.promote("worse-newt")
    assert (code, models.champion.version) == (1, 1), told
    assert "the champion stays, version 1" in told


def test_a_later_decision_leaves_nothing_of_an_earlier_one(models: Models) -> None:
    first = trained("first-otter", 0, seed=1, epochs=1)
    trained("other-newt", 30, seed=1, epochs=2)
    told = models.promote("first-otter", "--by-hand", "the paper has it")[1]
    assert "by hand     the paper has it\n" in told, "nothing is overridden"
    assert models.promote("other-newt")[0] == 1
    assert models.client.get_model_version(NAME, "2").tags["promotion.asked.rows"] == "20"
    models.client.delete_run(first)
    models.client._tracking_client.store._hard_delete_run(first)
    assert models.promote("other-newt", "--by-hand", "the first is gone")[0] == 0
    tags = models.champion.tags
    assert {tags[f"promotion.asked.{name}"] for name in ("rows", "difference", "p", "ci95_low")} == {""}


def test_a_refused_request_does_not_change_how_a_version_became_champion(models: Models) -> None:
    trained("first-otter", 0, seed=1, epochs=1)
    trained("other-newt", 30, seed=1, epochs=2)
    assert models.promote("first-otter", "--by-hand", "the paper has it")[0] == 0
    assert models.promote("other-newt", "--by-hand", "a trial")[0] == 0
    assert models.promote("first-otter")[0] == 1
    assert "decision    refused" in models.promote("first-otter", "--why")[1]
    models.client.set_registered_model_alias(NAME, "champion", "1")
    told = models.promote("--why")[1]
    assert "decision    first champion" in told
    assert "by hand     the paper has it" in told


def test_no_tag_says_that_a_version_is_champion_where_mlflow_did_not_take_the_alias(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise ServiceUnavailable("MLflow: refused")

    trained("first-otter", 0, seed=1, epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(registry, "crown", down)
        with pytest.raises(ServiceUnavailable):
            models.promote()
    assert not [name for name in models.client.get_model_version(NAME, "1").tags if name.startswith("promotion.")]
    with monkeypatch.context() as patch:
        patch.setattr(registry, "tag", down)
        with pytest.raises(ServiceUnavailable, match="is the champion, but its tags do not say why"):
            models.promote()
    assert "not known: it has the alias champion" in models.promote("--why")[1]


@pytest.mark.parametrize("by_hand", [(), ("--by-hand", "the customer wants it")])
def test_a_champion_that_another_process_moves_meanwhile_stays(
    models: Models, monkeypatch: pytest.MonkeyPatch, by_hand: tuple[str, ...]
) -> None:
    trained("first-otter", 0, seed=1, epochs=1)
    assert models.promote()[0] == 0
    for seed in (2, 3, 4):
        trained(f"first-otter-{seed}", 0, seed=seed, epochs=1)
        trained(f"strong-moth-{seed}", 60, seed=seed, epochs=3)
    decide = promote.promotion.decide

    def slowly(*given: Any, **named: Any) -> Any:
        models.client.set_registered_model_alias(NAME, "champion", "3")
        return decide(*given, **named)

    monkeypatch.setattr(promote.promotion, "decide", slowly)
    with pytest.raises(TemporaryFailure) as refused:
        models.promote("strong-moth-4", *by_hand)
    assert models.champion.version == 3
    assert refused.value.what == (
        f"{NAME}: expected its champion to be the one that this was decided against, version 1, run first-otter; "
        "found version 3, run strong-moth-2: it was changed meanwhile, and nothing is done"
    )
    assert refused.value.fix == "run the same command again"
    assert "promotion.asked.decision" not in models.client.get_model_version(NAME, "7").tags


def test_a_run_of_make_seeds_stands_for_its_first_training(models: Models) -> None:
    parent = tracker.create_run(models.project, name="dizzy-moth", without=["finetune.seed"])
    assert parent is not None
    for seed in (8, 7):
        trained(f"dizzy-moth-seed-{seed}", 10, seed=seed, epochs=1, parent=parent)
    tracker.end(parent, "FINISHED")
    assert models.promote("dizzy-moth")[0] == 0
    assert models.champion.tags["run"] == "dizzy-moth-seed-7"
    assert models.champion.tags["promotion.crowned.trainings"] == "2 trainings"


def test_what_has_no_version_is_refused(models: Models) -> None:
    with pytest.raises(ConfigError, match="candidate: instruct-pipeline-quick has no version with this alias"):
        models.promote()
    with pytest.raises(ConfigError, match="instruct-pipeline-quick has no champion yet"):
        models.promote("--why")
    with pytest.raises(ConfigError, match="nobody: no such MLflow run"):
        models.promote("nobody")
    tracker.end(tracker.create_run(models.project, name="calm-otter"), "FINISHED")
    with pytest.raises(ConfigError, match="calm-otter: its model is not in the registry"):
        models.promote("calm-otter")
    with pytest.raises(ConfigError, match="--by-hand: expected a reason, found nothing"):
        models.promote("--by-hand", " ")
    with pytest.raises(ConfigError, match="--by-hand: not allowed with argument --why"):
        models.promote("--why", "--by-hand", "the customer wants it")
