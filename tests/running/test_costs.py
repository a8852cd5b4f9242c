"""Costs belong to one result: of another one they are not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.common.errors import DataError
from stages.common.files import sha256, write_json
from stages.common.results.split import SPLIT_METRICS
from stages.running import costs
from stages.running.costs import STAGE_COSTS, StageCosts


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_json(SPLIT_METRICS, {"rows": 1})
    return tmp_path


def test_the_costs_of_a_stage_are_kept_with_the_result_that_they_belong_to(root: Path):
    costs.keep("split", 12.3456, 1 << 20)

    found = costs.of_stage(root, "split")
    assert found == StageCosts(result=sha256(SPLIT_METRICS), seconds=12.35, peak_memory_bytes=1048576)


def test_of_another_result_they_are_not_known(root: Path):
    costs.keep("split", 12.0, 1 << 20)
    write_json(SPLIT_METRICS, {"rows": 2})

    assert costs.of_stage(root, "split") is None


def test_without_a_result_or_for_another_program_nothing_is_kept(root: Path):
    costs.keep("judge", 1.0, 1)
    costs.keep("compare", 1.0, 1)

    assert not STAGE_COSTS.exists()
    assert costs.of_stage(root, "judge") is None


def test_a_file_that_is_broken_is_an_error_with_what_mends_it(root: Path):
    write_json(STAGE_COSTS / "split.json", {"seconds": 1.0})

    with pytest.raises(DataError) as caught:
        costs.of_stage(root, "split")
    assert caught.value.fix == "rm .cache/stages/split.json"


def test_a_folder_that_takes_no_file_fails_nothing(root: Path, capsys: pytest.CaptureFixture[str]):
    STAGE_COSTS.parent.mkdir()
    STAGE_COSTS.write_text("a file")
    costs.keep("split", 1.0, 1)

    assert ".cache/stages/split.json: " in capsys.readouterr().out
