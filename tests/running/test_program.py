"""A stage's section of params.yaml, as its program gets it."""

from __future__ import annotations

import shutil

import pytest
from ruamel.yaml import YAML

from stages.params import reading, whole
from stages.params.finetune import Finetune
from stages.params.split import Split
from stages.running import program
from tests import small_pipeline
from tests.root import ROOT

PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_section_is_what_params_yaml_says(profile, tmp_path, monkeypatch):
    """No module between the file and the stage changes a value: DVC watches the file, and not these modules."""
    tree = YAML(typ="safe").load(ROOT / "params.yaml")
    reading.merge(tree, YAML(typ="safe").load(ROOT / "profiles" / f"{profile}.yaml"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    with open(tmp_path / "params.yaml", "w", encoding="utf-8") as file:
        YAML(typ="safe").dump(tree, file)
    monkeypatch.chdir(tmp_path)
    sections = {name: field.annotation for name, field in whole.Params.model_fields.items() if name != "profile"}

    assert {name: program.section(kind).model_dump() for name, kind in sections.items()} == {
        name: tree[name] for name in sections
    }


def test_lora_over_random_weights_is_warned_of_before_the_training(tmp_path, monkeypatch, capsys):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    lora = {"rank": 2, "alpha": 2, "targets": ["c_attn"]}
    small_pipeline.write_params(tmp_path, {"finetune": {"lora": lora}})
    monkeypatch.chdir(tmp_path)

    program.section(Split)
    assert capsys.readouterr().out == ""
    program.section(Finetune)
    assert capsys.readouterr().out.startswith(
        "warning: LoRA over random weights: all but its small updates stays random"
    )
