"""Rows in a file: what is asked for comes back, and what is written is what was read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stages.common.records import read_records, write_records
from stages.common.results.split import Example
from stages.split import splits
from stages.split.stored import Picked, Stored, numbers_of, pick, write
from tests.split.test_splits import row

EXAMPLES = splits.with_ids([row("a"), row("ü\u2028", "x\ny"), row("a"), row("d", category="e")])


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path / "rows.jsonl", iter(EXAMPLES))


def test_rows_come_back_by_number_and_in_order(stored: Stored) -> None:
    assert (len(stored), list(stored), stored[2], stored[-1]) == (4, EXAMPLES, EXAMPLES[2], EXAMPLES[3])
    assert list(stored[1:3]) == EXAMPLES[1:3]
    with pytest.raises(IndexError):
        stored[4]


def test_picked_rows_keep_their_order_and_know_their_numbers(stored: Stored) -> None:
    picked = pick(stored, [3, 0, 1])

    assert isinstance(picked, Picked)
    assert (list(picked), len(picked), picked[1]) == ([EXAMPLES[3], EXAMPLES[0], EXAMPLES[1]], 3, EXAMPLES[0])
    assert list(picked[1:]) == [EXAMPLES[0], EXAMPLES[1]]
    assert list(numbers_of(picked, stored)) == [3, 0, 1]
    assert pick(EXAMPLES, [3, 0]) == [EXAMPLES[3], EXAMPLES[0]]
    assert numbers_of([EXAMPLES[3], EXAMPLES[0]], EXAMPLES) == [3, 0]


def test_a_file_of_picked_rows_is_that_of_the_same_rows_in_memory(stored: Stored, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", pick(stored, [2, 1]))
    write(tmp_path / "b.jsonl", [EXAMPLES[2], EXAMPLES[1]])
    write_records(tmp_path / "c.jsonl", [EXAMPLES[2], EXAMPLES[1]])

    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "c.jsonl").read_bytes()
    assert list(read_records(tmp_path / "a.jsonl", Example, made_by="x")) == [EXAMPLES[2], EXAMPLES[1]]


def test_rows_that_nobody_asks_for_any_more_leave_no_open_file(tmp_path: Path) -> None:
    rows = Stored(tmp_path / "rows.jsonl", EXAMPLES)
    descriptor = rows._file
    os.fstat(descriptor)
    del rows
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    with pytest.raises(FileNotFoundError):
        Stored(tmp_path / "no folder" / "rows.jsonl", EXAMPLES)


def test_a_row_has_a_source_only_where_it_is_of_a_mix() -> None:
    (alone, mixed) = splits.with_ids([row("a"), row("b") | {"source": "s", "split": "train"}])

    assert "source" not in alone.model_dump()
    assert mixed.model_dump()["source"] == "s"
    assert json.loads(mixed.model_dump_json())["source"] == "s"


def test_what_a_row_says_of_its_split_is_its_split_or_its_category() -> None:
    places: list[str] = []
    list(splits.named([row("a", category="train"), row("b") | {"split": "Test"}], places))

    assert places == ["train", "Test"]
    assert splits.predefined([*places, "dev "]) == ["train", "test", "val"]
