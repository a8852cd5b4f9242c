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
