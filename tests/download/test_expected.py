"""The rows of a small dataset, before a run: as the stage makes them, or not at all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
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
    outcome = expected.outcome_of(DataSource.model_validate({"source": path, "sha256": "0" * 64, **data}))
    if outcome is not None and outcome.error is not None:
        raise outcome.error
    return None if outcome is None else outcome.rows


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


def test_a_file_of_up_to_a_mebibyte_is_read_counted_when_it_is_unpacked(folder: Path) -> None:
    for more, known in ((0, ROWS), (1, None)):
        text = json.dumps(ROWS).ljust((1 << 20) + more)
        (folder / "rows.json").write_text(text)
        (folder / "rows.json.gz").write_bytes(gzip.compress(text.encode()))
        assert (folder / "rows.json.gz").stat().st_size < 2000
        assert rows_of() == known
        assert rows_of("rows.json.gz") == known


def test_of_parquet_the_bytes_count_that_it_has_when_it_is_decoded(folder: Path) -> None:
    for length, known in ((100, True), (20_000, False)):
        rows = [{"instruction": f"i{number}", "input": "", "output": "o" * length} for number in range(60)]
        pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
        # The same text 60 times is one entry of a dictionary.
        assert (folder / "rows.parquet").stat().st_size < 10_000
        assert (rows_of("rows.parquet") is not None) is known


def test_at_most_ten_thousand_rows_are_read(folder: Path) -> None:
    for count, known in ((10_000, True), (10_001, False)):
        rows = [{"instruction": f"i{number}", "output": "o"} for number in range(count)]
        (folder / "rows.json").write_text(json.dumps(rows))
        pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
        assert (rows_of() is not None) is known
        assert (rows_of("rows.parquet") is not None) is known


@pytest.mark.parametrize("contents", [b"\x1f\x8bno gzip", b"PAR1 no Parquet"])
def test_a_damaged_file_is_refused_as_the_stage_refuses_it(folder: Path, contents: bytes) -> None:
    (folder / "rows.json").write_bytes(contents)
    with pytest.raises(DataError, match=r"^rows\.json: not a "):
        rows_of()


def test_all_that_ask_share_one_reading(folder: Path) -> None:
    data = DataSource.model_validate({"source": "rows.json", "sha256": "0" * 64})
    first = expected.outcome_of(data)
    assert expected.outcome_of(data) is first
    (folder / "rows.json").write_text("[1]")
    second = expected.outcome_of(data)
    assert second is not None
    assert second.error is not None
    assert expected.outcome_of(data) is second


def test_what_is_far_or_mixed_is_not_known(folder: Path) -> None:
    assert rows_of("https://example.org/rows.json") is None
    assert rows_of(f"hf://datasets/a/b@{'0' * 40}/rows.json") is None
    assert rows_of("none.json") is None
    assert rows_of(sources=[{"source": "rows.json"}, {"source": "rows.json", "name": "b"}]) is None
