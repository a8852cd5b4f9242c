"""Contractions and their long forms: the same words, but where a row is about them."""

from __future__ import annotations

import time

import pytest

from stages.split import splits
from stages.split.checks.contractions import (
    is_about_contractions,
    is_about_wording,
    opening_written_out,
    straight,
    written_out,
)
from tests.split.test_splits import row


@pytest.mark.parametrize(
    ("text", "long"),
    [
        ("What's new? Who’s there? It`s me.", "What is new? Who is there? It is me."),
        ("I'm, you're, they've, we'll, she'd go", "I am, you are, they have, we will, she would go"),
        ("can't, cannot, won't, shan't, mustn't", "can not, can not, will not, shall not, must not"),
        ("Whats that? I dont know, they werent told.", "What is that? I do not know, they were not told."),
        ("Let's go. DON'T! I'M OFF.", "Let's go. DO NOT! I AM OFF."),
        # A possessive, other words, and words that are whole without an apostrophe.
        ("the man's hat, the dogs' bed", "the man's hat, the dogs' bed"),
        ("its paint, were, well, cant, wont, lets", "its paint, were, well, cant, wont, lets"),
        ("o'clock, ma'am, '90s", "o'clock, ma'am, '90s"),
    ],
)
def test_contractions_are_written_out_and_possessives_are_not(text: str, long: str) -> None:
    assert written_out(text) == long


@pytest.mark.parametrize(
    ("text", "long"),
    [
        ("Who's left? Who's there?", "Who's left? Who is there?"),
        ("He's just been told. He's old.", "He's just been told. He is old."),
        ("What's she got? What's she like?", "What's she got? What is she like?"),
        ("What's red? What's in bed?", "What is red? What is in bed?"),
        ("I'd gone. I'd not go.", "I'd gone. I would not go."),
    ],
)
def test_what_can_be_has_or_had_stays(text: str, long: str) -> None:
    assert written_out(text) == long


@pytest.mark.parametrize(
    "quoted",
    ['"I\'m"', "“I'm”", "„I'm“", "«I'm»", "'I'm'", "'Don't say I'm.'", "''I'm''", "len(I'm)", "len('I'm')"],
)
def test_quotations_and_code_stay_and_what_is_around_them_does_not(quoted: str) -> None:
    assert written_out(f"I'm {quoted}, I'm {quoted}. I'm") == f"I am {quoted}, I am {quoted}. I am"


@pytest.mark.parametrize("mark", ['"', "“", "„", "«", " '"])
def test_a_mark_that_is_not_closed_quotes_nothing_and_takes_no_longer(mark: str) -> None:
    assert written_out(f"{mark}I'm") == f"{mark}I am"
    seconds = []
    for count in (1_000, 8_000):
        text = f"I'm {mark}a " * count
        begun = time.process_time()
        assert written_out(text).startswith("I am ")
        seconds.append(time.process_time() - begun)
    assert seconds[1] < 30 * seconds[0]  # eight times the text


@pytest.mark.parametrize(
    ("text", "long"),
    [
        ("What's the tense of I don't know?", "What is the tense of I don't know?"),
        ("Whats this? It's new.", "What is this? It's new."),
        ("What's left? What's new?", "What's left? What's new?"),
        ("Who’re they? I'm new.", "Who are they? I'm new."),
        ("Is it I'm?", "Is it I'm?"),
        ("Its I'm?", "Its I'm?"),
    ],
)
def test_only_the_word_that_opens_a_text_is_written_out(text: str, long: str) -> None:
    assert opening_written_out(text) == long


def test_whether_an_instruction_is_about_the_wording() -> None:
    about = ["How many different words are there?", "Split it.", "How long is this line?", "Which tense?", "Tokenise."]
    other = ["How many people are there?", "How long is the Nile?", "Is it intense?", "Don't use the word 'old'."]
    assert [is_about_wording(text) for text in (*about, *other)] == [True] * 5 + [False] * 4


def test_every_apostrophe_is_the_same() -> None:
    assert straight("a’b‘cʼd′e´f`g＇h") == "a'b'c'd'e'f'g'h"
    assert straight("don`t") == "don't"


@pytest.mark.parametrize(
    ("one", "is_about"),
    [
        (row("Expand the contraction: can't", "cannot"), True),
        (row("Make it less formal.", "I don't go.", "I do not go."), True),
        (row("Write don't as do not: I don't go.", "So be it."), True),
        (row("Write don't as do not: I can't go.", "So be it."), True),
        (row("Rewrite: I can't go.", "I cannot go."), True),
        (row("Fix this: I dont know.", "I don't know."), True),
        (row("Translate: I don't know.", "Je ne sais pas."), False),
        (row("Repeat: I don't know.", "I don't know."), False),
        (row("What's the capital of France?", "It's Paris."), False),
    ],
)
def test_whether_a_row_is_about_contractions(one: dict[str, str], is_about: bool) -> None:
    assert is_about_contractions(splits.with_ids([one])[0]) is is_about
