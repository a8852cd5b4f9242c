"""What is said of rows that were left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.common.errors import DataError
from stages.common.files import write_json
from stages.common.results.download import LEFT_OUT
from stages.running import dropped_rows


def report(rows: int, left: int) -> dict[str, Any]:
    return {"rows_of_the_file": rows, "rows_of_the_dataset": rows - left, "left_out": {"count": left, "rows": []}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (report(1200, 0), ""),
        (report(1200, 1), "1 of 1,200 rows was left out, which cannot be used: left_out.json names them"),
        (
            {"rows_of_the_dataset": 105, "sources": {"a": report(100, 12), "b": report(20, 3)}},
            "15 of 120 rows were left out, which cannot be used: left_out.json names them",
        ),
    ],
)
def test_rows_that_were_left_out_are_counted_over_all_sources(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    write_json(tmp_path / LEFT_OUT, given)
    assert dropped_rows.line(tmp_path) == said


def test_nothing_is_said_where_the_stage_has_not_run(tmp_path: Path) -> None:
    assert dropped_rows.line(tmp_path) == ""


@pytest.mark.parametrize("given", [{}, [], {"sources": [1]}, {"left_out": {"count": "x"}, "rows_of_the_file": 1}])
def test_a_report_that_is_none_is_refused(tmp_path: Path, given: Any) -> None:
    write_json(tmp_path / LEFT_OUT, given)
    with pytest.raises(DataError, match=r"left_out\.json: expected left_out\.count"):
        dropped_rows.line(tmp_path)
