"""Answers that are none: what is left to fill in, and what a chatbot says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.common.results.split import Example
from stages.split.checks.unfinished import unfinished
from tests.root import ROOT

DATASETS = [ROOT / "assets/data/instructions.json", ROOT / "../shared/data/instruction-data.json"]


def found(output: str, instruction: str = "Write to him.", input: str = "") -> list[str]:
    return list(unfinished(Example(id="1", instruction=instruction, input=input, output=output, category="")))


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ("Dear [Recipient's Name],", "[recipient's name]"),
        ("Best,\n[Your Name]", "[your name]"),
        ("Best,\n[YOUR FULL NAME]", "[your full name]"),
        ("It was on [Date].", "[date]"),
        ("[insert a story]", "[insert a story]"),
        ("{your name} was here", "{your name}"),
        ("{{answer}}", "{{answer}}"),
        ("Hello {{ user.name }}!", "{{ user.name }}"),
        ("<placeholder>", "<placeholder>"),
        ("<your answer>", "<your answer>"),
        ("No. <nooutput>", "<nooutput>"),
        ("Lorem ipsum dolor sit amet", "lorem ipsum"),
        ("TODO", "TODO"),
        ("The price is TBD.", "TBD"),
        ("INSERT THE ANSWER HERE", "INSERT THE ANSWER HERE"),
        ("PUT YOUR TEXT IN HERE", "PUT YOUR TEXT IN HERE"),
        ("Your text here", "your text here"),
        ("Your answer goes here.", "your answer goes here"),
        ("Content to be added", "content to be added"),
        ("As an AI language model, I cannot.", "as an ai language model"),
        ("As an AI, I don’t know.", "as an ai"),
        ("As a large language model trained by X, no.", "as a large language model"),
        ("I’m just an AI assistant and so on", "i'm just an ai assistant"),
        ("My knowledge cutoff is 2021.", "my knowledge cutoff"),
        ("Yes.\nRegenerate response", "regenerate response"),
    ],
)
def test_an_answer_that_is_none(answer: str, what: str) -> None:
    assert found(answer) == [what]


@pytest.mark.parametrize(
    "answer",
    [
        "rows[name] and [name](https://example.com)",
        "<title>Tea</title><address>Rome</address>",
        "print(f'{name} is {age}')",
        "runs-on: ${{ matrix.os }}",
        "Here is my todo list.",
        "The dog, as an aide, helps.",
        "As a language teacher, I teach. An AI language model learns.",
        "The answer is here.",
        "Come HERE!",
        "[1] and [citation needed]",
        "{'answer': 3}",
    ],
)
def test_an_answer_that_is_one(answer: str) -> None:
    assert found(answer) == []


def test_what_the_prompt_holds_too_may_be_in_the_answer() -> None:
    assert found("Dear [Your Name]", instruction="Write a letter to [your name].") == []
    assert found("Dear [Your Name]", input="[YOUR NAME]") == []
    assert found("A note that says TODO", instruction="What does TODO mean?") == []
    assert found("Dear [Your Name]", instruction="Write a letter to [my name].") == ["[your name]"]


@pytest.mark.parametrize("path", DATASETS, ids=["bundled", "book"])
def test_no_answer_at_hand_is_taken_for_none(path: Path) -> None:
    if not path.is_file():
        pytest.skip(f"no file {path.relative_to(ROOT)}")
    rows = json.loads(path.read_text(encoding="utf-8"))

    assert [row for row in rows if found(row["output"], row["instruction"], row.get("input") or "")] == []
