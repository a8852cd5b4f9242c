"""What the sections of the report share: how a section, a figure and an interval look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from stages.common.html_page import Content, Html, element, joined, text
from stages.common.metrics.judge import Interval
from stages.common.records import ModelName
from stages.judge.report.facts import Missing

A = TypeVar("A")
B = TypeVar("B")

#: Lines of a table that are shown at most.
LINES = 60
#: Characters of a text from outside that are shown in a cell of a table, and in a paragraph.
CELL, PARAGRAPH = 200, 2000

#: What the models are called.
NAMES: dict[ModelName, str] = {"base": "before", "tuned": "fine-tuned"}

_MINUS = "\N{MINUS SIGN}"


def section(key: str, title: str, *contents: Content) -> Html:
    """A section with its heading, to which the page's contents lead.

    Args:
        key: its anchor.
        title: its heading.
        contents: its elements.
    """
    return element(
        "section", element("h2", title, id=f"{key}-title"), *contents, id=key, aria_labelledby=f"{key}-title"
    )


def of_two(one: A | Missing, other: B | Missing, tell: Callable[[A, B], Iterator[Html]]) -> Iterator[Html]:
    """What is told of two things together; where one is missing, why.

    Args:
        one: a thing.
        other: another one.
        tell: function that gives the elements.
    """
    if isinstance(one, Missing):
        yield paragraph(one.why)
    elif isinstance(other, Missing):
        yield paragraph(other.why)
    else:
        yield from tell(one, other)


def paragraph(*contents: Content) -> Html:
    """A paragraph."""
    return element("p", *contents)


def note(*contents: Content) -> Html:
    """A paragraph that stands back, such as what a table leaves out."""
    return element("p", *contents, class_="dim")


def warning(*contents: Content) -> Html:
    """A paragraph that must not be overlooked."""
    return element("p", element("b", "Warning. "), *contents, class_="alert", role="note")


def code(commands: str) -> Html:
    """Commands as they are typed, one a line."""
    return element("pre", element("code", commands), class_="commands", tabindex=0)


def wide(table: Html, label: str) -> Html:
    """A table that scrolls by itself where the screen is narrow, by keyboard too."""
    return element("div", table, class_="wide", tabindex=0, role="region", aria_label=label)


def folded(summary: str, *contents: Content) -> Html:
    """What is shown on demand."""
    return element("details", element("summary", summary), *contents)


def definitions(pairs: Mapping[str, Content] | Sequence[tuple[str, Content]], kind: str = "facts") -> Html:
    """Names with what there is to say of each."""
    listed = pairs.items() if isinstance(pairs, Mapping) else pairs
    return element(
        "dl", joined(element("div", element("dt", name), element("dd", what)) for name, what in listed), class_=kind
    )


def cut(given: str, most: int) -> str:
    """A text, or its beginning with the number of characters that are left out."""
    return given if len(given) <= most else f"{given[:most]}… ({len(given) - most:,} more characters)"


def number(value: float | None, digits: int = 1, sign: str = "") -> str:
    """A number with a real minus; a dash for None.

    >>> number(-1.25), number(3, 0, "+"), number(None)
    ('−1.2', '+3', '–')
    """
    return "–" if value is None else f"{value:{sign}z,.{digits}f}".replace("-", _MINUS)


def ends(interval: Interval | None, scale: float = 1.0, digits: int = 1, sign: str = "") -> str:
    """The ends of an interval in brackets; an empty text where there are none."""
    if interval is None or interval.low is None or interval.high is None:
        return ""
    low, high = (number(scale * end, digits, sign) for end in (interval.low, interval.high))
    return f"[{low}, {high}]"


def in_percent(interval: Interval) -> Interval:
    """An interval of a share from 0 to 1, in percent."""
    scaled = {
        name: None if end is None else 100 * end for name, end in (("low", interval.low), ("high", interval.high))
    }
    return interval.model_copy(update=scaled)


def figure(value: float | None, interval: Interval | None, scale: float = 1.0, digits: int = 1, sign: str = "") -> Html:
    """A figure with its interval, both of which stay on one line."""
    shown = number(None if value is None else scale * value, digits, sign)
    around = ends(interval, scale, digits, sign)
    return joined([shown, element("span", around, class_="ends")], " ") if around else text(shown)
