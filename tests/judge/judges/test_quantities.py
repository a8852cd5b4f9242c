"""Quantities in an answer, and the same again in other units."""

import pytest

from stages.judge.judges.quantities import Quantity, bounded, quantities, without_conversions
from stages.judge.judges.wording import loose


def test_a_number_and_its_unit_with_degrees_between():
    words = loose("It is 20 degrees C, and 5 km away; 7 left")
    assert quantities(words) == [Quantity("20", "celsius", 2, 5), Quantity("5", "kilometre", 6, 8)]


@pytest.mark.parametrize(
    ("reference", "again", "same"),
    [
        # 100 x 9/5 + 32 = 212; 273.15 + 100
        ("100 degrees Celsius", "212 °F", True),
        ("100 degrees Celsius", "373.15 K", True),
        ("100 degrees Celsius", "211 °F", False),
        # -40 is the same in both
        ("-40 °C", "-40 °F", True),
        ("8.05 km", "5 miles", True),  # 5.002 miles, which rounds to 5
        ("8.05 km", "5.1 miles", False),
        ("1 kg", "2.2 pounds", True),  # 2.2046
        ("1 kg", "2.20 lb", True),
        ("1 kg", "2.3 pounds", False),
        ("1 kg", "35.27 oz", True),  # 35.274
        ("2 hours", "120 minutes", True),
        ("1 litre", "1000 ml", True),
        ("1 inch", "2.54 cm", True),
        ("1 kg", "1 litre", False),  # of another kind
    ],
)
def test_what_is_the_same_in_another_unit_is_left_out(reference, again, same):
    words, theirs = loose(f"It is {reference} ({again})"), loose(reference)
    assert without_conversions(words, theirs) == (["it", "is", *theirs] if same else words)


def test_a_conversion_alone_stays():
    words = loose("212 °F")
    assert without_conversions(words, loose("100 °C")) == words


def test_quantities_of_the_reference_stay():
    words = loose("3 kilometres is 3000 metres")
    assert without_conversions(words, words) == words


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("Fewer than 366.", ["fewer than 366"]),
        ("A leap year has less than three hundred and sixty-six days", ["less than 366"]),
        ("Almost 366", ["almost 366"]),
        ("Over 366", ["over 366"]),
        ("under 366 days", ["under 366"]),
        ("At least 366.", ["at least 366"]),
        ("up to 366, at most 366", ["up to 366"]),
        ("366", []),
        ("It takes about 366 days", []),
        ("It is 366, more than 365", []),
        ("It is 366, and at least 366", []),
        ("5 over 366", []),
        ("1 more than 366", []),
    ],
)
def test_a_bound_before_a_number_is_another_number(answer, found):
    assert bounded(loose(answer), ["366"], {"leap", "year"}) == found


def test_a_bound_that_the_reference_or_the_prompt_has_is_none():
    assert bounded(loose("at least 366"), ["366"], {"at", "least"}) == []
    assert bounded(loose("over 366"), ["366"], {"at", "least"}) == ["over 366"]
    assert bounded(loose("over Oslo"), ["oslo"], set()) == []


def test_a_limit_that_is_asked_for_may_be_said_as_one():
    assert bounded(loose("At most eleven may play"), ["11"], {"how", "many", "may"}) == []
    assert bounded(loose("Fewer than eleven may play"), ["11"], {"how", "many", "may"}) == ["fewer than 11"]
