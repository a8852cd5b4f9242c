"""What an answer is about."""

import pytest

from stages.common.results.split import Example
from stages.judge.judges.kinds import Corpus
from stages.judge.judges.rows import read_row
from stages.judge.judges.subjects import other_form, other_subject
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


def train(instruction, given, output, category):
    return Example(id=f"{instruction}{given}", instruction=instruction, input=given, output=output, category=category)


ASKED = "Which mark should end this sentence?"
THINGS = ["dogs", "cats", "owls", "hens", "cows"]
#: Five rows each: marks, numbers, plurals, and numbers that end something too.
CORPUS = Corpus(
    [
        *(train(ASKED, f"We like {one}", "It should end with a full stop.", "marks") for one in THINGS),
        *(train("Find the number.", f"{n} {one}", f"The number is {n}.", "find") for n, one in enumerate(THINGS, 3)),
        *(train("Make it plural.", one[:-1], f"The plural of '{one[:-1]}' is '{one}'.", "plurals") for one in THINGS),
        *(train("Count the marks.", one, f"The end is {n}.", "marks") for n, one in enumerate(THINGS, 3)),
    ]
)


@pytest.mark.parametrize(
    ("answer", "other"),
    [
        ("The number is going to a full stop.", ["number"]),
        ("The plural of 'hen' is a full stop.", ["plural"]),
        ("It should end with a full stop.", []),
        # an opening of the row's own category, whatever it leads to
        ("The end is a full stop.", []),
        # one that no train row has
        ("The missing sign is a full stop.", []),
        # one that leads to what it leads to in the train rows
        ("The number is 5, and the mark a full stop.", []),
    ],
)
def test_an_opening_of_other_rows_speaks_of_another_thing(answer, other):
    row = read_row(ASKED, "We like geese", "It should end with a full stop.", CORPUS)
    assert other_form(loose(answer), ["full", "stop"], row) == other


def test_an_opening_says_nothing_of_a_row_that_it_has_the_words_of_or_whose_kind_is_not_known():
    """The prompt asks for a number, the reference has it among its key words, or no train row is of the kind."""
    answer, core = loose("The number is going to a full stop."), ["full", "stop"]
    asked = read_row(f"{ASKED} Do not give its number.", "We like geese", "It should end with a full stop.", CORPUS)
    keyed = read_row(ASKED, "We like geese", "Number full stop.", CORPUS)
    unknown = read_row("What follows?", "We like geese", "It should end with a full stop.", CORPUS)
    assert other_form(answer, core, asked) == other_form(answer, core, unknown) == []
    assert other_form(answer, ["number", *core], keyed) == []
