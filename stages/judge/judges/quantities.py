"""Numbers as quantities: which an answer says again in another unit, as in "0 °C (32 °F)", and which it only bounds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from stages.judge.judges.wording import DEGREES, is_number, is_unit

#: What is measured, and the factor to its base unit: the metre, gram, litre and second. Definitions, all exact.
_FACTORS = {
    "kilometre": ("length", 1000.0),
    "metre": ("length", 1.0),
    "centimetre": ("length", 0.01),
    "millimetre": ("length", 0.001),
    "inch": ("length", 0.0254),
    "foot": ("length", 0.3048),
    "yard": ("length", 0.9144),
    "mile": ("length", 1609.344),
    "tonne": ("mass", 1e6),
    "kilogram": ("mass", 1000.0),
    "gram": ("mass", 1.0),
    "pound": ("mass", 453.59237),
    "ounce": ("mass", 28.349523125),
    "litre": ("volume", 1.0),
    "millilitre": ("volume", 0.001),
    "week": ("time", 604_800.0),
    "day": ("time", 86_400.0),
    "hour": ("time", 3600.0),
    "minute": ("time", 60.0),
    "second": ("time", 1.0),
}
#: Kelvin of 0 degrees, and of one degree more.
_SCALES = {"celsius": (273.15, 1.0), "fahrenheit": (459.67 * 5 / 9, 5 / 9), "kelvin": (0.0, 1.0)}
#: Words before a number that say that another one is meant: "fewer than 366".
_BOUNDS = tuple(
    tuple(words.split())
    for words in (
        "fewer than", "less than", "more than", "greater than", "at least", "at most", "up to", "as many as",
        "as few as", "as much as", "as little as", "under", "over", "above", "below", "almost", "nearly", "beyond",
    )
)  # fmt: skip
#: Where a row speaks of a limit, these say no other number: "at most eleven may be on the field".
_INCLUSIVE = frozenset({("at", "least"), ("at", "most"), ("up", "to")})
_LIMITS = frozenset({"may", "can", "could", "must", "allowed", "maximum", "minimum", "most", "least", "limit", "up"})
#: With a number before them too, these say how the two are related: "3 more than 5".
_COUNTING_ON = frozenset({"than", "over", "above", "below", "under"})
#: Allows for floating point, as a share of the value.
_FLOAT = 1e-9


class Quantity(NamedTuple):
    """A number with its unit, and the places of its words: from ``start`` up to ``end``."""

    number: str
    unit: str
    start: int
    end: int


def quantities(words: Sequence[str]) -> list[Quantity]:
    """The numbers of a text that have a unit; "degrees" may stand between."""
    found = []
    for start, word in enumerate(words):
        after = start + 2 if start + 1 < len(words) and words[start + 1] in DEGREES else start + 1
        if is_number(word) and after < len(words) and is_unit(words[after]):
            found.append(Quantity(word, words[after], start, after + 1))
    return found


def without_conversions(words: Sequence[str], reference: Sequence[str]) -> list[str]:
    """An answer's words without quantities of the reference in other units, if it has them in the reference's too.

    A number with decimals may be rounded: 444.6 °C is 832.3 °F.
    """
    own = quantities(reference)
    known = {(one.number, one.unit) for one in own}
    there = [one for one in own if one.number in words]
    again = [
        ours
        for ours in quantities(words)
        if (ours.number, ours.unit) not in known and any(ours.unit != one.unit and _same(ours, one) for one in there)
    ]
    left_out = {place for one in again for place in range(one.start, one.end)}
    return [word for place, word in enumerate(words) if place not in left_out]


def bounded(words: Sequence[str], core: Sequence[str], known: Collection[str]) -> list[str]:
    """The key numbers that an answer gives as a bound, each time that it has them, with the words that say so.

    Args:
        words: the answer's words, loosely.
        core: the key words that decide.
        known: words of the prompt and the reference, which may ask for a bound or give one; those make none.

    Returns:
        Texts such as "fewer than 366". "Three more than 5", and "3 over 4", are no bounds.
    """
    passed = _INCLUSIVE if _LIMITS & {*known} else frozenset[tuple[str, ...]]()
    bounds = [bound for bound in _BOUNDS if not {*bound} <= {*known} and bound not in passed]
    found = []
    for key in (one for one in core if is_number(one)):
        places = [at for at, word in enumerate(words) if word == key]
        said = [next((bound for bound in bounds if _stands_before(bound, words, at)), ()) for at in places]
        if said and all(said):
            found.append(" ".join([*said[0], key]))
    return found


def _stands_before(bound: Sequence[str], words: Sequence[str], at: int) -> bool:
    start = at - len(bound)
    before = words[start - 1] if start > 0 else ""
    counts_on = is_number(before) and bound[-1] in _COUNTING_ON
    return start >= 0 and tuple(words[start:at]) == tuple(bound) and not counts_on


def _same(ours: Quantity, theirs: Quantity) -> bool:
    """Whether two quantities are the same but for the rounding of their decimals, and of our whole number."""
    converted = _converted(float(theirs.number), theirs.unit, ours.unit)
    if converted is None:
        return False
    step = 10.0 ** -_decimals(theirs.number) if _decimals(theirs.number) else 0.0
    further = _converted(float(theirs.number) + step, theirs.unit, ours.unit) or converted
    rounding = (10.0 ** -_decimals(ours.number) + abs(further - converted)) / 2
    return abs(float(ours.number) - converted) <= rounding + _FLOAT * abs(converted)


def _converted(value: float, unit: str, other: str) -> float | None:
    """A value in another unit; None where the two do not measure the same."""
    if unit in _SCALES and other in _SCALES:
        (zero, degree), (other_zero, other_degree) = _SCALES[unit], _SCALES[other]
        return (zero + value * degree - other_zero) / other_degree
    (measure, factor), (other_measure, other_factor) = _FACTORS.get(unit, ("", 1.0)), _FACTORS.get(other, ("", 1.0))
    return value * factor / other_factor if measure and measure == other_measure else None


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])
