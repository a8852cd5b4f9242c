"""Parts of the prompt styles in an answer: a model that leaks them goes on to write the next prompt.

The patterns are derived from `STYLES`, so that a new style is looked for as soon as it is there. The stages generate
and judge use the same ones, so that their counts agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from stages.prompts.prompt import PromptStyle
from stages.prompts.styles import STYLES

#: A special token such as <|user|>. A model that leaks one makes up others too, so that any counts.
_SPECIAL_TOKEN = re.compile(r"<\|\w+\|>")
#: The beginning of a Markdown heading; any heading of that level or below counts. One sign is too common elsewhere.
_HEADING = re.compile(r"##+")
_FIELD_OR_LINE_END = re.compile(r"\{instruction\}|\{input\}|\n")


def leak_pattern(styles: Iterable[PromptStyle]) -> re.Pattern[str]:
    """A pattern for every line of the styles' own text.

    A heading gives its signs alone, and a special token gives any name. Other text gives its first sentence, since a
    model often goes on from there in its own words, and its last one if that is a label such as ``USER:``.
    """
    texts = [template for style in styles for template in (style.with_input, style.without_input)]
    lines = [line.strip() for text in texts for line in _FIELD_OR_LINE_END.split(text) if re.search(r"\w", line)]
    return re.compile("|".join(dict.fromkeys(mark for line in lines for mark in _marks(line))))


def _marks(line: str) -> list[str]:
    if _SPECIAL_TOKEN.match(line):
        return [_SPECIAL_TOKEN.pattern]
    if heading := _HEADING.match(line):
        return [re.escape(heading[0])]
    first, *rest = line.split(". ")
    return [re.escape(first), *(re.escape(last) for last in rest[-1:] if last.endswith(":"))]


def headings(styles: Iterable[PromptStyle]) -> frozenset[str]:
    """The styles' own headings as a whole, such as "### Response:"."""
    lines = {line.strip() for style in styles for text in (style.with_input, style.without_input)
             for line in text.splitlines()}  # fmt: skip
    return frozenset(line for line in lines if _HEADING.match(line))


TEMPLATE = leak_pattern(STYLES.values())
HEADINGS = headings(STYLES.values())


def _form(mark: str) -> str:
    """A part of a prompt style; of special tokens, which are all of one form, the beginning."""
    return mark[:2] if _SPECIAL_TOKEN.fullmatch(mark) else mark


def leaks_template(answer: str, reference: str) -> bool:
    """Whether an answer holds a part of a prompt style that its reference does not hold.

    A row may ask for Markdown or for special tokens: where the reference has headings or such tokens, others do not
    count, but the headings of the styles do.

    Args:
        answer: a model's answer.
        reference: the row's own answer.
    """
    rightful = {_form(found[0]) for found in TEMPLATE.finditer(reference)}
    return any(_form(found[0]) not in rightful for found in TEMPLATE.finditer(answer)) or any(
        heading in answer and heading not in reference for heading in HEADINGS
    )
