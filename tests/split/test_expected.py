"""How rows would be divided, before a run: as the stage then does it, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.common.errors import ConfigError
from stages.params.download import DataSource
from stages.split import expected, splits
from tests.split.test_splits import choose, row, rows

DATA = DataSource.model_validate({"source": "rows.json", "sha256": "0" * 64})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.json").write_text(json.dumps(rows(40)))
    return tmp_path


@pytest.mark.parametrize("method", ["order", "shuffle", "stratified", "grouped", "hashed"])
def test_the_division_is_that_of_the_stage(method: str) -> None:
    made = splits.divide(splits.with_ids(rows(40)), choose(method), groups=list(range(40)))
    assert expected.division(DATA, choose(method)) == made
    assert expected.division_if_sound(DATA, choose(method)) == made


def test_all_that_ask_share_one_division() -> None:
    assert expected.division(DATA, choose()) is expected.division_if_sound(DATA, choose())
    assert expected.division(DATA, choose()) != expected.division(DATA, choose("shuffle"))


def test_rows_say_their_split(folder: Path) -> None:
    parts = [{**one, "part": part} for one, part in zip(rows(4), ["train", "train", "test", "val"], strict=True)]
    (folder / "rows.json").write_text(json.dumps(parts))
    data = DataSource.model_validate({**DATA.model_dump(), "fields": {"split": "part"}})
    found = expected.division(data, choose("predefined"))
    assert found is not None
    assert {name: len(part) for name, part in found.items()} == {"train": 2, "test": 1, "val": 1}


def test_rows_that_cannot_be_used_or_divided_have_no_division(folder: Path) -> None:
    (folder / "rows.json").write_text(json.dumps([*rows(40), row("a", "")]))
    assert expected.division(DATA, choose()) is None
    (folder / "rows.json").write_text(json.dumps(rows(3)))
    with pytest.raises(ConfigError, match="would be empty"):
        expected.division(DATA, choose())
    assert expected.division_if_sound(DATA, choose()) is None
