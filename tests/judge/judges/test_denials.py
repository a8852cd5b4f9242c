"""What an answer denies, near a word or far from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.judge.judges.denials import denied, denied_words, is_denial, is_rejected
from stages.judge.judges.kinds import Corpus
from stages.judge.judges.rows import read_row

OSLO = read_row("What is the capital of Norway?", "", "The capital of Norway is Oslo.", Corpus([]))
FALSE = read_row("Find the false friend.", "gift, Gift", "The false friend is Gift.", Corpus([]))


@pytest.mark.parametrize(
    "answer",
    [
        "not Oslo",
        "Nobody who knows the country would say that its capital is Oslo",
        "Oslo is not the capital",
        "Oslo is wrong",
        "It is a common mistake to say Oslo",
        "Many say Oslo, which is not true",
        "Oslo? No.",
        "anything but Oslo",
        "rather Bergen than Oslo is far from Oslo",
        "everything except Oslo",
    ],
)
def test_a_denied_word(answer):
    assert denied(answer, ["oslo"], OSLO) == ["not oslo"]


@pytest.mark.parametrize(
    "answer",
    [
        "Oslo",
        "no doubt, Oslo",
        "It is without any doubt Oslo",
        "no one but Oslo",
        "nothing other than Oslo",
        "not Bergen but Oslo",
        "Bergen is wrong; Oslo is right",
        "Some say Bergen, but that is a mistake: Oslo",
        "Bergen is not the capital and Oslo is the capital",
        "Oslo, because Bergen is not the capital",
    ],
)
def test_a_word_that_is_not_denied(answer):
    assert denied(answer, ["oslo"], OSLO) == []


def test_words_of_the_prompt_and_the_reference_reject_nothing():
    assert denied("The false friend is Gift", ["gift"], FALSE) == []
    assert is_rejected(["false"], OSLO)
    assert not is_rejected(["false"], FALSE)


def test_what_is_denied_in_the_reference_too_is_no_contradiction():
    row = read_row("Is it open?", "", "It is not open.", Corpus([]))
    assert denied("It is not open", ["open"], row) == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("21 is not prime", True),
        ("21 is prime", False),
        ("it is wrong that 21 is prime", True),
        ("it is not true that 21 is not prime", False),
    ],
)
def test_a_statement_is_denied_once(statement, expected):
    assert is_denial(statement.split(), OSLO) is expected


@given(st.text(max_size=80))
def test_any_text_is_read(answer):
    assert denied_words(answer, OSLO).isdisjoint({"not", "no", "|"})
