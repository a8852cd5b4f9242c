"""Profiles over params.yaml: values, comments, and refusals that leave the file as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from flows import profile
from flows.overrides import Overrides
from stages.common import params
from stages.common.errors import ConfigError
from tests.flow_project import REPO


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_bytes((REPO / "params.yaml").read_bytes())
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "tiny.yaml").write_text("profile: tiny\nfinetune:\n  epochs: 2\n  learning_rate: 5e-5\n")
    (tmp_path / "profiles" / "wrong.yaml").write_text("finetune:\n  epoch: 2\n")
    return tmp_path


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.profile", *arguments],
        cwd=root,
        env={"PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_values_change_and_everything_else_stays(root: Path) -> None:
    before = (root / "params.yaml").read_text().splitlines()
    done = run(root, "tiny")
    assert done.returncode == 0, done.stderr
    after = (root / "params.yaml").read_text().splitlines()
    assert [new for old, new in zip(before, after, strict=True) if old != new] == [
        "profile: tiny",
        "  epochs: 2",
        "  learning_rate: 5e-5",
    ]
    old = params.flatten(params.read_yaml(REPO / "params.yaml"))
    assert done.stdout.splitlines() == [
        f"profile                 {old['profile']} -> tiny",
        f"finetune.epochs         {old['finetune.epochs']} -> 2",
        f"finetune.learning_rate  {old['finetune.learning_rate']} -> 5e-05",
    ]


def test_a_second_time_changes_nothing(root: Path) -> None:
    run(root, "tiny")
    before = (root / "params.yaml").stat().st_mtime_ns
    assert run(root, "tiny").stdout == "params.yaml has the values of tiny already\n"
    assert (root / "params.yaml").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tini", "profile: tini: no such profile; there are tiny, wrong\n  to mend it: ls profiles\n"),
        ("wrong", "finetune.epoch: unknown key; did you mean finetune.epochs?"),
        ("../params", "../params: no such profile"),
    ],
)
def test_a_wrong_profile_leaves_the_file_as_it_was(root: Path, name: str, message: str) -> None:
    before = (root / "params.yaml").read_bytes()
    done = run(root, name)
    assert done.returncode == 78
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert (root / "params.yaml").read_bytes() == before


def test_the_projects_own_profiles_are_valid() -> None:
    assert {"quick", "gpt2-medium"} <= set(profile.known(REPO))
    for name in profile.known(REPO):
        profile.overlaid(REPO, name, {})


def test_overrides_go_over_the_profile(root: Path) -> None:
    tree = profile.overlaid(root, "tiny", {"finetune.epochs": 7, "judge.seed": 9})
    checked = params.check(tree)
    assert (checked.profile, checked.finetune.epochs, checked.judge.seed) == ("tiny", 7, 9)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=3", 3),
        ("a.b=5e-5", 5e-5),
        ("a.b=null", None),
        ("a.b=[tuned]", ["tuned"]),
        ("a.b=x=y", "x=y"),
        ("a.b=", None),
    ],
)
def test_an_override_is_what_it_looks_like(text: str, value: object) -> None:
    assert profile.parse_override(text) == ("a.b", value)


@pytest.mark.parametrize("text", ["a.b", "=3", "a.b=[1"])
def test_a_malformed_override_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        profile.parse_override(text)


def test_dotted_keys_become_nested_ones() -> None:
    assert profile.nested({"a.b": 1, "a.c": 2, "d": 3}) == {"a": {"b": 1, "c": 2}, "d": 3}


def test_typed_overrides_hold_what_was_given_and_nothing_else() -> None:
    made = Overrides.model_validate(
        {"finetune.epochs": 3, "finetune": {"max_steps": None}, "generate.models": ["tuned"]}
    )

    assert made.tree() == {"finetune": {"epochs": 3, "max_steps": None}, "generate": {"models": ["tuned"]}}
    assert Overrides().tree() == {}


@pytest.mark.parametrize(
    "wrong", [{"finetune.epochs": 0}, {"finetune.epochs": "3"}, {"finetune": {"epoch": 3}}, {"x": 1}]
)
def test_typed_overrides_refuse_what_params_yaml_would(wrong) -> None:
    with pytest.raises(ValidationError):
        Overrides.model_validate(wrong)


def test_every_value_of_params_yaml_can_be_overridden() -> None:
    tree = params.flatten(YAML(typ="safe").load(REPO / "params.yaml"))

    assert params.flatten(Overrides.model_validate(tree).tree()) == tree
