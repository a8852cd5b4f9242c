"""The page of the report: what it shows, that it asks for nothing, and that no row can do anything in it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from stages.common.metrics.gate import Finding, GateReport, Sample, Template
from stages.common.metrics.split import Lengths, TextLengths
from stages.split.page import page

EVIL = "<script src=//x.test>alert('1')</script><img src=x onerror=\"y\">&amp;\x1b[2J\u202e"


def report(text: str = "a text", *, many: int = 3, severity: str = "warning") -> GateReport:
    lengths = Lengths(mean=1.5, median=1.0, longest=1234)
    sample = Sample(id="abc", split="test", text=text, other="def", other_text=text)
    finding = Finding.model_validate(
        {
            "name": "leaks",
            "severity": severity,
            "count": many,
            "groups": 2,
            "limit": None,
            "what": "rows of test",
            "ids": [f"id{number}" for number in range(many)],
            "examples": [sample] * 5,
        }
    )
    return GateReport(
        rows={"all": 1100, "train": 935, "test": 110, "val": 55},
        findings=[finding] * 16,
        passed=["emails"],
        characters={name: TextLengths(prompt=lengths, output=lengths) for name in ("train", "test", "val")},
        categories={f"{text}{number}": {"train": 1, "test": 2, "val": 3} for number in range(many)},
        scripts={"LATIN": 1100},
        languages={"en": 900, "de": 100, "short": 99, "unsure": 1},
        templates=[Template(text=text, rows=5)],
        longest={"abc": 1234},
    )


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(text: str) -> _Tags:
    found = _Tags()
    found.feed(text)
    found.close()
    assert found.open == []
    return found


def test_what_the_page_shows() -> None:
    found = parsed(page(report()))
    for text in (
        "1,100 rows: 935 train, 110 test, 55 val. 17 checks, 16 with a finding.",
        "warning leaks: 3 in 2 groups: rows of test.",
        "Threshold split.checks.leaks: any number is allowed.",
        "Ids: id0, id1, id2.",
        "Nothing found: emails.",
        "Longest rows: abc (1,234).",
        "The stage tokenize counts all tokens, in artifacts/tokenize/metrics.json.",
        "Not told: 99 rows of fewer than 60 bytes, and 1 row in several languages, in names, numbers or code.",
    ):
        assert text in found.text
    assert '<td><pre>en</pre></td><td class="number">900</td><td>90.0 %</td>' in page(report())


@pytest.mark.parametrize("severity", ["error", "warning", "info"])
def test_a_row_can_do_nothing_in_it_and_it_asks_for_nothing(severity: str) -> None:
    made = page(report(EVIL, severity=severity))
    found = parsed(made)

    assert "script" not in found.tags
    assert "img" not in found.tags
    assert found.names <= {"lang", "charset", "http-equiv", "content", "name", "class", "scope"}
    assert "<script src=//x.test>alert('1')</script>" in found.text  # shown as it is
    assert "\x1b" not in made
    assert "\u202e" not in made
    assert "url(" not in made
    assert "default-src 'none'" in made
    assert "prefers-color-scheme: dark" in made


def test_its_size_does_not_grow_with_the_rows() -> None:
    made = page(report("x" * 300, many=50_000))
    assert len(made.encode()) < 500_000
    assert "and 49,950 more, which are in report.json" in made
    assert "And 49,940 more, which are in report.json." in made


def test_fifty_ids_and_sixty_categories_are_shown_and_how_many_more_there_are() -> None:
    assert "more, which are in report.json" not in page(report(many=50))
    made = parsed(page(report(many=51))).text
    assert "id49 and 1 more, which are in report.json." in made
    assert "id50" not in made
    assert "And 1 more, which are in report.json." not in parsed(page(report(many=60))).text
    assert "And 1 more, which are in report.json." in parsed(page(report(many=61))).text


def test_the_category_with_most_rows_is_first_and_of_equal_ones_that_of_the_alphabet() -> None:
    counts = {
        "b": {"train": 1, "test": 1, "val": 1},
        "a": {"train": 3, "test": 0, "val": 0},
        "x" * 81: {"train": 9, "test": 8, "val": 7},
    }
    made = page(report().model_copy(update={"categories": counts}))
    first, second, third = (made.index(f"<pre>{name}</pre>") for name in ("x" * 80, "a", "b"))
    assert first < second < third
    assert "x" * 81 not in made
    numbers = "".join(f'<td class="number">{number}</td>' for number in (9, 8, 7))
    assert f"<pre>{'x' * 80}</pre></td>{numbers}</tr>" in made


@pytest.mark.parametrize("severity", ["error", "warning", "info"])
def test_a_finding_has_the_colour_of_its_severity_and_remarks_stand_back(severity: str) -> None:
    made = page(report(severity=severity))
    assert made.count(f'<section class="{severity}">') == 16
    assert f".{severity} b {{ color: var(--{severity}); }}" in made
    assert '<p class="dim">Nothing found: emails.</p>' in made


def test_what_is_not_there_has_no_heading() -> None:
    nothing = report().model_copy(update={"findings": [], "passed": [], "templates": []})
    made = parsed(page(nothing)).text
    assert "0 checks, 0 with a finding." in made
    assert "Nothing found" not in made
    assert "Most frequent templates" not in made
    assert "Most frequent templates" in parsed(page(report())).text


def test_a_finding_tells_its_threshold_and_what_a_row_is_compared_with() -> None:
    alone = Sample(id="abc", split="val", text="t")
    (found, *_) = report().findings
    one = found.model_copy(update={"limit": 1000, "groups": None, "examples": [alone]})
    made = page(report().model_copy(update={"findings": [one]}))
    assert "Threshold split.checks.leaks: 1,000 allowed." in made
    assert "leaks: 3: rows of test." in parsed(made).text
    assert "<pre>abc\nval</pre>" in made
    assert "<pre></pre>" in made  # it is compared with no row
    assert "<pre>def\na text</pre>" in page(report())


def test_the_lengths_of_each_split_are_in_a_row() -> None:
    figures = "".join(f'<td class="number">{figure}</td>' for figure in ("1.5", "1.0", "1,234"))
    for name in ("train", "test", "val"):  # mean, median and longest of prompts and of answers
        assert f"<pre>{name}</pre></td>{figures}{figures}</tr>" in page(report())
