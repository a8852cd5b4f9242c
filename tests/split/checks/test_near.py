"""Which prompts ask the same: by hand, on the bundled rows and on the book's."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.results.split import Example
from stages.download import dataset
from stages.split import splits
from stages.split.checks import near
from stages.split.checks.words import is_about_form
from tests.root import ROOT
from tests.split.test_splits import row

BUNDLED = ROOT / "assets" / "data" / "instructions.json"
BOOK = ROOT / "../shared/data/instruction-data.json"


def pairs(rows: Sequence[Example]) -> list[tuple[int, int]]:
    """Each row that is near to an earlier one, but not equal to it, with that one."""
    found = near.find(rows)
    return [(first, number) for number, first in enumerate(found.near) if found.equal[number] != found.equal[first]]


def near_each_other(*rows: dataset.Row) -> bool:
    return pairs(splits.with_ids(rows)) != []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Written differently.
        (row("Name the capital of France."), row("name the capital of France", "p")),
        (row("Please classify the following words:", input="saw, axe"), row("Classify these words: saw, axe", "p")),
        (row("Use the word 'old.'"), row('Use the word "old".', "p")),
        # Contractions, with the apostrophes that people type.
        (row("What's the capital of France?"), row("What is the capital of France?", "p")),
        (row("Why can’t fish fly?"), row("why cannot fish fly", "p")),
        (row("Don't use the word 'old'."), row("Do not use the word “old”.", "p")),
        (row("I'm cold, and it doesnt stop. Why?"), row("I am cold and it does not stop. Why?", "p")),
        # Quotation marks, runs of spaces, politeness.
        (row("Use  the word «old»."), row('Use the\n word "old".', "p")),
        (row("Could you please name a colour?"), row("Name a colour.", "p")),
        (row("Hello, can you name a colour? Thank you very much!"), row("Name a colour.", "p")),
        # A typing error; the answers are the same.
        (row("What is the oposite of warm?", "It is cold."), row("What is the opposite of warm?", "it is cold")),
        (row("Name a colour of the sky.", "Blue is one."), row("Name a color of the sky.", "Blue is one.")),
        (row("Draw a tree wiht roots.", "Done so."), row("Draw a tree with roots.", "Done so.")),
        # Four fifths of the words are the same, and so are the answers: four of five, and eight of ten.
        (row("Mills stand near rivers.", "Yes, they do."), row("Mills often stand near rivers.", "Yes, they do.")),
        (
            row("Quiet old rivers run past many mills every day.", "So they do."),
            row("Quiet old rivers run past many mills each day.", "So they do."),
        ),
        (
            row("Summarise: The quiet river runs past many old mills every day.", "A river passes old mills."),
            row("Summarise: The quiet river runs past many old mills each day.", "A river passes old mills."),
        ),
    ],
)
def test_what_differs_does_not_matter(one: dataset.Row, other: dataset.Row) -> None:
    assert near_each_other(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # A number, a name, a negation, a sign, an acronym.
        (row("True or false: 28 is greater than 7"), row("True or false: 28 is greater than 30")),
        (row("Does Anna live in this red house at sea?", "y"), row("Does Emma live in this red house at sea?", "y")),
        (row("Is this a word that people use at sea?", "y"), row("Is this not a word that people use at sea?", "y")),
        (row("What is 3 + 4?", "7"), row("What is 3 - 4?", "7")),
        (row("What is 5?", "5"), row("What is 5!?", "5")),
        (row("Which element is Co?", "x"), row("Which element is CO?", "x")),
        # In capitals: another acronym, which may be the first word, and a negation or a verb that is stressed.
        (
            row("What is the largest and most crowded capital city of the UK today?", "It is a large one."),
            row("What is the largest and most crowded capital city of the US today?", "It is a large one."),
        ),
        (
            row("UK farmers grow much fine wheat near rivers every year.", "So it is."),
            row("US farmers grow much fine wheat near rivers every year.", "So it is."),
        ),
        (row("FBI men work in this old town.", "So it is."), row("Men work in this old town.", "So it is.")),
        (
            row("Most of these old snakes can lay eggs.", "So it is."),
            row("Most of these old snakes can NOT lay eggs.", "So it is."),
        ),
        (row("Old snakes lay eggs every year.", "So it is."), row("Old snakes MAY lay eggs every year.", "So it is.")),
        # A name or a number in one of them.
        (
            row("In our old town Rose sells fresh flowers every day.", "So it is."),
            row("In our old town somebody sells fresh flowers every day.", "So it is."),
        ),
        (
            row("In our old town 12 people sell fresh flowers.", "So it is."),
            row("In our old town quiet people sell fresh flowers.", "So it is."),
        ),
        # Seven words of nine, and four of six.
        (
            row("Old rivers run past many mills every day.", "So they do."),
            row("Old rivers run past many mills each day.", "So they do."),
        ),
        (row("Mills stand near rivers.", "Yes."), row("Mills quite often stand near rivers.", "Yes.")),
        (row("Mills quite often stand near rivers.", "Yes."), row("Mills stand near rivers.", "Yes.")),
        # Another short word.
        (row("Draw a hut there.", "Done so."), row("Draw a hat there.", "Done so.")),
        (row("Draw a cat there.", "Done so."), row("Draw a cart there.", "Done so.")),
        # A typing error, which is what is asked about, or whose answers say nothing.
        (row("Correct the spelling: oposite", "opposite"), row("Correct the spelling: opposite", "opposite")),
        (row("What is the oposite of warm?", "..."), row("What is the opposite of warm?", "!")),
        # One word of a few, or the order of the words.
        (row("What rhymes with mice?", "Rice does."), row("What rhymes with dice?", "Lice does.")),
        (row("The dog bites the man in our street."), row("The man bites the dog in our street.")),
        # It is asked about what differs.
        (row("Count the capital letters.", "None.", "anna"), row("Count the capital letters.", "One.", "Anna")),
        (row("Add the missing article.", "A dog.", "dog"), row("Add the missing article.", "A dog.", "the dog")),
        # Contractions or politeness are what is asked about.
        (row("Expand the contraction: can't", "cannot"), row("Expand the contraction: don't", "do not")),
        (row("Write 'do not' as a contraction.", "don't"), row("Write 'don't' as a contraction.", "don't")),
        (row("Write don't as do not: I don't go.", "x"), row("Write do not as don't: I do not go.", "y")),
        (row("Rewrite: I don't know.", "I do not know."), row("Rewrite: I do not know.", "I don't know.")),
        (row("Fix: I dont know.", "I don't know."), row("Fix: I don't know.", "It is right.")),
        (row("Say it politely: Give me tea.", "x"), row("Say it politely: Please give me tea.", "y")),
        (row("Translate: Good day. Thank you.", "x"), row("Translate: Good day.", "y")),
        (row("Whose toy is it, the cats?"), row("Whose toy is it, the cat's?", "p")),
        # Other inputs, which the answers show.
        (row("Which tense is it?", "past", "we walked home"), row("Which tense is it?", "present", "we walk home")),
        # Signs alone are no words.
        (row("???"), row("!!!")),
    ],
)  # fmt: skip
def test_what_differs_matters(one: dataset.Row, other: dataset.Row) -> None:
    assert not near_each_other(one, other)


@pytest.mark.parametrize(
    "question",
    [
        "breathe under water",
        "be happy if you won a million",
        "be fired for being sick",
        "eat insects",
        "legally own a tiger in Texas",
        "make soap at home",
        "help a stranger",
        "rather fly or swim",
        # A request but for what follows.
        "name your son after a king",
        "describe yourself as shy",
        "write a poem if you were sad",
    ],
)
def test_a_question_about_a_person_is_no_request(question: str) -> None:
    """None of its verbs is another: one answer to all is not enough to make them the same."""
    asked = [f"{verb} you {question}?" for verb in ("Can", "Could", "Will", "Would")]
    rows = splits.with_ids([row(text, "So I think.") for text in (*asked, f"{question.capitalize()}.")])
    assert pairs(rows) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Could you explain why the sky is blue?", "Explain why the sky is blue."),
        ("Hi, would you please sing?", "Sing."),
        ("Please, will you list three fruits?", "List three fruits."),
        ("Could you tell me the capital of France?", "Tell me the capital of France."),
        ("Can you give an example of a mammal?", "Give an example of a mammal."),
        ("Can you convert 5 km to miles?", "Convert 5 km to miles."),
        ("Can you write a poem?", "Could you write a poem?"),
        ("Please list three fruits.", "List three fruits."),
        ("List three fruits, please.", "List three fruits."),
        ("List three fruits please", "List three fruits."),
        ("I have a cold. Please suggest a tea.", "I have a cold. Suggest a tea."),
        ("Please say it in French: Good day.", "Say it in French: Good day."),
        # Only the text that an instruction is about is left as it is.
        ("What's the length of the Nile?", "What is the length of the Nile?"),
        ("What's the past tense of 'go'?", "What is the past tense of 'go'?"),
        ("How many people don't eat meat?", "How many people do not eat meat?"),
        ("I'd like tea. What does it cost?", "I would like tea. What does it cost?"),
        ("What's the name of the United States' capital?", "What is the name of the United States' capital?"),
    ],
)
def test_a_request_and_a_contraction_are_the_same_in_other_words(one: str, other: str) -> None:
    assert near_each_other(row(one, "x"), row(other, "y"))


def test_politeness_before_an_instruction_about_the_style_of_its_input_is_left_out() -> None:
    one, other = (row(text, "x", "Pass the salt.") for text in ("Please make it formal.", "Make it formal."))
    assert near_each_other(one, other)


@pytest.mark.parametrize(
    "instruction",
    [
        "How many words are in the sentence?",
        "How many syllables are in the sentence?",
        "What's the number of letters?",
        "Count the words.",
        "Tokenize the sentence.",
        "Split into words.",
        "Name the longest word.",
        "Rate the register from 1 to 5.",
        "Describe the tone.",
        "Which dialect is it?",
        "Is this British or American usage?",
        "Is this British or American?",
        "Suggestion or permission?",
        "How long is this string in Python?",
        "What's its length?",
        "Name the tense.",
        "Parse.",
        "Find the auxiliary verb.",
        "Reverse it.",
        "Transcribe it in phonetic signs.",
    ],
)
@pytest.mark.parametrize(
    ("short", "long"),
    [("I don't know", "I do not know"), ("We'll go", "We will go"), ("What's new", "What is new")],
)
def test_a_contraction_is_another_text_where_the_wording_is_asked_about(
    instruction: str, short: str, long: str
) -> None:
    for place in ("{0}\n{1}", "{0} {1}", "{0} '{1}'"):
        assert not near_each_other(*(row(place.format(instruction, text)) for text in (short, long)))
    assert not near_each_other(*(row(instruction, input=text) for text in (short, long)))


@pytest.mark.parametrize(
    ("short", "long"),
    [
        # Which of two words a contraction stands for.
        ("I'd gone", "I would gone"),
        ("Who's left", "Who is left"),
        ("He's already finished", "He is already finished"),
        ("What's he got?", "What is he got?"),
        ("What's the man done?", "What is the man done?"),
        ("Let's go", "Let us go"),
        # In quotation marks and code.
        ('Say "don\'t".', 'Say "do not".'),
        ("Say “don’t”.", "Say “do not”."),
        ("Say «I'm».", "Say «I am»."),
        ("Say „I'm“.", "Say „I am“."),
        ("Say 'I'm'.", "Say 'I am'."),
        ("Say ‘I’m’.", "Say ‘I am’."),
        ("Run `I'm`.", "Run `I am`."),
        ("What is len('I'm')?", "What is len('I am')?"),
        ("What is say(I'm)?", "What is say(I am)?"),
    ],
)
def test_what_can_be_two_things_or_is_quoted_is_not_written_out(short: str, long: str) -> None:
    assert not near_each_other(row("Go on.", input=short), row("Go on.", input=long))
    assert not near_each_other(row(short), row(long))


@pytest.mark.parametrize(
    "instruction",
    ["Make the request more respectful.", "Make it formal.", "What is the tone?", "Is it rude?", "Translate."],
)
def test_please_in_a_text_that_is_asked_about_is_no_filler(instruction: str) -> None:
    for text in ("Please pass the salt.", "Pass the salt, please."):
        plain = "Pass the salt."
        assert not near_each_other(row(instruction, input=plain), row(instruction, input=text))
        assert not near_each_other(row(f"{instruction[:-1]}: {plain}"), row(f"{instruction[:-1]}: {text}"))
        assert not near_each_other(row(f"{instruction[:-1]} '{plain}'"), row(f"{instruction[:-1]} '{text}'"))
    assert not near_each_other(row(f"{instruction} Pass the salt."), row(f"{instruction} Please pass the salt."))


@pytest.mark.parametrize(
    "instruction", ["Make the request more respectful.", "Rate the tone.", "Is it good etiquette?"]
)
def test_please_before_a_text_that_is_rated_is_no_filler(instruction: str) -> None:
    assert not near_each_other(row(f"Please pass the salt. {instruction}"), row(f"Pass the salt. {instruction}"))


def test_a_polite_request_to_correct_is_about_form() -> None:
    for instruction in ("Please correct it.", "Could you correct it?"):
        assert not near_each_other(row(instruction, "x", "anna"), row(instruction, "y", "Anna"))


def test_an_answer_that_many_rows_share_does_not_show_that_prompts_ask_the_same() -> None:
    texts = ["a quiet film about two old friends", "a quiet play about two old friends"]
    two = [row(f"Is this review good or bad? It is {text}.", "good") for text in texts]
    others = [row(f"Something else, number {number}", "good") for number in range(4)]
    assert near_each_other(*two)
    assert near_each_other(*two, *others[:3])
    assert not near_each_other(*two, *others)


def test_the_bundled_dataset_has_no_near_duplicates() -> None:
    examples = splits.with_ids(json.loads(BUNDLED.read_text(encoding="utf-8")))
    assert pairs(examples) == []
    assert list(near.find(examples).equal) == list(range(4036))


def test_the_books_dataset_has_six_by_hand() -> None:
    if not BOOK.is_file():
        pytest.skip(f"no copy of the book's dataset at {BOOK.relative_to(ROOT)}")
    examples = splits.with_ids(dataset.read(BOOK, name="the book's", fix="").rows)
    assert [(examples[a].instruction, examples[b].instruction) for a, b in sorted(pairs(examples))] == [
        ('Suggest a more formal synonym for "happy."', "Suggest a more formal synonym for 'happy.'"),
        ("Generate a sentence using the word 'gregarious'.", "Generate a sentence using the word 'gregarious.'"),
        ("Generate a sentence using the word 'serendipity.'", "Generate a sentence using the word 'serendipity'."),
        ("Create a sentence that begins with 'If only,'", 'Create a sentence that begins with "If only,"'),
        ("Generate a sentence using the word 'illuminate'.", "Generate a sentence using the word 'illuminate.'"),
        ("Generate a sentence using the word 'transient.'", "Generate a sentence using the word 'transient'."),
    ]


@settings(deadline=None, max_examples=30)
@given(st.sets(st.integers(0, 4035), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_copies_with_other_punctuation_are_found_among_the_bundled_rows(
    numbers: set[int], drawn: random.Random
) -> None:
    rows = json.loads(BUNDLED.read_text(encoding="utf-8"))[:400]
    chosen = sorted({number % 400 for number in numbers})
    changes = ["{} ", "Please, {}", " {}", "{}.", "Kindly: {}"]
    copies = [
        rows[number] | {"instruction": drawn.choice(changes).format(rows[number]["instruction"])} for number in chosen
    ]
    about_form = [is_about_form(example) for example in splits.with_ids(rows)]

    found = pairs(splits.with_ids([*rows, *copies]))

    assert found == [(number, 400 + at) for at, number in enumerate(chosen) if not about_form[number]]


def test_one_apart_is_the_same_both_ways_and_means_one_change() -> None:
    """Of all words of up to four letters of three."""
    every = ["".join(letters) for length in range(5) for letters in itertools.product("abc", repeat=length)]
    for a in every:
        changed = {a[:at] + a[at + 1 :] for at in range(len(a))}
        changed |= {a[:at] + one + a[at:] for at in range(len(a) + 1) for one in "abc"}
        changed |= {a[:at] + one + a[at + 1 :] for at in range(len(a)) for one in "abc"}
        changed |= {a[:at] + a[at + 1] + a[at] + a[at + 2 :] for at in range(len(a) - 1)}
        assert [near.one_apart(a, b) for b in every] == [b in changed - {a} for b in every]


def test_a_typing_error_is_looked_for_in_prompts_of_up_to_100_words() -> None:
    """Too few different words for the other comparison."""
    for others, is_near in ((99, True), (100, False)):
        two = [row("la " * others + last, "A sign.") for last in ("oposite", "opposite")]
        assert near_each_other(*two) is is_near


def test_the_number_of_the_first_row_of_each_template() -> None:
    numbered = [row(f"Is it true that {number} is an even number?") for number in (11, 22, 33, 44, 55)]
    named = [row(f"Name a tree that grows in {place}.") for place in ("Rome", "Oslo", "Bonn", "Kiel", "Bath")]

    found = near.find(splits.with_ids([row("Go."), *numbered, row("Say hello."), *named]))

    assert found.skeletons.tolist() == [-1, 1, 1, 1, 1, 1, -1, 7, 7, 7, 7, 7]


@pytest.mark.slow
def test_the_time_grows_with_the_rows_and_not_with_their_pairs() -> None:
    # Rows as large datasets have them: some templates, and the rest of their own.
    draw = random.Random(1)
    words = [f"word{number}" for number in range(20_000)]
    templates = [row["instruction"] for row in json.loads(BUNDLED.read_text(encoding="utf-8"))]
    data = [
        row(draw.choice(templates), " ".join(draw.choices(words, k=30)), " ".join(draw.choices(words, k=10)))
        for _ in range(52_000)
    ]
    seconds = []
    for count in (6_500, 52_000):
        examples = splits.with_ids(data[:count])
        begun = time.process_time()
        near.find(examples)
        seconds.append(time.process_time() - begun)
    assert seconds[1] < 20 * seconds[0]  # eight times the rows
