"""The rows of a small dataset, before a run: as the stage makes them, or not at all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from stages.common.errors import DataError
from stages.download import expected
from stages.params.download import DataSource

ROWS = [{"instruction": f"i{number}", "input": "", "output": "o", "category": "c"} for number in range(4)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    return tmp_path


def rows_of(path: str = "rows.json", **data: Any) -> list[dict[str, str]] | None:
    return expected.rows_of(DataSource.model_validate({"source": path, "sha256": "0" * 64, **data}))


def test_the_rows_are_those_that_the_stage_makes(folder: Path) -> None:
    assert rows_of() == ROWS
    wrong = [*ROWS, {"instruction": "a", "output": ""}]
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, wrong)).encode()))
    with pytest.raises(DataError, match=r"rows\.jsonl\.gz: 1 problem in 5 rows"):
        rows_of("rows.jsonl.gz")
    assert rows_of("rows.jsonl.gz", on_invalid="drop") == ROWS
    assert sorted(path.name for path in folder.iterdir()) == ["rows.json", "rows.jsonl.gz"]


def test_what_dvc_brings_in_is_read_where_it_comes_from(folder: Path) -> None:
    (folder / "assets").mkdir()
    (folder / "assets/own.json").write_text(json.dumps(ROWS))
    (folder / "data.dvc").write_text("deps:\n- path: assets\nouts:\n- path: data\n")
    assert rows_of("data/own.json") == ROWS
    (folder / "data").mkdir()
    (folder / "data/own.json").write_text(json.dumps(ROWS[:3]))  # an older copy
    assert rows_of("data/own.json") == ROWS


def test_what_dvc_brings_in_elsewhere_does_not_matter(folder: Path) -> None:
    (folder / "assets").mkdir()
    (folder / "data.dvc").write_text("deps:\n- path: assets\nouts:\n- path: data\n")
    assert rows_of() == ROWS


def test_a_file_of_up_to_four_mebibytes_is_read(folder: Path) -> None:
    for more, known in ((0, ROWS), (1, None)):
        (folder / "rows.json").write_text(json.dumps(ROWS).ljust((1 << 22) + more))
        assert rows_of() == known


def test_what_is_far_or_mixed_is_not_known(folder: Path) -> None:
    assert rows_of("https://example.org/rows.json") is None
    assert rows_of(f"hf://datasets/a/b@{'0' * 40}/rows.json") is None
    assert rows_of("none.json") is None
    assert rows_of(sources=[{"source": "rows.json"}, {"source": "rows.json", "name": "b"}]) is None
