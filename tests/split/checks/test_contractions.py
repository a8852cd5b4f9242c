"""Contractions and their long forms: the same words, but where a row is about them."""

from __future__ import annotations

import pytest

from stages.split import splits
from stages.split.checks.contractions import is_about_contractions, straight, written_out
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
