"""The report of all checks, the refusal above a threshold, and what is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from stages.common.errors import DataError
from stages.common.metrics.gate import GateReport
from stages.common.records import read_metrics
from stages.download import dataset
from stages.params.split import Checks
from stages.split import splits
from stages.split.census import take_census
from stages.split.checks import gate, near
from tests.root import ROOT
from tests.split.checks.test_context import context
from tests.split.test_splits import choose, row, rows, thresholds

BOOK = ROOT / "../shared/data/instruction-data.json"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def report_of(data: Sequence[dataset.Row], **limits: int) -> GateReport:
    examples = splits.with_ids(data)
    duplicates = near.find(examples)
    division = splits.divide(examples, choose())
    return gate.inspect(
        division, examples, duplicates, take_census(division), Checks(**thresholds(**limits)), context()
    )


def test_a_report_by_hand() -> None:
    data = [*rows(37), row("i0", "other"), row("i1", "слово"), row("i2", "long " * 9, category="d")]
    report = report_of(data, repeated_prompts=0)

    assert report.rows == {"all": 40, "train": 34, "test": 4, "val": 2}
    assert [(one.severity, one.name, one.count) for one in report.findings] == [
        ("error", "repeated_prompts", 3),
        ("warning", "conflicting_answers", 6),
        ("warning", "leaks", 3),
        ("warning", "few_test_rows", 4),
        ("info", "other_scripts", 1),
        ("info", "unseen_categories", 1),
    ]
    assert len(report.findings) + len(report.passed) == 22
    assert report.scripts == {"LATIN": 39, "CYRILLIC": 1}
    assert report.languages == {"short": 40}
    assert next(iter(report.longest.values())) == len("i2\n\n" + "long " * 9)
    assert report.categories["d"] == {"train": 0, "test": 0, "val": 1}


def test_what_is_above_a_threshold_comes_first_and_what_is_only_told_last() -> None:
    report = report_of([*rows(107), row("i0", "other"), row("i1", "слово"), row("i2", "x", category="d")], leaks=0)

    assert [(one.severity, one.name) for one in report.findings] == [
        ("error", "leaks"),
        ("warning", "repeated_prompts"),
        ("warning", "conflicting_answers"),
        ("info", "other_scripts"),
        ("info", "unseen_categories"),
    ]


def test_scripts_and_languages_are_in_the_order_of_their_rows_then_of_their_names() -> None:
    german = "Nenne drei Tipps, wie man gesund bleibt: Iss jeden Tag Obst, bewege dich und schlafe genug."
    french = "Donne trois conseils pour rester en bonne santé. Mange des fruits et dors assez longtemps."
    report = report_of([row("λέξη"), row("слово"), row(french), row(german), row("i0"), *rows(35)])

    assert list(report.scripts.items()) == [("LATIN", 38), ("CYRILLIC", 1), ("GREEK", 1)]
    assert list(report.languages.items()) == [("short", 38), ("de", 1), ("fr", 1)]


def test_the_ten_longest_rows_are_shown_the_longest_first() -> None:
    report = report_of([row("i" * length) for length in range(1, 41)])

    assert list(report.longest.values()) == [43, 42, 41, 40, 39, 38, 37, 36, 35, 34]  # with two line breaks and "o"


def test_the_report_is_written_the_same_each_time(tmp_path: Path) -> None:
    report = report_of([*rows(38), row("i0", "x"), row("i1", "y")])
    first, second = gate.write(report, tmp_path / "a"), gate.write(report, tmp_path / "b")

    assert first.read_bytes() == second.read_bytes()
    assert read_metrics(tmp_path / "a" / "report.json", GateReport, made_by="") == report
    assert gate.write(report) == Path("artifacts/split/report.html")
    assert Path("artifacts/split/report.html").read_bytes() == first.read_bytes()


def test_a_refusal_names_the_finding_its_rows_and_the_key() -> None:
    data = [*rows(30), *(row(f"i{number}", "other") for number in range(12))]
    gate.refuse(report_of(data, repeated_prompts=12))
    report = report_of(data, repeated_prompts=11, conflicting_answers=40)

    with pytest.raises(DataError) as raised:
        gate.refuse(report)

    ids = report.findings[0].ids
    assert raised.value.exit_code == 65
    assert raised.value.what == (
        "the dataset: 1 check finds more rows than params.yaml allows:\n"
        "  - repeated_prompts: expected 11 at most, found 12: rows that repeat the prompt of an earlier row: "
        f"{', '.join(ids[:10])} and 2 more"
    )
    assert raised.value.fix == (
        "correct these rows (examples are in .cache/split/report.html), or raise split.checks.repeated_prompts in "
        "params.yaml; null allows any number"
    )
    assert Path(".cache/split/report.html").exists()
    assert not Path("artifacts").exists()


def test_a_refusal_takes_the_place_of_an_earlier_one_and_names_up_to_ten_rows() -> None:
    with pytest.raises(DataError):
        gate.refuse(report_of([*rows(30), row("i0", "other")], repeated_prompts=0))
    report = report_of([*rows(30), *(row(f"i{number}", "other") for number in range(10))], repeated_prompts=0)

    with pytest.raises(DataError) as raised:
        gate.refuse(report)

    assert raised.value.what.endswith(
        "expected 0 at most, found 10: rows that repeat the prompt of an earlier row: "
        f"{', '.join(report.findings[0].ids)}"
    )
    assert read_metrics(Path(".cache/split/report.json"), GateReport, made_by="") == report


def test_a_refusal_of_long_rows_names_the_length_of_the_context_too() -> None:
    report = report_of([*rows(30), row("long", "x" * 100_000)], over_context=0)

    with pytest.raises(DataError) as raised:
        gate.refuse(report)

    assert raised.value.fix == (
        "correct these rows (examples are in .cache/split/report.html), raise tokenize.context_length, or raise "
        "split.checks.over_context in params.yaml; null allows any number"
    )


def test_a_refusal_of_few_test_rows_names_the_share_of_the_test_rows_too() -> None:
    gate.refuse(report_of(rows(100), few_test_rows=0))
    with pytest.raises(DataError) as raised:
        gate.refuse(report_of(rows(90), few_test_rows=0))

    assert "expected 0 at most, found 9: test rows, of fewer than 10 different instructions: " in raised.value.what
    assert raised.value.fix == (
        "correct these rows (examples are in .cache/split/report.html), add rows, raise split.test, or raise "
        "split.checks.few_test_rows in params.yaml; null allows any number"
    )


def test_the_length_of_the_context_is_named_beside_other_findings_too() -> None:
    report = report_of([*rows(30), row("i0", "other"), row("long", "x" * 100_000)], over_context=0, repeated_prompts=0)

    with pytest.raises(DataError) as raised:
        gate.refuse(report)

    assert raised.value.fix == (
        "correct these rows (examples are in .cache/split/report.html), raise tokenize.context_length, or raise "
        "split.checks.repeated_prompts, split.checks.over_context in params.yaml; null allows any number"
    )


def test_the_line_that_is_told() -> None:
    assert list(gate.describe(report_of(rows(100)))) == ["22 checks; no row to look at (artifacts/split/report.html)"]
    assert list(gate.describe(report_of([*rows(98), row("i0", "x"), row("i9 ")]))) == [
        "22 checks; rows to look at: 1 repeated_prompts, 2 conflicting_answers, 1 near_duplicates, 1 leaks, 1 "
        "near_leaks (artifacts/split/report.html)"
    ]


def test_the_books_dataset() -> None:
    if not BOOK.is_file():
        pytest.skip(f"no copy of the book's dataset at {BOOK.relative_to(ROOT)}")
    report = report_of(dataset.read(BOOK, name="the book's", fix="").rows, api_keys=0)

    assert report.rows == {"all": 1100, "train": 935, "test": 110, "val": 55}
    found = {one.name: one for one in report.findings}
    assert {name: (one.severity, one.count, one.groups) for name, one in found.items()} == {
        "repeated_prompts": ("warning", 25, 20),
        "conflicting_answers": ("warning", 45, 20),
        "near_duplicates": ("warning", 6, 6),
        "leaks": ("warning", 6, None),
        "template_siblings": ("info", 491, 48),
    }
    assert [one.split for one in found["leaks"].examples] == ["test", "test", "val", "val", "val"]
    assert list(report.languages) == ["en", "unsure", "short"]
