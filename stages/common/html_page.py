"""Pages of HTML that a person reads without a network: every text is escaped, and a page may ask for nothing.

A text becomes HTML in `element` and `text` alone, so that no row and no answer can do anything in a page. A policy in
the page's head (Content Security Policy) forbids what an error here would let through.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Collection, Iterable, Sequence

from stages.common.printable import printable

#: Elements that have no content, and no end tag.
_VOID = frozenset({"br", "meta", "input"})

#: What all pages look like: colours in light and in dark, tables, and texts of rows as they are.
STYLE = """
:root { color-scheme: light dark; --text: #1d2330; --dim: #5a6374; --line: #d9dde5; --back: #ffffff; --box: #f5f6f9;
  --accent: #1f5fa8; --error: #b3261e; --warning: #8a5a00; --info: #2c5c9a; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7ee; --dim: #a0a8b8; --line: #383f4d; --back: #15181f;
  --box: #1e232d; --accent: #8ab8f5; --error: #ff8a80; --warning: #ffc46b; --info: #8ab8f5; } }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem; color: var(--text); background: var(--back);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: .85rem/1.4 ui-monospace, monospace; }
.dim { color: var(--dim); font-size: .9rem; overflow-wrap: anywhere; }
"""


class Html(str):
    """A text that is HTML already, and is not escaped again."""

    __slots__ = ()


#: A cell of a table, or the content of an element: HTML, or a text that is escaped.
Content = str | int | float


def text(content: Content) -> Html:
    """A content as HTML: a text escaped, its control characters shown, and a whole number with separators."""
    if isinstance(content, Html):
        return content
    if isinstance(content, str):
        return Html(_escaped(content))
    return Html(f"{content:,}")


def element(tag: str, *contents: Content, **attributes: str | int | float | bool | None) -> Html:
    """An element with its contents.

    Args:
        tag: its name, which is never from outside.
        contents: its contents, one after the other.
        attributes: its attributes; an underscore stands for a hyphen, and one at the end is left out, as in ``class_``.
            None and False leave an attribute out, and True gives it no value.

    >>> element("p", "a < b", class_="dim")
    '<p class="dim">a &lt; b</p>'
    """
    given = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_attribute(value)}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    end = "" if tag in _VOID else f"</{tag}>"
    return Html(f"<{tag}{given}>{''.join(map(text, contents))}{end}")


def _attribute(value: str | int | float) -> str:
    return _escaped(value) if isinstance(value, str) else str(value)


def _escaped(given: str) -> str:
    """A text that is no HTML and commands nothing; what UTF-8 cannot hold, half of a surrogate pair, is shown."""
    return html.escape(printable(given).encode("utf-8", "backslashreplace").decode("utf-8"))


def joined(parts: Iterable[Content], between: str = "") -> Html:
    """Several contents as one, with a text between them."""
    return Html(text(between).join(map(text, parts)))


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[Content]],
    *,
    most: int,
    whole: str = "",
    figures: Collection[int] = (),
    there: int = 0,
) -> Html:
    """A table whose columns of numbers stand to the right.

    Args:
        header: names of the columns.
        rows: cells; a column is one of numbers if its first cell is a number.
        most: rows that are shown at most.
        whole: name of the file that has all of them.
        figures: indices of further columns of numbers, which are texts here.
        there: number of rows that there are, where not all are given.
    """
    there = max(there, len(rows))
    first = rows[0] if rows else [""] * len(header)
    numbers = [column in figures or not isinstance(value, str) for column, value in enumerate(first)]
    kinds = ["number" if number else None for number in numbers]
    heads = (element("th", name, scope="col", class_=kind) for name, kind in zip(header, kinds, strict=True))
    lines = [
        element("tr", *(element("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)))
        for row in rows[:most]
    ]
    found = element(
        "table",
        element("thead", element("tr", *heads)),
        "\n",
        element("tbody", "\n", joined(lines, "\n")),
    )
    if there <= most:
        return found
    more = f"And {there - most:,} more{f', which are in {whole}' if whole else ''}."
    return Html(f"{found}\n{element('p', more, class_='dim')}")


def document(title: str, body: Iterable[Html], *, style: str = "", script: str = "", about: str = "") -> str:
    """A whole page, in which this style and this script work and nothing else does.

    Args:
        title: its title.
        body: its elements.
        style: CSS besides `STYLE`.
        script: JavaScript, which runs at the end of the page.
        about: what the page is made from, in a form for programs: the content of its ``meta`` element ``about``.
    """
    styles = STYLE + style
    policy = f"default-src 'none'; style-src {_hash(styles)}; base-uri 'none'; form-action 'none'"
    if script:
        policy += f"; script-src {_hash(script)}"
    head = [
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        *([element("meta", name="about", content=about)] if about else []),
        element("title", title),
        Html(f"<style>{styles}</style>"),
    ]
    end = [Html(f"<script>{script}</script>")] if script else []
    whole = ["<!DOCTYPE html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", *body, *end, "</body></html>"]
    return "\n".join(whole) + "\n"


def _hash(code: str) -> str:
    """The source of a policy that allows this very text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
