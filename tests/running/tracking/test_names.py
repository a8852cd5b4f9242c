"""The names of runs: what differs from the commit, and a short name."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from stages.params import whole
from stages.running.tracking import lookup, names, tracker
from tests.root import ROOT


def git(*arguments: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    return subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    shutil.copytree(ROOT / "profiles", "profiles")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "x")
    return tmp_path


def values(**changes: Any) -> dict[str, Any]:
    tree = whole.load(ROOT / "params.yaml").model_dump()
    for key, value in changes.items():
        section, _, name = key.partition("__")
        tree[section][name] = value
    return tree


def named(root: Path, tree: dict[str, Any]) -> str:
    return names.full(names.differing(root, "HEAD", tree), tree, "calm-otter")


def test_a_run_with_the_commit_s_values_has_the_name_of_its_profile(repository: Path) -> None:
    assert named(repository, values()) == "quick (calm-otter)"


def test_what_differs_comes_first_with_keys_as_short_as_they_can_be(repository: Path) -> None:
    tree = values(finetune__epochs=2, finetune__learning_rate=0.002)
    assert named(repository, tree) == "epochs=2 lr=0.002 (calm-otter)"
    # Several sections have a seed.
    assert named(repository, values(finetune__seed=124)) == "finetune.seed=124 (calm-otter)"
    assert named(repository, values(finetune__seed=7, finetune__epochs=1)) == "epochs=1 finetune.seed=7 (calm-otter)"


def test_a_profile_is_its_name_and_what_differs_from_its_file(repository: Path) -> None:
    tree = whole.load(ROOT / "params.yaml").model_dump()
    names.reading.merge(tree, names._profile(ROOT, "gpt2-medium"))
    assert named(repository, tree) == "gpt2-medium (calm-otter)"
    tree["finetune"]["epochs"] = 9
    assert named(repository, tree) == "gpt2-medium epochs=9 (calm-otter)"


def test_what_does_not_fit_is_counted_and_is_in_the_tag(repository: Path) -> None:
    tree = values(finetune__epochs=2, finetune__batch_size=8, finetune__warmup_steps=7, generate__max_new_tokens=99)
    tree["download"]["data"]["source"] = "data/" + "x" * 40
    found = names.differing(repository, "HEAD", tree)
    assert found is not None
    assert names.full(found, tree, "calm-otter") == ("data.source=data/xxxxxxxxxxxxxxxx... epochs=2 +3 (calm-otter)")
    assert names.in_words(found, tree).endswith(" warmup_steps=7 max_new_tokens=99")


def test_without_a_commit_nothing_is_said_to_differ(repository: Path) -> None:
    assert names.differing(repository, "", values()) is None
    assert names.full(None, values(), "20261128T004407Z") == "quick (20261128T004407Z)"


def test_a_value_with_control_characters_changes_no_terminal(repository: Path) -> None:
    tree = values()
    tree["download"]["data"]["source"] = "\x1b[31mred"
    assert "\x1b" not in named(repository, tree)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("epochs=2 lr=0.002 (calm-otter)", "calm-otter"),
        ("quick (to cancel)", "to cancel"),
        ("calm-otter", "calm-otter"),
        ("a (b) c", "a (b) c"),
    ],
)
def test_the_short_name_is_what_the_name_ends_with(name: str, short: str) -> None:
    assert names.short_of(name) == short


def test_a_run_is_found_by_its_name_its_short_name_and_the_beginning_of_either(
    project: Path, client: MlflowClient
) -> None:
    ours = tracker.create_run(project, name="calm-otter")
    other = tracker.create_run(project, name="calm_otter2")
    for name in ("quick (calm-otter)", "calm-otter"):
        assert lookup.full_name(project, name) == name
        assert lookup.id_of(project, name) == ours
    assert lookup.full_name(project, "calm-") == "calm-otter"
    assert lookup.id_of(project, "calm_otter2") == other
    assert lookup.did_you_mean(project, "calm-ottr") == "; did you mean calm-otter?"
    with pytest.raises(Exception, match=r"calm: 2 MLflow runs begin so: calm_otter2, calm-otter"):
        lookup.full_name(project, "calm")
    with pytest.raises(Exception, match="quick: 2 MLflow runs begin so"):
        lookup.full_name(project, "quick")
