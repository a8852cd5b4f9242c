"""What an answer is about."""

import pytest

from stages.judge.judges.kinds import Corpus
from stages.judge.judges.rows import read_row
from stages.judge.judges.subjects import other_subject
from stages.judge.judges.wording import loose

OSLO = read_row("What is the capital of Norway?", "", "The capital of Norway is Oslo.", Corpus([]))
NOVEL = read_row("Who wrote 'Emma'?", "", "The author of 'Emma' is Jane Austen.", Corpus([]))
SPIDER = read_row("How many legs does a spider have?", "", "A spider has eight legs.", Corpus([]))
SYMBOL = read_row("Give the chemical symbol for iron.", "", "The chemical symbol for iron is Fe.", Corpus([]))
OCEAN = read_row("Which is the largest ocean?", "", "The largest ocean is the Pacific.", Corpus([]))


@pytest.mark.parametrize(
    ("row", "answer", "other"),
    [
        (OSLO, "The capital of Sweden is Oslo.", ["sweden"]),
        (OSLO, "Oslo is the capital of Denmark.", ["denmark"]),
        (OSLO, "Oslo is the capital of Norway, and not of Denmark.", []),
        (OSLO, "It is Oslo.", []),
        (NOVEL, "Jane Austen wrote 'Persuasion'.", ["persuasion"]),
        (NOVEL, "It was written by Jane Austen in Chawton.", []),
        (SPIDER, "An insect has eight legs.", ["insect"]),
        (SPIDER, "Spiders have eight legs.", []),
        (SYMBOL, "Fe is the symbol for gold.", ["gold"]),
        (SYMBOL, "The symbol is Fe.", []),
        (OCEAN, "The biggest ocean is the Pacific.", []),
    ],
)
def test_words_in_the_place_of_what_is_asked_about(row, answer, other):
    assert other_subject(loose(answer), row) == other
