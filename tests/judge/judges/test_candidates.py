"""Lists of candidates, of which none is chosen."""

import pytest

from stages.judge.judges.candidates import candidates
from stages.judge.judges.kinds import Corpus
from stages.judge.judges.rows import read_row
from stages.judge.judges.wording import loose

OSLO = read_row("What is the capital of Norway?", "", "The capital of Norway is Oslo.", Corpus([]))
GEESE = read_row("What is the plural of 'ox'?", "", "The plural of 'ox' is 'oxen'.", Corpus([]))
SEVEN = read_row("How many days has a week?", "", "A week has 7 days.", Corpus([]))
BOTH = read_row("Which two colours make green?", "", "Blue and yellow, or yellow and blue.", Corpus([]))


@pytest.mark.parametrize(
    ("row", "core", "answer", "others"),
    [
        (OSLO, "oslo", "Oslo, Bergen or Stavanger", ["bergen", "stavanger"]),
        (OSLO, "oslo", "One of these: Bergen, Oslo, Trondheim.", ["bergen", "trondheim"]),
        (OSLO, "oslo", "Bergen/Oslo", ["bergen"]),
        (OSLO, "oslo", "Maybe Oslo, maybe Bergen", ["bergen"]),
        (OSLO, "oslo", "oslo, bergen, stavanger", ["bergen", "stavanger"]),
        (OSLO, "oslo", "Oslo, Norway", []),
        (OSLO, "oslo", "Oslo, Bergen", []),  # with a comma alone it may be a place in a place
        (OSLO, "oslo", "Oslo, a city by the sea, of course", []),
        (OSLO, "oslo", "Oslo, green, quiet", []),
        (OSLO, "oslo", "It is Oslo. Bergen, Stavanger and Trondheim are others.", []),
        (GEESE, "oxen", "oxes, oxens, oxen", ["oxes", "oxens"]),
        (GEESE, "oxen", "oxen", []),
        (SEVEN, "7", "5, 6, 7", ["5", "6"]),
        (SEVEN, "7", "7, counted from Monday, or a week", []),
        (BOTH, "blue yellow", "Blue, yellow or green", []),
    ],
)
def test_what_stands_beside_the_key_word(row, core, answer, others):
    assert candidates(answer, loose(answer), core.split(), row) == others


def test_a_quantity_that_was_said_again_in_another_unit_is_no_candidate():
    assert candidates("7 days or 168 hours", ["7", "day"], ["7"], SEVEN) == []
