"""Other names, forms, units and numbers beside the key words."""

import pytest

from stages.common.results.split import Example
from stages.judge.judges.key_words import deciding, key_weights
from stages.judge.judges.kinds import Corpus
from stages.judge.judges.rightness import assess
from stages.judge.judges.rows import read_row

CAPITAL = ("What is the capital of Norway?", "The capital of Norway is Oslo.")
WROTE = ("Who wrote 'Emma'?", "Jane Austen wrote 'Emma'.")
PLURAL = ("What is the plural of 'mouse'?", "The plural of 'mouse' is 'mice'.")
YEAR = ("In which year did the Second World War end?", "It ended in 1945.")
SUM = ("What is 12 plus 7?", "12 plus 7 is 19.")
LENGTH = ("How many metres are there in 5 kilometres?", "5 kilometres is 5000 metres.")


def is_right(row, answer):
    instruction, reference = row
    return assess(answer, read_row(instruction, "", reference, Corpus([]))).right


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        (CAPITAL, "Bergen, Oslo."),
        (CAPITAL, "Bergen / Oslo"),
        (CAPITAL, "bergen, oslo"),
        (CAPITAL, "Oslo and Bergen."),
        (CAPITAL, "oslo and bergen"),
        (CAPITAL, "Oslo Bergen Stavanger"),
        (CAPITAL, "The capital of Norway is Bergen, once Oslo."),
        (CAPITAL, "Bergen (formerly Oslo)"),
        (CAPITAL, "I would have said Oslo, yet it is Bergen."),
        (CAPITAL, "The answer is Bergen, and Oslo is second."),
        (CAPITAL, "Oslo - sorry, Bergen."),
        (CAPITAL, "Hardly Oslo."),
        (CAPITAL, "Norway has no capital; Oslo is in Sweden."),
        (CAPITAL, "Oslo is a city in Sweden."),
        (WROTE, "Jane Austen Emily Bronte Charles Dickens"),
        (PLURAL, "mice mouses"),
        (YEAR, "1945 BC"),
        (YEAR, "September 2, 1944"),
        (YEAR, "1939 to 1945"),
        (YEAR, "It ended in 1944, after 1945."),
        (SUM, "19%"),
        (SUM, "19 kilograms"),
        (LENGTH, "5000 grams"),
    ],
)
def test_something_else_beside_the_key_words_contradicts_them(row, answer):
    assert is_right(row, answer) is False


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        (CAPITAL, "Oslo, Norway."),
        (CAPITAL, "oslo, norway"),
        (CAPITAL, "Oslo, which lies on a fjord."),
        (CAPITAL, "Oslo. It lies on the Oslofjord in the south of Norway."),
        (CAPITAL, "It is Oslo, and Bergen is smaller."),
        (CAPITAL, "Certainly, Oslo."),
        (CAPITAL, "yes, oslo"),
        (CAPITAL, "OSLO IS THE CAPITAL"),
        (CAPITAL, "Oslo City"),
        (CAPITAL, "Oslo, formerly Christiania."),
        (CAPITAL, "Oslo is the largest city in Norway, in Scandinavia."),
        (CAPITAL, "Not only is Oslo the capital, it is also the largest city."),
        (CAPITAL, "It is not just Oslo."),
        (WROTE, "Jane Austen, the English novelist, wrote it."),
        (PLURAL, "mice, as in 'two mice'"),
        (YEAR, "September 2, 1945"),
        (YEAR, "It ended in 1945, after starting in 1939."),
        (YEAR, "1945 AD"),
        (SUM, "It is nineteen."),
        (LENGTH, "5000 metres"),
    ],
)
def test_an_honest_addition_contradicts_nothing(row, answer):
    assert is_right(row, answer) is True


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        (
            ("When did people first walk on the Moon?", "People first walked on the Moon in 1969."),
            "On the Moon in 1959.",
        ),
        (("How many days does a year have?", "A year has 365 days."), "A year has 245 days."),
        (("How far is Berlin from Paris?", "Berlin is about 878 kilometres from Paris."), "It is 900 kilometres."),
        (("When did the Berlin Wall fall?", "The Berlin Wall fell in 1989."), "The Berlin Wall fell in 1974."),
        (("Is the Berlin Wall still there?", "No, it fell in 1989."), "No, it fell in 1974."),
        (("Who walked first on the Moon?", "Neil Armstrong (in 1969)."), "Neil Armstrong (in 1959)."),
    ],
)
def test_another_number_is_wrong_wherever_the_reference_has_its_own(row, answer):
    assert is_right(row, answer) is False
    assert is_right(row, row[1].replace("Neil", "It was Neil")) is True


def test_numbers_decide_whatever_they_weigh():
    """In a corpus where 365 is in most outputs, and so weighs next to nothing."""
    outputs = [f"Thing {word} takes 365 days." for word in ("a1x", "b2x", "c3x", "d4x", "e5x", "f6x")]
    corpus = Corpus(
        Example(id=str(place), instruction=f"Say {place}?", input="", output=output, category="c")
        for place, output in enumerate(outputs)
    )
    row = read_row("Describe a year on this planet of ours.", "", "Earthlings wait 365 days.", corpus)
    assert "365" in deciding(key_weights(row), row)
