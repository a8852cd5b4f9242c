"""The table of answers in MLflow: the worst first, and read again in the order of the test rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.common.files import write_jsonl
from stages.common.results.generate import RESPONSES
from stages.common.results.judge import VERDICTS
from stages.common.results.split import split_file
from stages.running.tracking import answers_table


def write(found: dict[str, tuple[float | None, bool | None]], models: tuple[str, ...] = ("base", "tuned")) -> None:
    """Rows with the score of the tuned answer, and whether it is right."""
    rows = [{"id": i, "instruction": f"do {i}", "input": "", "output": "it", "category": "c"} for i in found]
    write_jsonl(split_file("test"), rows)
    answer = {"stop_reason": "end_of_text", "tokens": 2}
    write_jsonl(RESPONSES, [{"id": i, "model": m, "text": f"{i} by {m}"} | answer for m in models for i in found])
    verdicts: list[dict[str, Any]] = []
    for i, (score, right) in found.items():
        status = "open" if score is None else "scored"
        verdicts.append({"id": i, "model": "tuned", "status": status, "score": score, "detail": "", "right": right})
    write_jsonl(VERDICTS, verdicts)


def test_wrong_answers_come_before_right_ones_and_those_without_a_score_last(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write({"fine": (100.0, True), "open": (None, None), "bad": (0.0, False), "half": (40.0, False), "ok": (55.0, True)})
    table = answers_table.made(tmp_path)
    assert table is not None
    assert table["columns"][:6] == ["instruction", "reference", "before", "after", "score", "right"]
    assert [row[3:6] for row in table["data"]] == [
        ["bad by tuned", 0.0, "wrong"],
        ["half by tuned", 40.0, "wrong"],
        ["ok by tuned", 55.0, "right"],
        ["fine by tuned", 100.0, "right"],
        ["open by tuned", None, ""],
    ]


def test_rows_are_read_again_in_the_order_of_the_test_rows_by_model(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write({"b": (100.0, True), "a": (0.0, False)})
    table = answers_table.made(tmp_path)
    assert table is not None
    rows = answers_table.rows_of(table)
    assert [(row["id"], row["tuned"], row["tuned_score"], row["base"]) for row in rows] == [
        ("b", "b by tuned", 100.0, "b by base"),
        ("a", "a by tuned", 0.0, "a by base"),
    ]


def test_the_rows_that_are_drawn_are_drawn_again_from_among_themselves() -> None:
    """By SHA-256: that of a begins with ca, of b with 3e, of c with 2e, of d with 18."""
    assert answers_table.drawn("abcd", 3) == {"b", "c", "d"}
    assert answers_table.drawn("bcd", 3) == {"b", "c", "d"}
    assert answers_table.drawn("abcd", 2) == {"c", "d"}


def test_a_table_of_version_0_2_is_read_as_it_is() -> None:
    table = {"columns": ["id", "tuned", "tuned_score"], "data": [["b", "x", 1.0], ["a", "y", 2.0]]}
    assert [row["id"] for row in answers_table.rows_of(table)] == ["b", "a"]


def test_without_answers_of_the_base_model_there_is_no_before(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write({"a": (0.0, False)}, models=("tuned",))
    table = answers_table.made(tmp_path)
    assert table is not None
    assert table["columns"][:5] == ["instruction", "reference", "after", "score", "right"]
    assert not [name for name in table["columns"] if "before" in name]


def test_of_many_rows_the_same_ones_are_kept_in_every_run_and_not_the_worst() -> None:
    rows = [[f"row {number}", float(number)] for number in range(3000)]
    first = answers_table.sample({"columns": ["id", "score"], "data": rows})
    other = answers_table.sample({"columns": ["id", "score"], "data": [[name, 0.0] for name, _ in reversed(rows)]})
    kept = [row[0] for row in first["data"]]
    assert len(kept) == 2000
    assert kept == [row[0] for row in reversed(other["data"])]
    # The mean of all is 1499.5. That of 2,000 drawn ones differs by 11 points in two cases of three.
    assert abs(sum(row[1] for row in first["data"]) / 2000 - 1499.5) < 50
    assert answers_table.sample({"columns": ["id"], "data": [["a"]]}) == {"columns": ["id"], "data": [["a"]]}
