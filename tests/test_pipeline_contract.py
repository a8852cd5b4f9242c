"""What drifts: dvc.yaml, the imports, params.yaml, its schema, the profiles and the README say the same."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.common import paths
from stages.params import reading, whole
from tests.root import ROOT
from tools import dvc_deps

ORDER = ("download", "split", "tokenize", "finetune", "generate", "judge")
PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))

DVC_YAML = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
PARAMS = YAML(typ="safe").load(ROOT / "params.yaml")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def outputs(stage: str) -> list[str]:
    """Every path that a stage writes."""
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in DVC_YAML[stage].get(kind, [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def test_a_stage_has_one_name_everywhere():
    assert tuple(DVC_YAML) == ORDER
    assert tuple(PARAMS) == ("profile", *ORDER)
    assert tuple(whole.Params.model_fields) == ("profile", *ORDER)
    for stage in ORDER:
        assert (ROOT / "stages" / stage / "__main__.py").is_file()
        assert (ROOT / "stages" / "params" / f"{stage}.py").is_file()
        assert (ROOT / "tests" / stage).is_dir()


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_is_run_as_a_module(stage):
    # By its path, tokenize.py would stand in for the standard library's module in every stage.
    assert DVC_YAML[stage]["cmd"] == f"python -m stages.{stage}"


def test_deps_are_the_modules_imported():
    assert dvc_deps.problems({"stages": DVC_YAML}) == []


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_depends_on_its_own_section_and_on_values_that_exist(stage):
    listed = DVC_YAML[stage]["params"]

    assert stage in listed
    assert set(listed) <= set(whole.known_keys())


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_s_program_reads_the_sections_it_lists_and_no_other(stage):
    source = (ROOT / "stages" / stage / "__main__.py").read_text(encoding="utf-8")
    names = {name.lower() for name in re.findall(r"program\.section\((\w+)\)", source)}

    of_another = {"tokenize"} if stage == "split" else set()  # its checks find rows that are longer than the context
    assert names == {key.split(".")[0] for key in DVC_YAML[stage]["params"]} == {stage} | of_another


@pytest.mark.parametrize("stage", ORDER)
def test_files_read_are_made_by_an_earlier_stage(stage):
    earlier = {path for name in ORDER[: ORDER.index(stage)] for path in outputs(name)} | {"data"}

    assert {dep for dep in DVC_YAML[stage]["deps"] if not dep.startswith("stages/")} <= earlier


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_writes_under_its_own_folder(stage):
    assert all(path.startswith(f"artifacts/{stage}/") for path in outputs(stage))


def test_every_path_constant_is_an_output_of_dvc_yaml():
    constants = {
        value.as_posix()
        for stage in ORDER
        for value in vars(importlib.import_module(f"stages.common.results.{stage}")).values()
        if isinstance(value, Path) and len(value.parts) == 3 and value.is_relative_to(paths.ARTIFACTS)
    }
    written = {path for stage in ORDER for path in outputs(stage)}

    assert constants <= written


def test_params_yaml_is_valid_and_is_the_quick_profile():
    whole.check(PARAMS)
    before = reading.flatten(PARAMS)
    reading.merge(PARAMS, YAML(typ="safe").load(ROOT / "profiles" / "quick.yaml"))

    assert reading.flatten(PARAMS) == before


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_over_any_other_is_valid_and_complete(profile):
    """Whatever was there before, a profile gives the same values: none forgets a key that another sets."""
    results = []
    for before in PROFILES:
        tree = YAML(typ="safe").load(ROOT / "params.yaml")
        for name in (before, profile):
            reading.merge(tree, YAML(typ="safe").load(ROOT / "profiles" / f"{name}.yaml"))
        results.append(whole.check(tree))

    assert results[0].profile == profile
    assert all(result == results[0] for result in results)


def unexplained(text: str) -> list[str]:
    """The keys with a value that have no comment right above them or beside them, in the order of the file."""
    found, previous = [], ""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        key = re.match(r"( *)([a-z0-9_]+):", line)
        if key and not previous.startswith("#") and " # " not in line:
            inside = next((one for one in lines[index + 1 :] if one.strip() and not one.strip().startswith("#")), "")
            is_section = re.match(rf"{key[1]} +[a-z0-9_]+:", inside)  # an empty value, which is null, is none
            if not is_section:
                found.append(key[2])
        previous = line.strip()
    return found


def test_every_value_of_params_yaml_is_explained():
    assert unexplained((ROOT / "params.yaml").read_text(encoding="utf-8")) == []


def test_a_value_without_a_comment_is_found():
    assert unexplained(
        "# Why.\nfirst: 1\nsecond:\nsection:\n  third: 3\n  # Why.\n  fourth:\n  - 4\n  fifth: 5  # Why.\n"
    ) == [
        "second",
        "third",
    ]


@pytest.mark.parametrize("stage", ORDER)
def test_the_readme_has_a_row_for_every_stage(stage):
    assert re.search(rf"^\| *`{stage}` *\|", README, flags=re.MULTILINE)


def test_the_readme_names_only_make_targets_that_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))

    assert set(re.findall(r"^make ([a-z-]+)", README, flags=re.MULTILINE)) <= targets


def test_the_readme_names_only_keys_and_files_that_exist():
    for key in re.findall(rf"`((?:{'|'.join(ORDER)})\.[a-z_.0-9]+)`", README):
        assert key in whole.known_keys(), key
    for name in re.findall(r"`((?:stages|flows|profiles|docs|assets|tests)/[\w./-]+)`", README):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_takes_no_arguments_and_says_so(stage, tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", f"stages.{stage}", *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    shown, refused = run("--help"), run("--set", "finetune.epochs=1")

    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) > 2
    assert "It takes no arguments: params.yaml says what it does" in shown.stdout
    assert refused.returncode == 78
    assert f"{stage}: unexpected: --set finetune.epochs=1; it takes no arguments" in refused.stderr
    assert not list(tmp_path.iterdir())
