"""The tables: each figure with its unit."""

from __future__ import annotations

import pytest

from benchmarks.scaling import tables
from benchmarks.scaling.figures import Part, Point

GIB, MIB = 1 << 30, 1 << 20


def test_rows_are_told_stage_by_stage() -> None:
    points = [
        Point("split", 1000, 2.0, 300 * MIB),
        Point("split", 10_000, 20.0, 300 * MIB),
        Point("finetune", 1000, 4.5, 1200 * MIB),
    ]

    assert tables.table(Part("rows", points, 9.0, 0.0, [])) == [
        "| stage | rows | s | power | peak memory, MiB | power |",
        "|---|---|---|---|---|---|",
        "| split | 1,000 | 2 | – | 300 | – |",
        "| split | 10,000 | 20 | 1.00 | 300 | 0.00 |",
        "| finetune | 1,000 | 4.5 | – | 1,200 | – |",
    ]


def test_answers_have_a_rate() -> None:
    found = tables.table(Part("judging", [Point("reference judge", 200, 8.0, 250 * MIB)], 9.0, 0.0, []))

    assert found[0] == "| judge | answers | s | power | answers/s | peak memory, MiB | power |"
    assert found[2] == "| reference judge | 200 | 8 | – | 25 | 250 | – |"


def test_processes_are_told_beside_one_process_with_one_thread() -> None:
    points = [
        Point("one process with all cores", 1, 0.5, 2 * GIB, 1500.0, note="bf16"),
        Point("a thread each", 1, 1.0, GIB, 1000.0, note="bf16"),
        Point("a thread each", 4, 0.6, 3 * GIB, 1800.0, note="simulated: there are 2 cores; bf16"),
    ]

    assert tables.table(Part("processes", points, 9.0, 0.0, []))[2:] == [
        "| 1 | all cores | 1,500 | 1.50x | 0.5 | 2.00 | bf16 |",
        "| 1 | 1 each | 1,000 | 1.00x | 1 | 1.00 | bf16 |",
        "| 4 | 1 each | 1,800 | 1.80x | 0.6 | 3.00 | simulated: there are 2 cores; bf16 |",
    ]


def test_models_are_told_with_the_memory_that_was_estimated_and_with_what_was_left_out() -> None:
    points = [Point("a step", 124_000_000, 0.75, 3 * GIB, 571.0, 5 * GIB // 2, label="gpt2", note="bf16")]
    part = Part("model", points, 9.0, 0.0, ["gpt2-medium: it takes 7.3 GiB at least, and 4.0 are free"])

    assert tables.table(part)[2:] == [
        "| gpt2, 124.0 M | 0.75 | – | 571 | 3.00 | – | 2.50 | bf16 |",
        "\nNot measured: gpt2-medium: it takes 7.3 GiB at least, and 4.0 are free.",
    ]


@pytest.mark.parametrize(
    ("value", "shown"), [(0.01234, "0.0123"), (4.567, "4.57"), (99.94, "99.9"), (12345.6, "12,346"), (0.0, "0")]
)
def test_a_figure_has_three_digits(value: float, shown: str) -> None:
    assert tables.number(value) == shown
