"""The arithmetic of the benchmark from rows to tokens, and its rows."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from benchmarks import alpaca_like, data
from benchmarks.data import Measured, StageRun
from stages.download import dataset

FOUND = Measured(
    rows=20_000,
    stages=[
        StageRun("download", 1.0, 300 << 20),
        StageRun("split", 2.0, 700 << 20),
        StageRun("tokenize", 4.5, 1 << 30),
    ],
    checks_seconds=1.5,
    tokens=3_000_000,
    tokens_per_second={"ours": [2e6, 3e6, 1e6], "tiktoken": [1e6, 1e6, 1e6]},
    left_out={"datasets": "not installed"},
)


def test_the_ratio_is_that_of_the_runs_of_one_repeat() -> None:
    assert FOUND.ratios("tiktoken") == [2.0, 3.0, 1.0]
    assert data.spread(FOUND.ratios("tiktoken")) == "2.00 (1.00 to 3.00)"
    assert FOUND.ratios("datasets") == []


def test_what_is_told() -> None:
    assert data.told(FOUND) == [
        "20,000 rows, 3,000,000 tokens of train rows",
        "",
        "| stage | s | peak memory, MiB |",
        "|---|---|---|",
        "| download | 1.0 | 300 |",
        "| split | 2.0 | 700 |",
        "| tokenize | 4.5 | 1024 |",
        "| all three | 7.5 |  |",
        "| of it the checks | 1.5 |  |",
        "",
        "| contender | million tokens/s | ours against |",
        "|---|---|---|",
        "| ours | 2.00 (1.00 to 3.00) |  |",
        "| tiktoken | 1.00 (1.00 to 1.00) | 2.00 (1.00 to 3.00) |",
        "| datasets | not installed |  |",
        "",
    ]


def test_what_is_beyond_a_limit_is_said() -> None:
    assert data.beyond_limits(FOUND) == []
    slow = Measured(
        20_000, [StageRun("split", 1.0, (1 << 30) + (1 << 20))], tokens_per_second={"ours": [8.0], "tiktoken": [10.0]}
    )
    assert data.beyond_limits(slow) == [
        "20,000 rows: split: expected 1024 MiB at most; found 1025",
        "20,000 rows: expected 0.9 of tiktoken's speed or more; found 0.80",
    ]
    slow.rows, slow.stages = 9_999, []
    assert data.beyond_limits(slow) == []


def test_rows_are_made_as_long_as_those_of_alpaca_and_are_the_same_for_a_seed() -> None:
    rows = list(alpaca_like.rows(3000, 1))

    assert rows == list(alpaca_like.rows(3000, 1))
    assert rows[:2] != list(alpaca_like.rows(2, 2))
    assert list(itertools.islice(alpaca_like.rows(9, 1), 2)) == rows[:2]
    assert [problems for row in rows if (problems := dataset.check(row)[1])] == []
    assert 0.35 < sum(row["input"] != "" for row in rows) / len(rows) < 0.45
    assert 200 < sum(len(row["output"]) for row in rows) / len(rows) < 400


@pytest.mark.slow
def test_all_is_measured_on_a_few_rows(tmp_path: Path) -> None:
    found = data.measure(60, tmp_path / "project", ["tiktoken"], 1)

    assert [one.stage for one in found.stages] == ["download", "split", "tokenize"]
    assert all(one.seconds > 0 and one.peak_bytes > 20 << 20 for one in found.stages)
    assert list(found.tokens_per_second) == ["ours", "tiktoken"]
    assert found.tokens > 1000
