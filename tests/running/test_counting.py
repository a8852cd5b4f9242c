"""Progress over rows: all of them come through, and after two seconds it is said how long the rest will take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stages.running import counting


def test_lines_are_counted_and_a_file_that_is_missing_has_none(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"a\n\n" * 1_000_000)
    assert counting.lines_of(tmp_path / "rows") == 2_000_000
    assert counting.lines_of(tmp_path / "none") == 0


def test_a_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(counting.told(range(3000), total=3000, what="count")) == list(range(3000))
    assert capsys.readouterr().out == ""


def test_a_long_work_says_once_how_long_the_rest_will_take(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert len(list(counting.told(range(3072), total=3072, what="count", now=ten_seconds_each()))) == 3072
    assert capsys.readouterr().out == "count: 1,024 of 3,072 rows; the rest will take about 20 s\n"


def ten_seconds_each() -> Callable[[], float]:
    """A clock that goes on by 10 s whenever it is asked, but for the two times before a work begins."""
    seconds = iter((0.0, 0.0, *(10.0 * number for number in range(1, 100))))
    return lambda: next(seconds)


def test_a_file_is_told_by_its_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    read = iter((1000, 2000, 3000))
    rows = counting.told_in_bytes(range(3072), total=3000, read=lambda: next(read), what="read", now=ten_seconds_each())

    assert list(rows) == list(range(3072))
    assert capsys.readouterr().out == "read: 1,000 of 3,000 bytes; the rest will take about 20 s\n"
