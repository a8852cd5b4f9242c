"""The report of the checks as one page of HTML: readable without a network, in light and in dark.

Every text of a row is escaped, and the page may ask for nothing, so that no row can do anything in it.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence

from stages.common.metrics.gate import Finding, GateReport, Sample
from stages.common.plurals import counted
from stages.common.printable import printable
from stages.common.results.split import GATE_REPORT, SPLITS

#: Ids of a finding, and categories and scripts of a table; the others are in the JSON report.
_IDS = 50
_LINES = 60
#: The longest name of a category, in characters.
_NAME = 80

_STYLE = """
:root { color-scheme: light dark; --text: #1d2330; --dim: #5a6374; --line: #d9dde5; --back: #ffffff; --box: #f5f6f9;
  --error: #b3261e; --warning: #8a5a00; --info: #2c5c9a; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7ee; --dim: #a0a8b8; --line: #383f4d; --back: #15181f;
  --box: #1e232d; --error: #ff8a80; --warning: #ffc46b; --info: #8ab8f5; } }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem; color: var(--text); background: var(--back);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: .85rem/1.4 ui-monospace, monospace; }
section { background: var(--box); border-left: .3rem solid var(--line); padding: .5rem 1rem; margin: 1rem 0; }
.error { border-color: var(--error); } .warning { border-color: var(--warning); } .info { border-color: var(--info); }
.error b { color: var(--error); } .warning b { color: var(--warning); } .info b { color: var(--info); }
section td:first-child pre { white-space: pre; } section td { width: 48%; } section td:first-child { width: 4%; }
.dim { color: var(--dim); font-size: .9rem; overflow-wrap: anywhere; }
"""


def page(report: GateReport) -> str:
    """The page of a report: one text, whose size does not grow with the number of rows.

    Args:
        report: the report.
    """
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Report on the rows</title><style>{_STYLE}</style></head>",
            "<body>",
            *_body(report),
            "</body></html>",
            "",
        ]
    )


def _body(report: GateReport) -> Iterator[str]:
    rows = report.rows
    yield "<h1>Report on the rows</h1>"
    yield (
        f"<p>{rows['all']:,} rows: {rows['train']:,} train, {rows['test']:,} test, {rows['val']:,} val. "
        f"{counted(len(report.findings) + len(report.passed), 'check')}, {len(report.findings)} with a finding.</p>"
    )
    yield from (_section(one) for one in report.findings)
    if report.passed:
        yield f'<p class="dim">Nothing found: {", ".join(map(_text, report.passed))}.</p>'
    yield from _lengths(report)
    yield "<h2>Rows of each category</h2>"
    yield from _table(["category", *SPLITS], _categories(report.categories))
    yield "<h2>Scripts</h2>"
    yield from _table(["script of most letters", "rows"], list(report.scripts.items()))
    if report.templates:
        yield "<h2>Most frequent templates</h2>"
        yield from _table(["words that prompts share", "rows"], [(one.text, one.rows) for one in report.templates])


def _section(found: Finding) -> str:
    limit = "any number is allowed" if found.limit is None else f"{found.limit:,} allowed"
    groups = "" if found.groups is None else f" in {counted(found.groups, 'group')}"
    more = f" and {found.count - _IDS:,} more, which are in {GATE_REPORT.name}" if found.count > _IDS else ""
    return "\n".join(
        [
            f'<section class="{found.severity}"><p><b>{found.severity}</b> {_text(found.name)}: '
            f"{found.count:,}{groups}: {_text(found.what)}.</p>",
            f'<p class="dim">Threshold split.checks.{_text(found.name)}: {limit}.</p>',
            *_table(["row", "text", "compared with"], [_example(one) for one in found.examples]),
            f'<p class="dim">Ids: {", ".join(map(_text, found.ids[:_IDS]))}{more}.</p></section>',
        ]
    )


def _example(sample: Sample) -> tuple[str, str, str]:
    other = f"{sample.other}\n{sample.other_text}" if sample.other else ""
    return f"{sample.id}\n{sample.split}", sample.text, other


def _lengths(report: GateReport) -> Iterator[str]:
    yield "<h2>Lengths in characters</h2>"
    header = ["split", "prompt: mean", "median", "longest", "answer: mean", "median", "longest"]
    parts = [(name, found.prompt, found.output) for name, found in report.characters.items()]
    yield from _table(
        header,
        [(name, a.mean, a.median, a.longest, b.mean, b.median, b.longest) for name, a, b in parts],
    )
    longest = ", ".join(f"{_text(row)} ({count:,})" for row, count in report.longest.items())
    yield f'<p class="dim">Longest rows: {longest}.</p>'
    yield (
        '<p class="dim">Tokens are counted by the stage tokenize: artifacts/tokenize/metrics.json names the rows that '
        "are longer than the context.</p>"
    )


def _categories(counts: Mapping[str, Mapping[str, int]]) -> list[tuple[str | float, ...]]:
    ordered = sorted(counts, key=lambda name: (-sum(counts[name].values()), name))
    return [(name[:_NAME], *(counts[name][split] for split in SPLITS)) for name in ordered]


def _table(header: Sequence[str], rows: Sequence[Iterable[str | float]]) -> Iterator[str]:
    numbers = [isinstance(value, (int, float)) for value in rows[0]] if rows else [False] * len(header)
    kinds = [' class="number"' if number else "" for number in numbers]
    yield "<table><thead><tr>"
    yield "".join(f"<th{kind}>{_text(name)}</th>" for name, kind in zip(header, kinds, strict=True))
    yield "</tr></thead><tbody>"
    for row in rows[:_LINES]:
        cells = (f"<td{kind}>{_cell(value)}</td>" for value, kind in zip(row, kinds, strict=True))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table>"
    if len(rows) > _LINES:
        yield f'<p class="dim">And {len(rows) - _LINES:,} more, which are in {GATE_REPORT.name}.</p>'


def _cell(value: str | float) -> str:
    return f"<pre>{_text(value)}</pre>" if isinstance(value, str) else f"{value:,}"


def _text(text: str) -> str:
    """A text from outside, as it may be in the page."""
    return html.escape(printable(text))
