"""The words of a text, loosely and strictly."""

import pytest

from stages.judge.judges.wording import BREAK, clauses, is_number, loose, strict


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat, the CAT!", ["the", "cat", "the", "cat"]),
        ("It’s “late”.", ["it", "late"]),
        ("3,000.0 m", ["3000", "metre"]),
        ("3.50 and 007", ["3.5", "and", "7"]),
        ("-63, 94 - 31 = 63", ["-63", "94", "31", "63"]),
        ("−20 °C", ["-20", "degrees", "celsius"]),
        ("5kg is 5000 grams", ["5", "kilogram", "is", "5000", "gram"]),
        ("two feet, one foot", ["2", "foot", "one", "foot"]),
        ("one kilogram, one day", ["1", "kilogram", "one", "day"]),
        ("20 degrees C", ["20", "degrees", "celsius"]),
        ("M.B.A., J. K. Rowe, 7 p.m.", ["mba", "jk", "rowe", "7", "pm"]),
        ("force = mass × time", ["force", "mass", "times", "time"]),
        ("area = width x height; 3 x 4", ["area", "width", "times", "height", "3", "x", "4"]),
        ("rate = sum / time, km/h", ["rate", "sum", "divided", "by", "time", "km", "h"]),
        ("all = one part + two", ["all", "one", "part", "2"]),
        ("all = wages + rent", ["all", "wages", "plus", "rent"]),
        ("**Oslo** is x", ["oslo", "is", "x"]),
        ("Twenty-four hours", ["24", "hour"]),
        ("three thousand two hundred", ["3200"]),
        ("three hundred sixty-six", ["366"]),
        ("three hundred and sixty-six days", ["366", "day"]),
        ("one hundred and twenty, one hundred twenty", ["120", "120"]),
        ("two thousand and five", ["2005"]),
        ("twelve thousand three hundred", ["12300"]),
        ("nineteen hundred and eighty-four", ["1984"]),
        ("two million five hundred thousand and one", ["2500001"]),
        ("a hundred and two thousand", ["a", "hundred", "and", "2000"]),
        ("one hundred and two thousand", ["102000"]),
        ("between one hundred and two hundred", ["between", "100", "and", "200"]),
        ("between two thousand and three thousand", ["between", "2000", "and", "3000"]),
        ("two thousand and three hundred", ["2000", "and", "300"]),
        ("one hundred two hundred", ["100", "200"]),
        ("two thousand three thousand", ["2000", "3000"]),
        ("one hundred and more", ["100", "and", "more"]),
        ("twenty and five", ["20", "and", "5"]),
        ("five twenty, twenty zero, six six", ["5", "20", "20", "0", "6", "6"]),
        ("two, five", ["2", "5"]),
        ("the odd one out", ["the", "odd", "one", "out"]),
        ("4 March 2021", ["date:2021-03-04"]),
        ("March 4th, 2021", ["date:2021-03-04"]),
        ("04/03/2021", ["date:2021-03-04"]),
        ("2021-03-04.", ["date:2021-03-04"]),
        ("8 June", ["8", "june"]),
        ("27 May, May 3rd, in May", ["27", "month:may", "month:may", "3", "rd", "in", "month:may"]),
        ("the 3rd of May", ["the", "3", "rd", "of", "month:may"]),
        ("It is May.", ["it", "is", "month:may"]),
        ("May", ["month:may"]),
        ("7 may be prime, 8 may not", ["7", "may", "be", "prime", "8", "may", "not"]),
        ("You may go, it may. May I?", ["you", "may", "go", "it", "may", "may", "i"]),
        ("He can't and won't; I'm not.", ["he", "can", "not", "and", "will", "not", "i", "am", "not"]),
        ("1. Carrot\n2. Leek\n- Onion", ["carrot", "leek", "onion"]),
        ("H2O and info@example.com.", ["h2o", "and", "info@example.com"]),
        ("50 %", ["50", "percent"]),
        (" \n...", []),
    ],
)
def test_loosely(text, words):
    assert loose(text) == words


IN_WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen - - twenty thirty forty fifty sixty seventy eighty ninety"""
ONES, TENS = IN_WORDS.split()[:20], IN_WORDS.split()[20:]


def in_words(number: int, joined: str, hyphen: str) -> str:
    """A number from 0 to 9999 in words, with or without "and" behind hundreds and thousands."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (hyphen + ONES[number % 10] if number % 10 else "")
    scale, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    rest = number % scale
    said = f"{ONES[number // scale]} {name}"
    return said + (f"{joined if rest < 100 else ' '}{in_words(rest, joined, hyphen)}" if rest else "")


@pytest.mark.thorough
@pytest.mark.parametrize("joined", [" ", " and "])
@pytest.mark.parametrize("hyphen", [" ", "-"])
def test_each_number_in_words_is_the_number(joined, hyphen):
    """But for a single "one", which is mostly no number."""
    numbers = [*range(10_000)]
    numbers.remove(1)
    assert [loose(in_words(number, joined, hyphen)) for number in numbers] == [[str(number)] for number in numbers]


def test_clauses_keep_where_a_mark_stood():
    assert clauses("Yes, it is.") == ["yes", BREAK, "it", "is", BREAK]


def test_strictly():
    assert strict('"Anna isn\'t in Rome."') == ["Anna", "isn't", "in", "Rome"]
    assert strict("Anna isn't in Rome.") == ["Anna", "isn't", "in", "Rome"]
    assert strict("Is it 2021-03-04?") == ["Is", "it", "2021-03-04", "?"]
    assert strict("anna@example.com") == ["anna@example.com"]


@pytest.mark.parametrize(
    ("word", "number"), [("7", True), ("-0.5", True), ("²", False), ("²3", False), ("7th", False), ("", False)]
)
def test_a_number_is_what_float_reads(word: str, number: bool) -> None:
    assert is_number(word) == number
