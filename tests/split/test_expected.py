"""How rows would be divided, before a run: as the stages then do it, or not at all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from stages.params.download import DataSource
from stages.split import expected, splits
from tests.split.test_splits import choose, row, rows


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.json").write_text(json.dumps(rows(40)))
    return tmp_path


def sizes(path: str = "rows.json", method: str = "order", **data: Any) -> dict[str, int] | None:
    settings = DataSource.model_validate({"source": path, "sha256": "0" * 64, **data})
    found = expected.division(settings, choose(method))
    return None if found is None else {name: len(part) for name, part in found.items()}


@pytest.mark.parametrize("method", ["order", "shuffle", "stratified", "grouped", "hashed"])
def test_the_division_is_that_of_the_stage(method: str) -> None:
    found = expected.division(DataSource.model_validate({"source": "rows.json", "sha256": None}), choose(method))
    made = splits.divide(splits.with_ids(rows(40)), choose(method), groups=list(range(40)))
    assert found == made


def test_the_rows_are_those_that_download_takes(folder: Path) -> None:
    (folder / "rows.jsonl.gz").write_bytes(
        gzip.compress("\n".join(json.dumps(one) for one in [*rows(40), row("a", "")]).encode())
    )
    assert sizes("rows.jsonl.gz") is None  # the stage download says why
    assert sizes("rows.jsonl.gz", on_invalid="drop") == {"train": 34, "test": 4, "val": 2}
    assert sorted(path.name for path in folder.iterdir()) == ["rows.json", "rows.jsonl.gz"]


def test_rows_say_their_split(folder: Path) -> None:
    parts = [{**one, "part": part} for one, part in zip(rows(4), ["train", "train", "test", "val"], strict=True)]
    (folder / "rows.json").write_text(json.dumps(parts))
    assert sizes(method="predefined", fields={"split": "part"}) == {"train": 2, "test": 1, "val": 1}


def test_what_dvc_brings_in_is_read_where_it_comes_from(folder: Path) -> None:
    (folder / "assets").mkdir()
    (folder / "assets/own.json").write_text(json.dumps(rows(20)))
    (folder / "data.dvc").write_text("deps:\n- path: assets\nouts:\n- path: data\n")
    assert sizes("data/own.json") == {"train": 17, "test": 2, "val": 1}
    (folder / "data").mkdir()
    (folder / "data/own.json").write_text(json.dumps(rows(40)))  # an older copy
    assert sizes("data/own.json") == {"train": 17, "test": 2, "val": 1}


def test_what_is_far_large_mixed_or_broken_is_not_known(folder: Path) -> None:
    assert sizes("https://example.org/rows.json") is None
    assert sizes(f"hf://datasets/a/b@{'0' * 40}/rows.json") is None
    assert sizes("none.json") is None
    assert sizes(sources=[{"source": "rows.json"}, {"source": "rows.json", "name": "b"}]) is None
    (folder / "rows.json").write_text(json.dumps(rows(3)))
    assert sizes() is None  # two splits would be empty
    (folder / "rows.json").write_text(json.dumps(rows(20)) + " " * (1 << 22))
    assert sizes() is None
