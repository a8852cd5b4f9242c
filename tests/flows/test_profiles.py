"""Profiles over params.yaml: values, comments, and refusals that leave the file as it was."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from pydantic import ValidationError
from ruamel.yaml import YAML

from flows import profiles
from flows.overrides import FlowOverrides, Overrides
from stages.common.errors import ConfigError
from stages.params import reading, whole
from tests.root import ROOT


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "tiny.yaml").write_text("profile: tiny\nfinetune:\n  epochs: 2\n  learning_rate: 5e-5\n")
    (tmp_path / "profiles" / "wrong.yaml").write_text("finetune:\n  epoch: 2\n")
    return tmp_path


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.profiles", *arguments],
        cwd=root,
        env={"PYTHONPATH": str(ROOT)},
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
        "  learning_rate: 5e-05",
    ]
    old = reading.flatten(reading.read_yaml(ROOT / "params.yaml"))
    assert done.stdout.splitlines() == [
        f"profile                 {old['profile']} -> tiny",
        f"finetune.epochs         {old['finetune.epochs']} -> 2",
        f"finetune.learning_rate  {old['finetune.learning_rate']} -> 5e-05",
    ]


def changed_lines(before: str, after: str) -> list[str]:
    return [new for old, new in zip(before.splitlines(), after.splitlines(), strict=True) if old != new]


def test_params_yaml_has_the_form_that_dvc_writes(root: Path) -> None:
    """`dvc exp run -S` writes it by these functions of DVC."""
    path = root / "params.yaml"
    before = path.read_text()

    apply_overrides(path, ["judge.seed=124"])
    assert changed_lines(before, path.read_text()) == ["  seed: 124"]
    apply_overrides(path, ["judge.seed=123"])
    assert path.read_text() == before


@pytest.mark.parametrize("name", profiles.known(ROOT))
def test_a_profile_keeps_that_form(root: Path, name: str) -> None:
    shutil.copy(ROOT / "profiles" / f"{name}.yaml", root / "profiles")
    run(root, name)
    before = (root / "params.yaml").read_text()
    apply_overrides(root / "params.yaml", ["judge.seed=124"])

    assert changed_lines(before, (root / "params.yaml").read_text()) == ["  seed: 124"]
    assert before.count("#") == (ROOT / "params.yaml").read_text().count("#")


def test_no_comment_is_lost_where_dvc_writes_a_list_and_writes_again(root: Path) -> None:
    path = root / "params.yaml"
    comments = [line for line in path.read_text().splitlines() if line.strip().startswith("#")]
    lists = ["finetune.lora={rank: 4, alpha: 8, targets: [c_attn]}", "generate.models=[tuned]"]

    for override in [*lists, "judge.seed=124", "judge.seed=125", "finetune.lora=null", "judge.seed=126"]:
        apply_overrides(path, [override])

    assert [line for line in path.read_text().splitlines() if line.strip().startswith("#")] == comments


def test_a_second_time_changes_nothing(root: Path) -> None:
    run(root, "tiny")
    before = (root / "params.yaml").stat().st_mtime_ns
    assert run(root, "tiny").stdout == "params.yaml has the values of tiny already\n"
    assert (root / "params.yaml").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tini", "profile: tini: no such profile; there are tiny, wrong\n  to fix it: ls profiles\n"),
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
    assert {"quick", "gpt2-medium"} <= set(profiles.known(ROOT))
    for name in profiles.known(ROOT):
        profiles.overlaid(ROOT, name, {})


def test_overrides_go_over_the_profile(root: Path) -> None:
    tree = profiles.overlaid(root, "tiny", {"finetune.epochs": 7, "judge.seed": 9})
    checked = whole.check(tree)
    assert (checked.profile, checked.finetune.epochs, checked.judge.seed) == ("tiny", 7, 9)


@pytest.mark.parametrize(
    ("name", "given", "fix"),
    [
        ("current", {"judge.seed": -1}, "--set judge.seed=..."),
        ("current", {"judge": {"seed": -1}, "split.seed": 1}, "--set judge.seed=..."),
        ("current", {"judge": 3}, "--set judge=..."),
        ("current", {"jugde.seed": 1}, "--set jugde.seed=..."),
        (
            "current",
            {"finetune.lora": {"rank": 0, "alpha": 1.0, "targets": ["c_attn"]}},
            "--set finetune.lora.rank=...",
        ),
        # alpha and targets are missing, and params.yaml itself has no LoRA
        ("current", {"finetune.lora.rank": 4}, "--set finetune.lora.rank=..."),
        ("current", {"finetune.accumulate": 999, "finetune.epochs": 3}, "--set finetune.accumulate=..."),
        ("current", {"tokenize.context_length": 4096}, "--set tokenize.context_length=..."),
        ("wrong", {"judge.seed": 1}, "profiles/wrong.yaml"),
        ("wrong", {"judge.seed": -1}, "profiles/wrong.yaml, --set judge.seed=..."),
    ],
)
def test_what_gave_a_wrong_value_is_named(root: Path, name: str, given: dict[str, Any], fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        profiles.overlaid(root, name, given)
    assert caught.value.fix == f"correct {fix}"


def test_a_value_of_a_form_is_named_as_the_form_has_it(root: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        profiles.overlaid(root, "current", {"judge.seed": -1}, profiles.by_form)
    assert caught.value.fix == "correct judge.seed in the run's overrides"
    found = profiles.givers(root, "wrong", {"finetune": {"epochs": 3}}, profiles.by_form)
    assert found["finetune.epochs"] == "finetune.epochs in the run's overrides"


def test_a_value_of_params_yaml_is_not_blamed_on_another_override(root: Path) -> None:
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(re.sub(r"(\n  accumulate:) \d+", r"\1 999", text))
    with pytest.raises(ConfigError, match=r"to fix it: correct params\.yaml$"):
        profiles.overlaid(root, "current", {"finetune.epochs": 3})


def test_a_file_that_cannot_be_written_is_no_traceback(root: Path) -> None:
    before = (root / "params.yaml").read_bytes()
    command = f"ulimit -f 0; exec {sys.executable} -m flows.profiles tiny"
    done = subprocess.run(
        ["sh", "-c", command], cwd=root, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.startswith("profile: ")) == (74, True)
    assert "Traceback" not in done.stderr
    assert (root / "params.yaml").read_bytes() == before


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


def test_what_is_wrong_with_the_overrides_of_a_flow_is_told_when_it_reads_them() -> None:
    # As Prefect takes them, which would tell it in its own words.
    made = FlowOverrides.model_validate({"generate.temperature": 1e-9, "finetune.epochs": 3, "judge": {"seed": -1}})
    with pytest.raises(ConfigError) as refused:
        made.tree()
    assert str(refused.value) == (
        "generate.temperature: expected 0, which is greedy decoding, or 1e-06 or more; found 1e-09; "
        "judge.seed: expected 0 or more; found -1\n"
        "  to fix it: correct generate.temperature in the run's overrides, judge.seed in the run's overrides"
    )
    assert FlowOverrides.model_validate({"finetune.epochs": 3}).tree() == {"finetune": {"epochs": 3}}
    assert FlowOverrides().tree() == {}


def test_every_value_of_params_yaml_can_be_overridden() -> None:
    tree = reading.flatten(YAML(typ="safe").load(ROOT / "params.yaml"))

    assert reading.flatten(Overrides.model_validate(tree).tree()) == tree
