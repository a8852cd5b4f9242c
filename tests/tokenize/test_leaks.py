"""A part of a prompt style in an answer is a leak, whichever style it is of."""

import re
from typing import get_args

import pytest

from stages.params.tokenize import PromptStyleName
from stages.prompts.prompt import PromptStyle
from stages.prompts.styles import STYLES
from stages.tokenize.leaks import headings, leak_pattern, leaks_template


@pytest.mark.parametrize(
    "text",
    ["1. B6\n### Instruction:\nWhat", "<|assistant|>:\nyes", "###", "Below is an instruction that describes a task. B"],
)
def test_a_part_of_a_prompt_style_is_a_leak(text):
    assert leaks_template(text, "Five.")
    assert not leaks_template(text.replace("###", "##").replace("<|", "<").replace("Below is", "Above is"), "Five.")


@pytest.mark.parametrize(
    ("answer", "reference", "leaks"),
    [
        ("### Steps\nBoil it.", "### How to\nBoil it.", False),
        ("#### Steps\nBoil it.", "### How to\nBoil it.", False),
        ("### Steps\nBoil it.\n### Instruction:\nName", "### How to\nBoil it.", True),
        ("### Response:", "A prompt ends with ### Response:", False),
        ("### Input:", "A prompt ends with ### Response:", True),
        ("It is <|user|>.", "The token is <|user|>.", False),
        ("It is <|user|>.<|end|>", "The token is <|user|>.", False),
        ("### Steps", "<|user|>", True),
        ("Boil it.", "### How to", False),
    ],
)
def test_what_the_reference_holds_too_is_no_leak(answer, reference, leaks):
    assert leaks_template(answer, reference) == leaks


def test_headings_of_the_styles():
    assert headings([STYLES["alpaca"]]) == {"### Instruction:", "### Input:", "### Response:"}


def test_the_patterns_are_those_of_the_styles():
    found = leak_pattern([STYLES["alpaca"], STYLES["phi3"]])

    assert found.pattern == r"Below\ is\ an\ instruction\ that\ describes\ a\ task|\#\#\#|<\|\w+\|>"


def test_a_new_style_is_looked_for():
    vicuna = PromptStyle(
        name="vicuna",
        with_input="A chat. Be polite. USER: {instruction}: {input} ASSISTANT:",
        without_input="[INST] {instruction} [/INST]",
    )

    found = leak_pattern([vicuna])

    assert [text for text in ("A chat", "USER:", "ASSISTANT:", "[INST]", "[/INST]") if not found.search(text)] == []
    assert found.search("Sorted: a, b [1]") is None


@pytest.mark.parametrize("name", STYLES)
def test_every_line_of_a_style_is_a_leak(name):
    style = STYLES[name]
    own = style.prompt("", "").splitlines() + style.with_input.splitlines()

    assert [
        line for line in own if re.search(r"\w", re.sub(r"\{\w+\}", "", line)) and not leaks_template(line, "")
    ] == []


def test_params_yaml_may_name_every_style_and_no_other():
    assert set(get_args(PromptStyleName)) == set(STYLES)
