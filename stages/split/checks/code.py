"""What a text says apart from the code in it: brackets and capitals mean something else in code.

Code is told by its form alone: fences, code spans of Markdown, and lines that look like statements, markup or comments.
"""

from __future__ import annotations

import re

_FENCE = re.compile(r"\s{0,3}(```|~~~)")
_SPAN = re.compile(r"`[^`\n]+`")
#: A line that begins so is code; `# [` begins a heading such as "# [Your Name]".
_BEGINS = re.compile(
    r"\s*(?:#(?!#{0,5} \[)|\$ |/\*|--|@\w|(?:def|class|return|import|print|const|let|var|function|public|private)\b|"
    r"(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|FROM|WHERE|JOIN|GROUP BY|ORDER BY|VALUES|SET)\b)"
)
#: A line that holds this is code: an assignment or a comparison, the end of a statement, a tag of a template, a
#: comment, the end of an element, a call with a text, a command of LaTeX, the beginning of a block.
_HOLDS = re.compile(r"""=|;\s*(?://|$)|\{%|(?<!:)//|</\w|\w\(["'\[{]|\\[a-z]+[\[{]|\{$""")
#: The first word of a statement of SQL in capitals: its columns may be in lines of their own.
_SQL = re.compile(r"\s*(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|ALTER TABLE)\b")


def prose(text: str) -> str:
    r"""The lines of a text that are no code, without code spans.

    >>> prose("Run this:\n```\nx [y]\n```\nThen `x` it.")
    'Run this:\nThen  it.'
    """
    kept = []
    fence = ""
    in_sql = False
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        elif not fence:
            # A statement of SQL ends at an empty line.
            in_sql = bool(line.strip()) and (in_sql or _SQL.match(line) is not None)
            if not in_sql and not _is_code(line):
                kept.append(_SPAN.sub("", line))
    return "\n".join(kept)


def _is_code(line: str) -> bool:
    small = line.lower()
    is_query = "select " in small and " from " in small
    return is_query or _BEGINS.match(line) is not None or _HOLDS.search(line.rstrip()) is not None
