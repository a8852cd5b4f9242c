"""What an answer says in other words than its reference."""

import pytest

from stages.judge.judges.equivalents import in_its_words, labels_as_in, polarity
from stages.judge.judges.kinds import Corpus
from stages.judge.judges.rows import read_row
from stages.judge.judges.wording import loose


def row(instruction, reference):
    return read_row(instruction, "", reference, Corpus([]))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("No, it is late.", "no"),
        ("Yes.", "yes"),
        ("The answer is no.", "no"),
        ("The shop is not open.", "no"),
        ("The shop is open.", "yes"),
        ("It is closed.", "no"),
        ("It isn't.", "no"),
        ("The bird sings.", None),
        ("No birds sing.", None),
    ],
)
def test_yes_and_no_are_said_by_word_or_by_statement(answer, said):
    assert polarity(answer, row("Is the shop open?", "No, the shop is closed.")) == said


def test_the_rest_of_a_name_and_the_rounded_number_are_added_as_the_reference_has_them():
    novel = row("Who wrote it?", "Jane Austen wrote it.")
    assert in_its_words("Austen", ["austen"], novel, ["jane", "austen"]) == ["austen", "jane"]
    assert in_its_words("Jane", ["jane"], novel, ["jane", "austen"]) == ["jane"]
    assert in_its_words("2.718 m", ["2.718", "metre"], row("How long?", "2.72 m"), ["2.72"]) == ["2.72", "metre"]


def test_labels_are_singular_or_plural_in_groups_alone():
    groups = row("Sort these.", "Berries: fig\nFruits: plum")
    assert labels_as_in(loose("a fruit, a berry, a bus"), groups) == ["a", "fruits", "a", "berries", "a", "bus"]
    assert labels_as_in(["fruit"], row("Name the plural.", "fruits")) == ["fruit"]
