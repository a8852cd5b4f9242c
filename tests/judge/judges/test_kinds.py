"""What the train rows tell: rarity, forms of speech, answers of other rows, and whether a kind has one answer."""

import math

import pytest

from stages.common.results.split import Example
from stages.judge.judges.kinds import Corpus, read_prompt


def row(instruction, output, given="", category="x"):
    return Example(id=f"{instruction}{given}", instruction=instruction, input=given, output=output, category=category)


CAPITALS = {"Peru": "Lima", "Norway": "Oslo", "Japan": "Tokyo", "Kenya": "Nairobi", "Cuba": "Havana"}
OF_CAPITALS = [
    row(f"What is the capital of {land}?", f"The capital of {land} is {city}.") for land, city in CAPITALS.items()
]
SENTENCES = {
    "dog": "A dog barked behind the house.",
    "rain": "Heavy rain flooded our cellar.",
    "lamp": "She bought a green lamp yesterday.",
    "river": "Boats crossed the quiet river.",
    "bread": "Fresh bread smells wonderful.",
}
OF_SENTENCES = [row("Write something with this word.", text, word) for word, text in SENTENCES.items()]


def test_a_prompt_is_what_is_asked_and_what_is_given():
    prompt = read_prompt("What is the plural of 'mouse'?", "")
    assert prompt.asked == {"what", "is", "the", "plural", "of"}
    assert prompt.named == prompt.given == ("mouse",)
    assert not prompt.listed
    with_input = read_prompt("Which word comes first in this list?", "cat, dog, owl")
    assert (with_input.named, with_input.given, with_input.listed) == ((), ("cat", "dog", "owl"), True)
    assert read_prompt("Add 3 and 4 in Rome on 4 March 2021.", "").named == ("3", "4", "rome", "date:2021-03-04")
    assert read_prompt("Sort these: owl, cat.", "").given == ("owl", "cat")


def test_rarity_by_hand():
    """Of 3 outputs "the" is in all, ln(4/4) / ln 4 = 0; "cat" in one, ln(4/2) / ln 4 = 1/2; "owl" in none, 1."""
    corpus = Corpus([row("a", "The cat."), row("b", "the dog"), row("c", "the the")])
    assert [corpus.rarity(word) for word in ("the", "cat", "owl")] == pytest.approx([0.0, 0.5, 1.0])
    assert corpus.rarity("dog") == pytest.approx(math.log(2) / math.log(4))
    assert Corpus([]).rarity("the") == 1.0


def test_a_kind_has_a_form_and_the_answers_of_its_rows():
    kind = Corpus(OF_CAPITALS + OF_SENTENCES).kind(read_prompt("What is the capital of Spain?", ""))
    assert kind.rows == 5
    assert kind.form == {"the", "capital", "of", "is"}
    assert frozenset({"lima"}) in kind.answers
    assert not kind.is_open


def test_outputs_that_use_what_is_given_and_share_nothing_make_an_open_kind():
    assert Corpus(OF_CAPITALS + OF_SENTENCES).kind(read_prompt("Write something with this word.", "owl")).is_open


def test_of_few_rows_nothing_is_concluded():
    kind = Corpus(OF_SENTENCES[:4]).kind(read_prompt("Write something with this word.", "owl"))
    assert (kind.rows, kind.form, kind.answers, kind.is_open) == (4, frozenset(), frozenset(), False)


def test_words_that_an_instruction_offers_and_some_outputs_take_are_choices():
    rows = [row("Is this loud or quiet?", f"It is {'loud' if n % 2 else 'quiet'}.", f"thing {n}") for n in range(6)]
    kind = Corpus(rows).kind(read_prompt("Is this loud or quiet?", "thing 9"))
    assert kind.choices == {"loud", "quiet"}


def test_an_output_of_several_rows_is_a_label_and_an_opening_is_seen():
    corpus = Corpus([row(str(n), f"The sum is {n % 5}.") for n in range(10)])
    assert corpus.is_label(["the", "sum", "is", "3"])
    assert not corpus.is_label(["the", "sum", "is", "7"])
    assert corpus.opening(["the", "sum", "is", "9"]) == {"the", "sum", "is"}
    assert corpus.opening(["a", "sum"]) == frozenset()


def test_an_opening_leads_to_what_it_led_to_and_to_anything_where_that_is_without_bounds():
    """Of five outputs four have a number next, which is 80 %; each colour is there twice; each name is there once."""
    numbers = [row(f"n{n}", f"The number is {n}.") for n in (3, 4, 5, 6)] + [row("n", "The number is odd.")]
    colours = [row(f"c{n}", f"Its colour is {'red' if n % 2 else 'blue'}.") for n in range(6)]
    names = [row(f"a{name}", f"A name is {name}.") for name in ("Ann", "Ben", "Cy", "Di", "Ed")]
    corpus = Corpus([*numbers, *colours, *names])
    for words, leads in (
        (["the", "number", "is", "7"], {"9": True, "odd": True, "going": False}),
        (["its", "colour", "is", "red"], {"blue": True, "green": False, "7": False}),
        (["a", "name", "is", "ann"], {"fay": True}),
    ):
        opening, found = corpus.shared_opening(words)
        assert opening == tuple(words[:3])
        assert {word: found.leads_to(word) for word in leads} == leads


def test_an_opening_and_a_kind_have_the_categories_of_their_rows():
    corpus = Corpus([*OF_CAPITALS, row("Name a capital city.", "The capital of Mali is Bamako.", category="y")])
    assert corpus.shared_opening(["the", "capital", "of", "spain"])[1].categories == {"x", "y"}
    assert corpus.kind(read_prompt("What is the capital of Spain?", "")).categories == {"x"}
    assert corpus.kind(read_prompt("What time is it?", "")).categories == frozenset()
    assert corpus.shared_opening(["what", "is"])[0] == ()


def test_the_digest_depends_on_the_rows_and_not_on_their_order():
    digest = Corpus(OF_CAPITALS).digest
    assert digest == Corpus(OF_CAPITALS[::-1]).digest
    assert digest != Corpus(OF_CAPITALS[1:]).digest
    assert digest != Corpus([*OF_CAPITALS[1:], row("What is the capital of Peru?", "Cusco.")]).digest
    moved = row("What is the capital of Peru?", "The capital of Peru is Lima.", category="y")
    assert digest != Corpus([moved, *OF_CAPITALS[1:]]).digest
