"""The labels of a summary, as it is printed and as the documentation shows and explains it."""

from __future__ import annotations

import re

from tests.docs import pages

#: Where a line's own names begin.
INDENT = 12


def sample(page: str) -> str:
    """The summary that a page shows."""
    found = re.search(r"^```text\n((?:run|profile) .*?)^```$", pages.text(page), flags=re.MULTILINE | re.DOTALL)
    assert found, f"{page}: no summary"
    return found[1]


def explained() -> set[str]:
    """The labels in the first column of the table of docs/summary.md."""
    rows = re.findall(r"^\| ([^|`]+?) \|", pages.text("docs/summary.md"), flags=re.MULTILINE)
    return {label for row in rows for label in row.split(", ")}


def labels(text: str) -> set[str]:
    """The labels of a summary: in the margin, in front of a line's figures, and of each measure of the answers.

    >>> sorted(labels("data        9 rows\\nanswers     exact 0.0 → 4.3 %, chrF 2.5"))
    ['chrF', 'data', 'exact']
    """
    found = set()
    margin = ""
    for line in text.splitlines():
        margin, entry = line[:INDENT].strip() or margin, line[INDENT:]
        if margin in ("score", "training", "example") and (label := re.match(r"([a-z][a-z -]*?)(?:  |: | \+)", entry)):
            found.add(label[1])
        elif margin == "answers":
            found |= {re.sub(r" [\d.]+( → [\d.]+)?( %| of \d+)?$", "", part) for part in entry.split(", ")}
        if margin not in ("score", "answers"):
            found.add(margin)
    return found - {"reference"}  # of an example, which shows what it is
