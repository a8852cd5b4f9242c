"""arithmetic, number_properties, unit_conversion, temperature_conversion: answers worked out in code.

Conversions are done on exact fractions, and only values whose answer ends within two decimals are
asked, so that every digit shown is exact.
"""

from __future__ import annotations

import random
from fractions import Fraction

from assets.dataset.rows import Ask, RngFor, Row, deal, take

# --- arithmetic ---

ASK_SUM = {
    "+": (
        Ask("What is {a} + {b}?"),
        Ask("Calculate {a} plus {b}."),
        Ask("Add {a} and {b}."),
        Ask("Work out this sum.", "{a} + {b}"),
    ),
    "-": (
        Ask("What is {a} - {b}?"),
        Ask("Calculate {a} minus {b}."),
        Ask("Subtract {b} from {a}."),
        Ask("Work out this subtraction.", "{a} - {b}"),
    ),
    "*": (
        Ask("What is {a} x {b}?"),
        Ask("Calculate {a} times {b}."),
        Ask("Multiply {a} by {b}."),
        Ask("Work out this product.", "{a} x {b}"),
    ),
    "/": (
        Ask("What is {a} / {b}?"),
        Ask("Calculate {a} divided by {b}."),
        Ask("Divide {a} by {b}."),
        Ask("Work out this division.", "{a} / {b}"),
    ),
}
ASK_STORY = (
    Ask("Solve this problem.", "{story}"),
    Ask("{story}"),
)
STORY_MORE = "{name} has {a} {things} and buys {b} more. How many {things} does {name} have now?"
STORY_LESS = "{name} has {a} {things} and gives {b} away. How many {things} does {name} have left?"
STORY_NAMES = ("Anna", "Peter", "Emma", "Daniel")
STORY_THINGS = ("apples", "books", "pens", "stamps", "eggs")
SUMS = {"+": 11, "-": 10, "*": 10, "/": 7}
STORIES_EACH = 4


def arithmetic(rng: random.Random) -> list[Row]:
    # (a, b, result), with small operands and nothing trivial: no 0, no 1, no negative result.
    small = range(2, 13)
    table = {
        "+": [(a, b, a + b) for a in small for b in small],
        "-": [(a + b, b, a) for a in small for b in small],
        "*": [(a, b, a * b) for a in range(2, 11) for b in range(2, 11)],
        "/": [(a * b, b, a) for a in range(2, 11) for b in range(2, 11)],
    }
    dealt = []
    for sign, count in SUMS.items():
        items = [_sum_item(a, b, result) for a, b, result in take(table[sign], count, rng)]
        dealt += deal("arithmetic", ASK_SUM[sign], items, rng)
    stories = []
    for story, sign in ((STORY_MORE, "+"), (STORY_LESS, "-")):
        for a, b, result in take(table[sign], STORIES_EACH, rng):
            item = _sum_item(a, b, result)
            item["story"] = story.format(name=rng.choice(STORY_NAMES), things=rng.choice(STORY_THINGS), a=a, b=b)
            stories.append(item)
    return dealt + deal("arithmetic", ASK_STORY, stories, rng)


def _sum_item(a: int, b: int, result: int) -> dict[str, str]:
    return {"a": str(a), "b": str(b), "answer": f"The answer is {result}."}


# --- number_properties ---

ASK_PARITY = (
    Ask("Is {n} odd or even?"),
    Ask("Say whether this number is odd or even.", "{n}"),
    Ask("Is the number {n} an odd number or an even number?"),
)
ASK_GREATER = (
    Ask("Which number is greater, {a} or {b}?"),
    Ask("Which of these two numbers is greater?", "{a}, {b}"),
)
ASK_LESS = (
    Ask("Which number is smaller, {a} or {b}?"),
    Ask("Which of these two numbers is smaller?", "{a}, {b}"),
)
PARITY_EACH, GREATER, LESS = 11, 120, 120
LARGEST_COMPARED = 30


def number_properties(rng: random.Random) -> list[Row]:
    parity = [
        {"n": str(n), "answer": f"The number {n} is {name}."}
        for name, first in (("even", 10), ("odd", 11))
        for n in take(range(first, 100, 2), PARITY_EACH, rng)
    ]
    greater, less = [], []
    pairs = [(a, b) for a in range(2, LARGEST_COMPARED + 1) for b in range(2, LARGEST_COMPARED + 1) if a < b]
    for pair in take(pairs, GREATER, rng):
        a, b = take(pair, 2, rng)
        greater.append({"a": str(a), "b": str(b), "answer": f"{max(a, b)} is greater than {min(a, b)}."})
    for pair in take(pairs, LESS, rng):
        a, b = take(pair, 2, rng)
        less.append({"a": str(a), "b": str(b), "answer": f"{min(a, b)} is smaller than {max(a, b)}."})
    return [
        *deal("number_properties", ASK_PARITY, parity, rng),
        *deal("number_properties", ASK_GREATER, greater, rng),
        *deal("number_properties", ASK_LESS, less, rng),
    ]


# --- unit_conversion ---

# (large unit, small unit, small units in one large unit)
UNITS = (
    ("kilometres", "metres", 1000),
    ("metres", "centimetres", 100),
    ("centimetres", "millimetres", 10),
    ("kilograms", "grams", 1000),
    ("tonnes", "kilograms", 1000),
    ("litres", "millilitres", 1000),
    ("hours", "minutes", 60),
    ("minutes", "seconds", 60),
    ("days", "hours", 24),
    ("weeks", "days", 7),
    ("years", "months", 12),
    ("feet", "inches", 12),
    ("yards", "feet", 3),
)
# Plural throughout: nothing is asked about one unit or less.
AMOUNTS = (Fraction(2), Fraction(3), Fraction(4), Fraction(5), Fraction(6), Fraction(10))
ASK_UNITS = (
    Ask("Convert {x} {from_unit} to {to_unit}."),
    Ask("How many {to_unit} are there in {x} {from_unit}?"),
    Ask("Convert this quantity to {to_unit}.", "{x} {from_unit}"),
    Ask("Express {x} {from_unit} in {to_unit}."),
)
UNITS_DOWN, UNITS_UP = 24, 18


def unit_conversion(rng: random.Random) -> list[Row]:
    down = [(x, large, x * factor, small) for large, small, factor in UNITS for x in AMOUNTS]
    up = [(y, small, x, large) for x, large, y, small in down]
    items = [
        {
            "x": decimal(x),
            "from_unit": from_unit,
            "to_unit": to_unit,
            "answer": f"{decimal(x)} {from_unit} is {decimal(y)} {to_unit}.",
        }
        for x, from_unit, y, to_unit in take(down, UNITS_DOWN, rng) + take(up, UNITS_UP, rng)
    ]
    return deal("unit_conversion", ASK_UNITS, items, rng)


# --- temperature_conversion ---

ASK_TEMPERATURE = (
    Ask("Convert {x} {from_scale} to {to_scale}."),
    Ask("What is {x} {from_scale} in {to_scale}?"),
    Ask("Convert this temperature to {to_scale}.", "{x} {from_scale}"),
    Ask("Express {x} {from_scale} in {to_scale}."),
)
CELSIUS, FAHRENHEIT, KELVIN = "degrees Celsius", "degrees Fahrenheit", "kelvins"
TO_FAHRENHEIT, TO_CELSIUS, TO_KELVIN = 14, 12, 10


def temperature_conversion(rng: random.Random) -> list[Row]:
    celsius = [Fraction(c) for c in range(-20, 105, 5)]
    pairs = [(c, CELSIUS, c * Fraction(9, 5) + 32, FAHRENHEIT) for c in take(celsius, TO_FAHRENHEIT, rng)]
    pairs += [(c * Fraction(9, 5) + 32, FAHRENHEIT, c, CELSIUS) for c in take(celsius, TO_CELSIUS, rng)]
    pairs += [(c, CELSIUS, c + Fraction(27315, 100), KELVIN) for c in take(celsius, TO_KELVIN, rng)]
    items = [
        {
            "x": decimal(x),
            "from_scale": from_scale,
            "to_scale": to_scale,
            "answer": f"{decimal(x)} {from_scale} is {decimal(y)} {to_scale}.",
        }
        for x, from_scale, y, to_scale in pairs
    ]
    return deal("temperature_conversion", ASK_TEMPERATURE, items, rng)


def decimal(value: Fraction) -> str:
    """The exact decimal text, at most two places: 5/2 -> '2.5', 29315/100 -> '293.15', 5 -> '5'."""
    hundredths = value * 100
    if hundredths.denominator != 1:
        raise ValueError(f"{value} has no exact form with two decimals")
    sign = "-" if hundredths < 0 else ""
    whole, rest = divmod(abs(hundredths.numerator), 100)
    return f"{sign}{whole}.{rest:02d}".rstrip("0").rstrip(".") if rest else f"{sign}{whole}"


def rows(rng_for: RngFor) -> list[Row]:
    return [
        *arithmetic(rng_for("arithmetic")),
        *number_properties(rng_for("number_properties")),
        *unit_conversion(rng_for("unit_conversion")),
        *temperature_conversion(rng_for("temperature_conversion")),
    ]
