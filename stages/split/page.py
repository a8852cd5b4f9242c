"""The report of the checks as one page of HTML: readable without a network, in light and in dark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stages.common.html_page import Content, Html, document, element, joined, table
from stages.common.metrics.gate import Finding, GateReport, Sample
from stages.common.plurals import counted
from stages.common.results.split import GATE_REPORT, SPLITS
from stages.split.checks.languages import LEAST_BYTES, SHORT, UNSURE

#: Ids of a finding, and categories and scripts of a table; the others are in the JSON report.
_IDS = 50
_LINES = 60
#: The longest name of a category, in characters.
_NAME = 80

_STYLE = """
section { background: var(--box); border-left: .3rem solid var(--line); padding: .5rem 1rem; margin: 1rem 0; }
.error { border-color: var(--error); } .warning { border-color: var(--warning); } .info { border-color: var(--info); }
.error b { color: var(--error); } .warning b { color: var(--warning); } .info b { color: var(--info); }
section td:first-child pre { white-space: pre; } section td { width: 48%; } section td:first-child { width: 4%; }
"""


def page(report: GateReport) -> str:
    """The page of a report: one text, whose size does not grow with the number of rows.

    Args:
        report: the report.
    """
    return document("Report on the rows", _body(report), style=_STYLE)


def _body(report: GateReport) -> Iterator[Html]:
    rows = report.rows
    yield element("h1", "Report on the rows")
    yield element(
        "p",
        f"{rows['all']:,} rows: {rows['train']:,} train, {rows['test']:,} test, {rows['val']:,} val. "
        f"{counted(len(report.findings) + len(report.passed), 'check')}, {len(report.findings)} with a finding.",
    )
    yield from (_section(one) for one in report.findings)
    if report.passed:
        yield _dim(f"Nothing found: {', '.join(report.passed)}.")
    yield from _lengths(report)
    yield element("h2", "Rows of each category")
    yield _table(["category", *SPLITS], _categories(report.categories))
    yield from _languages(report.languages)
    yield element("h2", "Scripts")
    yield _table(["script of most letters", "rows"], [(_pre(name), rows) for name, rows in report.scripts.items()])
    if report.templates:
        yield element("h2", "Most frequent templates")
        yield _table(["words that prompts share", "rows"], [(_pre(one.text), one.rows) for one in report.templates])


def _section(found: Finding) -> Html:
    limit = "any number is allowed" if found.limit is None else f"{found.limit:,} allowed"
    groups = "" if found.groups is None else f" in {counted(found.groups, 'group')}"
    more = f" and {found.count - _IDS:,} more, which are in {GATE_REPORT.name}" if found.count > _IDS else ""
    parts = [
        element("p", element("b", found.severity), f" {found.name}: {found.count:,}{groups}: {found.what}."),
        _dim(f"Threshold split.checks.{found.name}: {limit}."),
        _table(["row", "text", "compared with"], [_example(one) for one in found.examples]),
        _dim(f"Ids: {', '.join(found.ids[:_IDS])}{more}."),
    ]
    return element("section", joined(parts, "\n"), class_=found.severity)


def _example(sample: Sample) -> tuple[Html, Html, Html]:
    other = f"{sample.other}\n{sample.other_text}" if sample.other else ""
    return _pre(f"{sample.id}\n{sample.split}"), _pre(sample.text), _pre(other)


def _lengths(report: GateReport) -> Iterator[Html]:
    yield element("h2", "Lengths in characters")
    header = ["split", "prompt: mean", "median", "longest", "answer: mean", "median", "longest"]
    parts = [(name, found.prompt, found.output) for name, found in report.characters.items()]
    yield _table(
        header,
        [(_pre(name), a.mean, a.median, a.longest, b.mean, b.median, b.longest) for name, a, b in parts],
    )
    yield _dim(f"Longest rows: {', '.join(f'{row} ({count:,})' for row, count in report.longest.items())}.")
    yield _dim(
        "Rows that are longer than the context are those of over_context and dropped. The stage tokenize counts all "
        "tokens, in artifacts/tokenize/metrics.json."
    )


def _languages(rows: Mapping[str, int]) -> Iterator[Html]:
    """The share of each language in the rows in which it is told, and how many there are in which it is not."""
    told = {name: count for name, count in rows.items() if name not in (SHORT, UNSURE)}
    every = sum(told.values())
    yield element("h2", "Languages")
    header = ["language (ISO 639)", "rows", "share of those that are told"]
    yield _table(header, [(_pre(name), count, f"{100 * count / every:.1f} %") for name, count in told.items()])
    yield _dim(
        f"Not told: {counted(rows.get(SHORT, 0), 'row')} of fewer than {LEAST_BYTES} bytes, and "
        f"{counted(rows.get(UNSURE, 0), 'row')} in several languages, in names, numbers or code."
    )


def _categories(counts: Mapping[str, Mapping[str, int]]) -> list[tuple[Content, ...]]:
    ordered = sorted(counts, key=lambda name: (-sum(counts[name].values()), name))
    return [(_pre(name[:_NAME]), *(counts[name][split] for split in SPLITS)) for name in ordered]


def _table(header: Sequence[str], rows: Sequence[Sequence[Content]]) -> Html:
    return table(header, rows, most=_LINES, whole=GATE_REPORT.name)


def _pre(content: str) -> Html:
    return element("pre", content)


def _dim(content: str) -> Html:
    return element("p", content, class_="dim")
