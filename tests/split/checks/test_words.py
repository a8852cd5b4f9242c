"""The words that rows are compared by."""

from __future__ import annotations

import pytest

from stages.split import splits
from stages.split.checks.words import (
    answer_words,
    fold,
    is_about_form,
    matters,
    names,
    prompt_text,
    words,
    words_asked,
)
from tests.split.test_splits import row


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Name the man's e-mail, please!", ["Name", "man's", "e-mail", "please"]),
        ("Is 3.50 + .5 > 4?", ["Is", "3.50", "+", ".5", ">", "4"]),
        ("What is 5!?", ["What", "is", "5", "!"]),
        ("C++ and C#.", ["C", "+", "+", "and", "C", "#"]),
        ("Größe １２", ["Größe", "12"]),  # NFKC
        ("…?!", []),
    ],
)
def test_words_by_hand(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_acronyms_keep_their_capitals_unless_all_is_in_capitals() -> None:
    assert fold(["Is", "US", "USA", "NATO", "I"]) == ("is", "US", "USA", "nato", "i")
    assert fold(["IS", "US"]) == ("is", "us")


def test_answers_are_compared_without_punctuation() -> None:
    assert answer_words('It is "4.5".') == ("it", "is", "4.5")
    assert answer_words("-") == ("-",)
    assert answer_words(" ... ") == ()


def test_what_always_matters() -> None:
    assert all(map(matters, ["3.5", "four", "not", "don't", "+", "1st", "neither", "would"]))
    assert all(map(matters, ["UK", "NOT", "CO", "U.S"]))
    assert not any(map(matters, ["noon", "often", "nothingness", "house", "house_"]))
    assert names(["Is", "Anna", "at", "home"]) == {"anna"}


def test_the_capital_of_a_country_is_no_capital_letter() -> None:
    about = [
        "Fix the capital letters.",
        "Capitalise it.",
        "Which mark is missing?",
        "Correct it.",
        "Check its spelling.",
    ]
    other = ["Name the capital of France.", "Write a letter.", "Is it correct?"]
    rows = splits.with_ids([row(text) for text in (*about, *other)])
    assert [is_about_form(one) for one in rows] == [True] * 5 + [False] * 3


def test_a_prompt_is_its_instruction_and_the_input_in_a_line_of_its_own() -> None:
    with_input, alone = splits.with_ids([row("Sort it.", input="b, a"), row("Say hello.")])
    assert (prompt_text(with_input), prompt_text(alone)) == ("Sort it.\nb, a", "Say hello.")


@pytest.mark.parametrize(
    ("instruction", "input", "found"),
    [
        ("Could you please name a colour? Thank you very much!", "", ["name", "colour"]),
        ("Could you translate 'Thanks.'?", "", ["translate", "Thanks"]),
        ("Can you say 'Thanks.'?", "", ["Can", "you", "say", "Thanks"]),
        ("Say it in French: Good day. Thank you.", "", ["Say", "it", "in", "French", "Good", "day", "Thank", "you"]),
        ("What’s new?", "", ["What", "is", "new"]),
        ("Name it.", "I can't", ["Name", "it", "I", "can", "not"]),
        ("How many words?", "I can't", ["How", "many", "words", "I", "can't"]),
        ("What's its tone?", "I can't", ["What", "is", "its", "tone", "I", "can't"]),
        # Politeness is what is asked about, but where the text is elsewhere.
        ("Please go. Is it formal?", "", ["Please", "go", "Is", "it", "formal"]),
        ("Please say if it is formal: Go.", "", ["say", "if", "it", "is", "formal", "Go"]),
        ("Please say if it is formal.", "Please go.", ["say", "if", "it", "is", "formal", "Please", "go"]),
        ("Say tea, please.", "", ["Say", "tea"]),
        ("Say 'tea, please'.", "", ["Say", "tea", "please"]),
        ("Say please", "", ["Say", "please"]),
        ("Can you swim?", "", ["Can", "you", "swim"]),
        ("Expand the contraction.", "I can’t", ["Expand", "contraction", "I", "can't"]),
        ("Name it.", "a cat", ["Name", "it", "cat"]),
    ],
)
def test_what_is_asked_is_without_politeness_and_with_contractions_written_out(
    instruction: str, input: str, found: list[str]
) -> None:
    (one,) = splits.with_ids([row(instruction, input=input)])
    assert words_asked(one) == found
