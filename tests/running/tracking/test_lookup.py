"""Runs of MLflow by their names, by the beginnings of these, and by names that are almost theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.common.errors import ConfigError
from stages.running.tracking import lookup, mlflow_experiment, store


@pytest.fixture
def ids(project: Path, client: MlflowClient) -> dict[str, str]:
    """The ids of some runs by name: calm-otter has two trainings, and one name belongs to two runs."""
    experiment = mlflow_experiment.ensured(client, "quick", project)
    found: dict[str, str] = {}
    for name in ("calm-otter", "dizzy-moth", "dizzy-moose", "dizzy-moose", "under_score", "underXscore-2"):
        found[name] = client.create_run(experiment, run_name=name).info.run_id
    for number in (1, 2):
        client.create_run(experiment, run_name=f"calm-otter-{number}", tags={store.PARENT: found["calm-otter"]})
    return found


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("calm-otter", "calm-otter"),
        ("calm", "calm-otter"),
        ("calm-o…", "calm-otter"),
        ("calm-otter-", None),
        ("calm-otter-2", "calm-otter-2"),
        ("dizzy-moo", "dizzy-moose"),
        ("under_", "under_score"),
        ("dizzy-moth-3", None),
        ("cal", None),
        ("it's", None),
        ("%%%%", None),
    ],
)
def test_a_run_is_known_by_the_beginning_that_only_its_name_has(
    project: Path, ids: dict[str, str], given: str, full: str | None
) -> None:
    if given == "calm-otter-":  # of its two trainings
        with pytest.raises(ConfigError, match="calm-otter-: 2 MLflow runs begin so: calm-otter-2, calm-otter-1"):
            lookup.full_name(project, given)
    else:
        assert lookup.full_name(project, given) == full


@pytest.mark.parametrize(
    ("status", "ended", "told"),
    [
        ("FINISHED", "", "it does not hold judge/verdicts.jsonl"),
        ("KILLED", "judge: SIGTERM", "it was stopped before its end (judge: SIGTERM), and it does not hold "),
        ("FAILED", "finetune: loss is nan", "it failed (finetune: loss is nan), and it does not hold "),
        ("FAILED", "FAILED", "it failed, and it does not hold "),
        (None, "", "it has not ended yet, and it does not hold "),
    ],
)
def test_a_run_that_lacks_a_file_says_how_it_ended(
    project: Path, client: MlflowClient, ids: dict[str, str], status: str | None, ended: str, told: str
) -> None:
    if ended:
        client.set_tag(ids["calm-otter"], store.ENDED, ended)
    if status:
        client.set_terminated(ids["calm-otter"], status)
    with pytest.raises(ConfigError) as caught:
        lookup.download(project, "calm-otter", ["judge/verdicts.jsonl"], project)
    assert caught.value.what.startswith(f"MLflow run calm-otter: {told}")
    assert caught.value.fix == "name another run: make runs lists them"


def test_a_run_is_known_by_the_first_digits_of_its_id(project: Path, ids: dict[str, str]) -> None:
    whole = ids["dizzy-moth"]
    assert (lookup.full_name(project, whole), lookup.full_name(project, whole[:12])) == (whole, whole)


def test_the_beginning_of_several_names_is_refused_with_them(project: Path, ids: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"dizzy: 2 MLflow runs begin so: dizzy-moose, dizzy-moth") as caught:
        lookup.full_name(project, "dizzy")
    assert caught.value.fix == "write more of the name"


def test_the_nearest_name_is_told_of_a_name_that_no_run_has(project: Path, ids: dict[str, str]) -> None:
    assert lookup.did_you_mean(project, "clam-otter") == "; did you mean calm-otter?"
    assert lookup.did_you_mean(project, "tidy-mouse", ["tidy-mouse-1"]) == "; did you mean tidy-mouse-1?"
    assert lookup.did_you_mean(project, "zzzz") == ""


def test_without_a_store_there_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert lookup.full_name(tmp_path, "calm-otter") is None
    assert lookup.did_you_mean(tmp_path, "clam", ["calm"]) == "; did you mean calm?"
