"""What a run would do, compared with what DVC does in the same folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import pytest

from stages.params import reading
from stages.running.checks import plan
from tests import flow_project
from tests.flow_project import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = flow_project.create(tmp_path_factory.mktemp("plan") / "project")
    made.dvc("repro", "-q")
    return made


@pytest.fixture(autouse=True)
def _here(project, monkeypatch):
    monkeypatch.chdir(project.root)


def fates(project: Project, changes: Mapping[str, int] = {}, **options: bool) -> list[str]:
    """The fates of zeta and of alpha, which reads what zeta writes."""
    values = reading.read_yaml(project.root / "params.yaml")
    for key, value in changes.items():
        section, _, name = key.partition(".")
        values[section][name] = value
    found = plan.fates(project.root, values, **{"in_place": True} | options)
    assert list(found) == ["zeta", "alpha"]
    return list(found.values())


def test_what_has_run_is_up_to_date(project):
    assert fates(project) == ["up to date", "up to date"]
    assert fates(project, force=True) == ["to run", "to run"]


def test_another_value_runs_its_stage_and_what_reads_from_it(project):
    assert fates(project, {"judge.seed": 5}) == ["up to date", "to run"]
    assert fates(project, {"split.seed": 5}) == ["to run", "to run"]


def test_a_copy_of_the_commit_takes_results_from_the_cache(project):
    assert fates(project, in_place=False) == ["from cache", "from cache"]
    assert fates(project, {"judge.seed": 5}, in_place=False) == ["from cache", "to run"]


def test_earlier_runs_are_found_without_the_lock_file(project):
    kept = (project.root / "dvc.lock").read_text()
    try:
        (project.root / "dvc.lock").unlink()
        assert fates(project) == ["from cache", "from cache"]
        assert fates(project, {"judge.seed": 5}) == ["from cache", "to run"]
        said = project.dvc("repro")
        assert said.count("is cached - skipping run") == 2
    finally:
        (project.root / "dvc.lock").write_text(kept)


def test_changed_code_outputs_and_data_are_seen(project):
    for path, expected in (
        (project.root / "stage.py", ["to run", "to run"]),
        (project.root / "assets" / "data" / "rows.json", ["to run", "to run"]),
        (project.root / "alpha.txt", ["up to date", "from cache"]),
        (project.root / "zeta.txt", ["from cache", "up to date"]),
    ):
        before = path.read_bytes()
        path.unlink()
        path.write_bytes(before + b"\n")
        assert fates(project) == expected, path
        path.write_bytes(before)
    assert fates(project) == ["up to date", "up to date"]


def test_a_cache_that_was_emptied_has_nothing(project):
    cache = project.root / ".dvc" / "cache" / "files"
    kept = shutil.copytree(cache, project.root.parent / "kept", dirs_exist_ok=True)
    shutil.rmtree(cache)
    try:
        assert fates(project) == ["up to date", "up to date"]
        assert fates(project, in_place=False) == ["to run", "to run"]
    finally:
        shutil.copytree(kept, cache)


def test_a_folder_without_a_pipeline_has_no_stages(tmp_path):
    assert plan.fates(tmp_path, {}, in_place=True) == {}


def test_the_stages_that_a_command_names(project):
    assert plan.closure(project.root, ["zeta"]) == {"zeta"}
    assert plan.closure(project.root, ["alpha", "-q"]) == {"alpha", "zeta"}


def test_a_stage_without_inputs_is_up_to_date_once_it_has_run(project, tmp_path):
    made = flow_project.copy(project, tmp_path)
    with (made.root / "dvc.yaml").open("a") as stream:
        stream.write("  end:\n    cmd: touch end.txt\n    outs: [end.txt]\n")
    values = reading.read_yaml(made.root / "params.yaml")
    assert plan.fates(made.root, values, in_place=True)["end"] == "to run"
    made.dvc("repro", "-q", "end")
    assert plan.fates(made.root, values, in_place=True)["end"] == "up to date"
