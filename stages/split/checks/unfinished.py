"""Answers that are none: what generators and people who build datasets leave to fill in, and what chatbots say of
themselves.

A part of an answer that its prompt holds too is none of these: an answer to a prompt with "[Your Name]" may keep that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stages.common.results.split import Example

#: What stands between brackets where a text is to be filled in.
_TO_FILL_IN = (
    r"(?:your|my|the|recipient'?s?|sender'?s?|customer'?s?|client'?s?|insert|enter|add|fill in|put|type)"
    r"\s[^\n\]})<>]{1,40}"
)
_BLANK = (
    r"(?:(?:first|last|full|company|product|brand|city|street|school|job|phone|recipient) )?(?:name|title|number)"
    r"|company|date|address|e-?mail(?: address)?|city|answer|response|placeholder|blank|topic"
)
#: Patterns in small letters, each with texts of which one is in every match: looking for these first is fast.
_PATTERNS = [
    # [Your Name], [Date]; not the index of a list, as in rows[name], and no link of Markdown, as in [name](address).
    (["["], rf"(?<![\w\])])\[(?:{_TO_FILL_IN}|{_BLANK})\](?![(\[])"),
    # <your answer>, <placeholder>; not <address>, <title> and such, which are HTML.
    (["<"], r"<(?:(?:your|insert|enter|add)[ _-][^\n<>]{1,40}|placeholder|answer|response|no ?(?:in|out)put)>"),
    # {{answer}}, {your name}: a template that nobody filled in; not ${{ matrix.os }}, which is code.
    (["{"], rf"(?<!\$)\{{\{{ ?[a-z_][\w .]{{0,40}} ?\}}\}}|(?<![\w$\{{])\{{{_TO_FILL_IN}\}}(?!\}})"),
    (["lorem"], r"\blorem ipsum\b"),
    (["here"], r"\byour (?:answer|response|text|name) here\b"),
    (["goes here"], r"\b(?:your )?(?:answer|response|text|name|code|content|message) goes here\b"),
    (["to be "], r"\b(?:answer|response|output|text|content) to be (?:added|written|determined|filled in)\b"),
    # What chatbots say of themselves, and the words of their pages' buttons, in answers that were copied from there.
    (
        ["an ai", "artificial", "language model"],
        r"\b(?:as|i am|i'm) (?:just |only )?an? (?:ai|artificial intelligence|(?:large )?language model)"
        r"(?: language)?(?: model| assistant| chatbot)?(?=[,.;]| and\b| i\b| trained| developed| created)",
    ),
    (["my knowledge", "my training"], r"\bmy (?:knowledge cut-?off|training data (?:only )?(?:goes|extends|ends))"),
    (["regenerate", "conversation helpful"], r"\bregenerate response\b|\bis this conversation helpful so far\b"),
]
#: Patterns in the letters of the text: in small ones these are words of everyday language.
_IN_CAPITALS = [
    (["TODO", "TBD", "TBA", "FIXME"], r"\b(?:TODO|TBD|TBA|FIXME)\b"),
    ([" HERE"], r"\b(?:INSERT|ENTER|ADD|PUT|PASTE|YOUR)(?: [A-Z']+){1,6} HERE\b"),
]
_SMALL, _CAPITALS = (
    [(hints, re.compile(pattern)) for hints, pattern in patterns] for patterns in (_PATTERNS, _IN_CAPITALS)
)


def unfinished(row: Example) -> Iterator[str]:
    """What is left to fill in in the answer of a row, and what a chatbot says of itself there."""
    small = row.output.lower().replace("’", "'")
    for text, searches in ((small, _SMALL), (row.output, _CAPITALS)):
        for hints, search in searches:
            for found in search.finditer(text) if any(hint in text for hint in hints) else ():
                if not _is_in_prompt(found[0], row):
                    yield found[0]


def _is_in_prompt(text: str, row: Example) -> bool:
    return any(text.lower() in part.lower() for part in (row.instruction, row.input))
