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
