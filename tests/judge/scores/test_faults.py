"""What can be seen to be wrong with an answer, and what it costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.errors import DataError
from stages.common.files import write_json
from stages.common.metrics.judge import FaultCount, FaultExample
from stages.common.results.judge import Verdict
from stages.common.results.split import Example
from stages.judge.judges.protocol import Question
from stages.judge.scores.faults import (
    WRONG_BUT_FLUENT,
    faults,
    points_lost,
    with_rightness,
    words_of_rows,
    words_of_tokenizer,
)

WORDS = {"author", "pride", "prejudice", "written", "about", "sentence", "there"}


def found_in(
    answer, reference="The author is Jane Austen.", instruction="Name the author.", given="", stop="end_of_text"
):
    return faults(Question("r", "tuned", instruction, given, reference, answer), stop, WORDS)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The author is Jane Austen.", []),
        ("It is Jane Austen.", []),
        ("", ["empty"]),
        (" \n", ["empty"]),
        ("Jane", ["too short"]),
        ("Jane Austen. ### Instruction: Name", ["template leak"]),
        ("Jane Austen.<|user|>", ["template leak"]),
        ("Name the author.", ["echo"]),
        ("name  the author. It is Jane Austen.", ["echo"]),
        ("Jane Austen Jane Austen Jane Austen Jane Austen Jane Austen", ["repetitive", "too long"]),
        ("beenbeenbeenbeenbeen", ["repetitive"]),
        ("The author is Jane Austen, about whom there is a sentence, and about", ["too long"]),
        ("The auther is Jane Austen.", ["misspelling"]),
        ("The auhtor is Jane Austen.", ["misspelling"]),
        ("The autor is Jane Austen.", ["misspelling"]),
        ("The authhor is Jane Austen.", ["misspelling"]),
        ("The authors is Jane Austen.", ["misspelling"]),  # not a word that this test knows
        ("The utho is Jane Austen.", []),  # two letters less
        ("The poetess is Jane Austen.", []),  # rare, but like no other
        ("The author is Zzzyx Qwrtz.", []),  # names are spelt as they like
    ],
)
def test_faults(answer, expected):
    assert found_in(answer) == expected


def test_an_answer_that_stops_at_the_limit_is_cut_off_unless_it_is_the_reference():
    assert found_in("It is Jane Austen.", stop="max_new_tokens") == ["cut off"]
    assert found_in("The author is Jane Austen.", stop="context") == []


def test_the_input_given_back_is_an_echo_but_the_reference_is_not():
    assert found_in("pride", reference="prejudice", given="pride") == ["echo"]
    assert found_in("pride", reference="pride", given="pride") == []


def test_what_the_reference_repeats_may_be_repeated():
    assert found_in("ha ha ha ha ha ha.", reference="ha ha ha ha ha") == []
    assert found_in("----------------------", reference="a table of the authors") == []  # one character is a line


def test_headings_are_no_leak_where_the_reference_has_them():
    assert found_in("### About\nJane Austen.", reference="### Author\nIt is Jane Austen.") == []
    assert found_in("### Response:\nJane Austen.", reference="### Author\nIt is Jane Austen.") == ["template leak"]
    assert found_in("<|a|> Jane Austen.", reference="<|b|> It is Jane Austen.") == []


def test_a_word_of_the_reference_is_spelt_rightly():
    assert found_in("cumulonimbus", reference="a cumulonimbus") == []


@given(st.text(), st.text(), st.sampled_from(["end_of_text", "max_new_tokens", "context"]))
def test_every_text_has_its_faults_named(answer, reference, stop):
    found = found_in(answer, reference=reference, stop=stop)
    assert len(set(found)) == len(found)
    assert WRONG_BUT_FLUENT not in found


def test_whole_words_of_the_vocabulary_count(tmp_path):
    write_json(tmp_path / "vocab.json", {"Ġauthor": 1, "ing": 2, "ĠThe": 3, "Ġof": 4, "Ġdon't": 5, "Ġnaïve": 6})
    assert words_of_tokenizer(tmp_path) == {"author"}
    with pytest.raises(DataError, match=r"no vocab.json"):
        words_of_tokenizer(tmp_path / "none")


def test_inputs_do_not_teach_spelling():
    row = Example(id="a", instruction="Correct the word.", input="recieve", output="receive", category="x")
    assert words_of_rows([row]) == {"word", "receive"}


def verdict(number, score, *found, exact=False, right=None):
    status = "invalid" if score is None else "scored"
    known = {"exact": exact, "right": right, "faults": list(found)}
    return Verdict(id=f"r{number}", model="tuned", status=status, score=score, detail="", **known)


def test_wrong_but_fluent_is_what_remains():
    """By a judge that grades, below 50 is wrong; one that says which are wrong is believed, whatever the score."""
    assert with_rightness(verdict(1, 49.0)).faults == [WRONG_BUT_FLUENT]
    assert with_rightness(verdict(1, 55.0, right=False)).faults == [WRONG_BUT_FLUENT]
    right = verdict(1, 40.0, right=True)
    for other in (right, verdict(1, 50.0), verdict(1, None), verdict(1, 0.0, "empty"), verdict(1, 10.0, exact=True)):
        assert with_rightness(other) == other


def test_a_right_answer_is_neither_too_long_nor_too_short():
    """And a wrong one that is too long is not fluent besides."""
    assert with_rightness(verdict(1, 90.0, "too long", "misspelling", right=True)).faults == ["misspelling"]
    assert with_rightness(verdict(1, 80.0, "too short")).faults == []
    assert with_rightness(verdict(1, 79.0, "too short")).faults == ["too short"]
    assert with_rightness(verdict(1, 90.0, "too long", right=False)).faults == ["too long"]
    assert with_rightness(verdict(1, None, "too long")).faults == ["too long"]


def test_points_lost_by_hand():
    rows = [verdict(1, 100.0), verdict(2, 20.0, "too long", "echo"), verdict(3, 60.0, "echo"), verdict(4, None, "echo")]
    found = points_lost(rows, {"r2": "a  b", "r3": "c"})
    assert list(found) == ["echo", "too long"]
    assert found["echo"] == FaultCount(
        n=2,
        mean=40.0,
        points_lost=40.0,  # (80 + 40) / 3 scored answers
        examples=[FaultExample(id="r2", score=20.0, answer="a b"), FaultExample(id="r3", score=60.0, answer="c")],
    )
    assert (found["too long"].n, found["too long"].points_lost) == (1, 26.667)
    assert points_lost([], {}) == {}


@pytest.mark.parametrize(
    ("longer", "shorter", "is_longer"),
    [
        (40, 20, False),  # twice as long
        (41, 20, True),
        (17, 5, False),  # 12 characters more
        (18, 5, True),
        (12, 0, False),
    ],
)
def test_twice_as_long_and_twelve_characters_more_is_too_long(longer, shorter, is_longer):
    """The texts are of one letter, which is a line and no repetition; white space around them does not count."""
    long, short = f" {'x' * longer}\n", "x" * shorter
    assert ("too long" in found_in(long, reference=short)) == is_longer
    if short:
        assert ("too short" in found_in(f"{short} ", reference=long)) == is_longer


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("so it is so it is", False),  # three words twice
        ("so it is so it is so it is", True),
        ("so it is so he is so we is", False),  # another word between
        ("so it is so it was so it goes", False),  # two words thrice
        ("ab" * 3, False),
        ("ab" * 4, True),
        ("abcdefghijklmnopqrstuvwx" * 4, True),  # 24 characters
        ("abcdefghijklmnopqrstuvwxy" * 4, False),  # 25
        ("  \n" * 9 + "so", False),  # white space
        ("版" * 8, True),  # two letters four times
        ("版" * 7, False),
        ("-" * 20, False),  # a line
        ("0" * 20, False),
        ("so it", False),
    ],
)
def test_three_words_thrice_or_a_piece_four_times_is_repetition(text, repeats):
    assert ("repetitive" in found_in(text, reference="something else, of no matter")) == repeats


@pytest.mark.parametrize(
    ("instruction", "given", "answer", "echoes"),
    [
        ("Say it again", "", "say it again and again", False),  # 12 characters may begin any answer
        ("Say it again!", "", "say it  again! and again", True),
        ("Say it again", "", "say it again", True),
        ("Say it", "twice", "Say it twice", True),
        ("Say it", "twice", "twice", True),
        ("Say it", "twice", "twice said", False),
    ],
)
def test_what_is_asked_given_back_is_an_echo(instruction, given, answer, echoes):
    found = found_in(answer, reference="something else", instruction=instruction, given=given)
    assert ("echo" in found) == echoes


@pytest.mark.parametrize(
    ("word", "is_misspelt"),
    [
        ("wrd", False),  # words of three letters are no words here
        ("wod", False),
        ("wrod", True),  # exchanged
        ("owrd", True),
        ("wodr", True),
        ("wordx", True),  # one more, at the end
        ("xword", True),
        ("woord", True),
        ("wird", True),  # another one
        ("worz", True),
        ("zord", True),
        ("words", True),
        ("wrodx", False),  # two changes
        ("drow", False),
        ("woxxrd", False),  # two more
        ("woxxd", False),  # two for one
        ("sentenc", True),  # one less
        ("entence", True),
    ],
)
def test_a_word_that_is_one_letter_from_a_known_one_is_misspelt(word, is_misspelt):
    question = Question("r", "tuned", "Name one.", "", "The one", f"The {word} is it.")
    assert ("misspelling" in faults(question, "end_of_text", {"word", "sentence"})) == is_misspelt


def test_three_answers_are_shown_of_a_fault_the_lowest_first_and_of_equals_by_id():
    rows = [verdict(1, 30.0, "echo"), verdict(4, 10.0, "echo"), verdict(3, 10.0, "echo"), verdict(2, 20.0, "echo")]
    found = points_lost(rows, {"r3": "c"})["echo"]
    assert [(one.id, one.score, one.answer) for one in found.examples] == [
        ("r3", 10.0, "c"),
        ("r4", 10.0, ""),
        ("r2", 20.0, ""),
    ]
    assert (found.n, found.mean, found.points_lost) == (4, 17.5, 82.5)


def test_faults_that_cost_the_same_are_in_the_order_of_their_names():
    rows = [verdict(1, 40.0, "too short", "echo"), verdict(2, 20.0, "too long")]
    assert [(name, one.points_lost) for name, one in points_lost(rows, {}).items()] == [
        ("too long", 40.0),
        ("echo", 30.0),
        ("too short", 30.0),
    ]


def test_an_answer_equal_to_its_reference_is_right_whatever_its_score():
    assert with_rightness(verdict(1, 10.0, "too long", exact=True)).faults == []
    assert with_rightness(verdict(1, 10.0, exact=True)).faults == []
    assert with_rightness(verdict(1, None, "too long", right=True)).faults == []
    assert with_rightness(verdict(1, None, right=False)).faults == [WRONG_BUT_FLUENT]


def test_the_words_of_either_file_of_a_tokenizer_are_read(tmp_path):
    write_json(tmp_path / "encoder.json", {"Ġfour": 1, "Ġsix": 2, "Ġseven": 3})
    assert words_of_tokenizer(tmp_path) == {"four", "seven"}  # of four letters and more
