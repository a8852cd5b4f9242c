"""What is told of the splits before a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.params import reading, whole
from stages.running.checks.row import Row
from stages.split import preflight
from tests.root import ROOT
from tests.split.test_splits import row as made
from tests.split.test_splits import rows


def look(**split: Any) -> list[Row]:
    tree = reading.read_values(ROOT / "params.yaml")
    reading.merge(tree, {"download": {"data": {"source": "rows.json", "sha256": "0" * 64}}, "split": split})
    params = whole.check(tree)
    return [*preflight.rows(params), *preflight.further(params)]


def test_few_test_rows_are_told_with_the_shares_that_make_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert look() == []
    Path("rows.json").write_text(json.dumps(rows(60)))
    (row,) = look()
    assert str(row) == (
        "split rows: 60 rows make 55 train, 3 test, 2 val; the score of fewer than 10 different instructions has no "
        "interval\n  to fix it: set split.train: 0.75, split.test: 0.2 in params.yaml or Prefect's form, or "
        "--set split.train=0.75 --set split.test=0.2; or add rows with other instructions: of 200 in all, "
        "10 are test rows"
    )
    assert row.state == "warning"
    (row,) = look(train=0.75, test=0.2)
    assert (row.state, str(row)) == ("ok", "split rows: 60 rows make 45 train, 12 test, 3 val")


def test_rows_that_cannot_be_divided_are_told_by_the_error_of_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.json").write_text(json.dumps(rows(4)))
    (row,) = look()
    assert (row.state, row.exit_code) == ("problem", 78)
    assert "would be empty" in row.found
    Path("rows.json").write_text(json.dumps([*rows(60), made("a", "")]))
    assert look() == [], "the check of download says it"
