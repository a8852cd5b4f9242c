"""The index at the top of docs/decisions.md: a line for each date and each decision, held to the text below it.

    python -m tools.decisions_index           tells whether the index is that of the text; exit code 1 if it is not
    python -m tools.decisions_index --write   writes it

A decision is a paragraph that begins with its title in bold. The index stands between two comments.
"""

from __future__ import annotations

import re
import sys
from argparse import RawDescriptionHelpFormatter
from pathlib import Path

from stages.running import program
from stages.running.arguments import Parser

DECISIONS = Path(__file__).resolve().parent.parent / "docs" / "decisions.md"
BEGIN = "<!-- index: python -m tools.decisions_index --write -->"
END = "<!-- end of the index -->"


def entries(text: str) -> dict[str, list[str]]:
    r"""The titles of the decisions, by the heading that they stand under.

    >>> entries("## 2026-01-02\n\n**A is B** (`c.py`). Since D.\n\n**Not E.** F.")
    {'2026-01-02': ['A is B', 'Not E']}
    """
    found: dict[str, list[str]] = {}
    heading = None
    for line in text.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
            found[heading] = []
        elif heading is not None and (title := re.match(r"\*\*(.+?)\*\*", line)):
            found[heading].append(title[1].rstrip(".:"))
    return found


def index(text: str) -> str:
    """The index of a text, in Markdown, between its two comments."""
    lines = [BEGIN, ""]
    for heading, titles in entries(text).items():
        lines.append(f"- [{heading}](#{_anchor(heading)})")
        lines += [f"  - {title}" for title in titles]
    return "\n".join([*lines, "", END])


def with_index(text: str) -> str:
    """The text with the index that fits it: in the place of the old one, or else before the first heading of a date."""
    before, mark, rest = text.partition(BEGIN)
    if not mark:
        before, mark, rest = text.partition("\n## ")
        return f"{before}\n{index(mark + rest)}\n{mark}{rest}"
    _, _, body = rest.partition(END)
    return f"{before}{index(body)}{body}"


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def main() -> None:
    """Check the index, or with --write replace it."""
    parser = Parser(
        prog="python -m tools.decisions_index", description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write the index")
    asked = parser.parse_args()
    text = DECISIONS.read_text(encoding="utf-8")
    wanted = with_index(text)
    if asked.write:
        DECISIONS.write_text(wanted, encoding="utf-8")
    elif wanted != text:
        sys.exit(
            "docs/decisions.md: its index is not that of its text\n  to fix it: python -m tools.decisions_index --write"
        )


if __name__ == "__main__":
    program.run("decisions-index", main)
