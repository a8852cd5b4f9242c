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
        "Oslo?",
        "Is it Oslo?",
        "It may be (“Oslo”?)",
        "Oslo? I doubt it.",
        "Oslo, I deny that.",
        "Oslo? We do not think so.",
        "Oslo was once the capital, before Trondheim took over.",
        "Oslo was once the capital until Bergen replaced it",
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
        "What is the capital? Oslo.",
        "Oslo? Yes.",
        "Oslo? It is Oslo.",
        "It is Oslo. Do you mean Norway?",
        "Bergen? I doubt it. Oslo",
        "I have no doubt, Oslo",
        "Oslo, I do not doubt it",
        "Oslo, which was once a town before it grew",
        "Oslo is the capital. Bergen was once the capital, before Oslo took over",
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


PRIME = read_row("Is 21 a prime number?", "", "No, 21 is not a prime number.", Corpus([]))
GREATER = read_row("Is 7 greater than 9?", "", "No, 9 is greater than 7.", Corpus([]))
ASKED = read_row("Is this sentence a question?", "Where is the key?", "Yes, it is a question.", Corpus([]))


@pytest.mark.parametrize(
    ("row", "answer", "turned"),
    [
        (PRIME, "No, 21 is prime.", True),
        (PRIME, "No, it is prime.", True),
        (PRIME, "No. 21 is a prime number", True),
        (PRIME, "No, it is.", True),
        (PRIME, "No and yes.", True),
        (PRIME, "No, 21 is not prime.", False),
        (PRIME, "No, it is not.", False),
        (PRIME, "No, it is divisible by 3.", False),
        (PRIME, "No", False),
        (PRIME, "No, not 21", False),
        (PRIME, "21 is prime", False),
        (GREATER, "No, 9 is greater than 7.", False),
        (GREATER, "No, 7 is greater than 9.", True),
        (ASKED, "Yes, it is not a question.", True),
        (ASKED, "Yes, it isn't.", True),
        (ASKED, "Yes and no.", True),
        (ASKED, "Yes, it is.", False),
        (ASKED, "Yes, no doubt, it is a question.", False),
        (ASKED, "Yes, it is not a statement.", False),
    ],
)
def test_yes_and_no_are_checked_against_the_clause_behind_them(row, answer, turned):
    assert denied(answer, [row.truth], row) == ([f"not {row.truth}"] if turned else [])


def test_what_was_once_so_answers_a_question_of_that_time():
    row = read_row("What was the capital of West Germany?", "", "It was Bonn.", Corpus([]))
    assert denied("Bonn was once the capital, before Berlin took over.", ["bonn"], row) == []


def test_a_question_that_is_asked_for_is_not_denied_by_its_mark():
    row = read_row("Ask for the capital.", "", "Is it Oslo?", Corpus([]))
    assert denied("Oslo?", ["oslo"], row) == []


@given(st.text(max_size=80))
def test_any_text_is_read(answer):
    assert denied_words(answer, OSLO).isdisjoint({"not", "no", "|"})
