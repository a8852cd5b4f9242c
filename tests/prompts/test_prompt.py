"""Prompt styles against literals."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.errors import DataError
from stages.prompts import prompt, styles


def test_alpaca_without_an_input():
    assert styles.STYLES["alpaca"].prompt("Name a colour.", "") == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nName a colour.\n\n### Response:\n"
    )


def test_alpaca_with_an_input():
    assert styles.STYLES["alpaca"].prompt("Sort.", "b, a") == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nSort.\n\n### Input:\nb, a\n\n### Response:\n"
    )


def test_phi3():
    style = styles.STYLES["phi3"]

    assert style.prompt("Name a colour.", "") == "<|user|>\nName a colour.\n<|assistant|>:\n"
    assert style.prompt("Sort.", "b, a") == "<|user|>\nSort.\nb, a\n<|assistant|>:\n"


@given(st.text(), st.text(min_size=1))
def test_a_row_s_own_text_is_put_in_as_it_is(instruction, input):
    made = styles.STYLES["phi3"].prompt(instruction, input)

    assert made == f"<|user|>\n{instruction}\n{input}\n<|assistant|>:\n"


def test_placeholders_in_a_row_are_ordinary_text():
    made = styles.STYLES["phi3"].prompt("What is {input} or {instruction}?", "{instruction}")

    assert made == "<|user|>\nWhat is {input} or {instruction}?\n{instruction}\n<|assistant|>:\n"


def test_a_stored_style_is_read_back(tmp_path):
    prompt.save_style(styles.STYLES["alpaca"], tmp_path)

    assert prompt.load_style(tmp_path, made_by="x") == styles.STYLES["alpaca"]


WHOLE = {"name": "x", "with_input": "{instruction} {input}", "without_input": "{instruction}"}


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        json.dumps(WHOLE | {"without_input": 1}),
        json.dumps(WHOLE | {"with_input": "{input} {instruction}"}),
        json.dumps(WHOLE | {"with_input": "{instruction}"}),
        json.dumps(WHOLE | {"with_input": "{instruction} {input} {input}"}),
        json.dumps(WHOLE | {"with_input": "{instruction} {instruction} {input}"}),
        json.dumps(WHOLE | {"without_input": "Answer."}),
        json.dumps(WHOLE | {"without_input": "{instruction} {instruction}"}),
        json.dumps(WHOLE | {"without_input": "{instruction} {input}"}),
    ],
)
def test_what_is_no_style_is_refused(tmp_path, text):
    (tmp_path / prompt.STYLE_FILE).write_text(text)

    with pytest.raises(DataError, match=r"prompt_style\.json: not a prompt style"):
        prompt.load_style(tmp_path, made_by="x")


def test_a_style_of_one_s_own_is_read(tmp_path):
    (tmp_path / prompt.STYLE_FILE).write_text(json.dumps(WHOLE))

    assert prompt.load_style(tmp_path, made_by="x").prompt("a", "b") == "a b"
