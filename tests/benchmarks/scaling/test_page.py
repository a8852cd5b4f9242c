"""What is written into the page, and into it alone."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.scaling import page
from benchmarks.scaling.figures import Part, Point, Report
from benchmarks.scaling.page import BEGIN, END
from stages.common.errors import DataError
from tests.root import ROOT

PART = Part("judging", [Point("reference judge", 200, 8.0, 250 << 20)], 150.0, 0.04, [])


def report(*parts: Part) -> Report:
    return Report("2026-11-28", "2 cores (a processor, AVX2), 23 GiB", 2, list(parts))


def test_what_stands_between_the_marks_is_replaced_and_nothing_else() -> None:
    assert page.replaced(f"# A\n\n{BEGIN}\nold\n{END}\n\nend\n", "new", name="a.md") == (
        f"# A\n\n{BEGIN}\n\nnew\n\n{END}\n\nend\n"
    )


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_a_page_without_each_mark_once_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"a\.md: expected the lines .*begin.* and .*end.*, once each"):
        page.replaced(text, "new", name="a.md")


def test_the_page_of_the_project_has_the_marks() -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")

    assert page.replaced(text, "new", name="docs/performance.md") != text


def test_the_machine_the_day_and_the_load_are_told() -> None:
    quiet = Part("rows", PART.points, 90.0, 0.1, [])

    assert page.made_on(report(PART, quiet)) == [
        "Measured on 2026-11-28 in 4 min on 2 cores (a processor, AVX2), 23 GiB.",
        "Other processes kept up to 0.1 of 2 cores busy meanwhile.",
    ]


def test_a_busy_machine_is_named_as_the_reason_for_bad_figures() -> None:
    busy = Part("rows", PART.points, 90.0, 1.5, [])

    assert page.made_on(report(PART, busy))[1:] == [
        "Other processes kept up to 1.5 of 2 cores busy meanwhile.",
        "**So seconds and tokens a second are worse than this machine can do; memory is not affected.**",
    ]


def test_a_page_without_the_largest_sizes_says_so() -> None:
    brief = dataclasses.replace(report(PART), brief=True)

    assert page.made_on(brief)[2:] == ["The largest sizes were left out (`python -m benchmarks.scaling --brief`)."]


def test_each_part_has_its_heading_and_its_table() -> None:
    text = page.between(report(PART), "images/performance.png")

    assert "(images/performance.png)" in text
    assert "\n### Judged answers\n\n| judge | answers | s |" in text
