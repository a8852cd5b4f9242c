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
        ("Dear [Recipient’s Name],", "[recipient's name]"),
        ("Best,\n[Your Name]", "[your name]"),
        ("Best,\n[YOUR FULL NAME]", "[your full name]"),
        ("[Your City, State, Zip]\n", "[Your City, State, Zip]"),
        ("# [Your Name]\nI write software.", "[your name]"),
        ("I like [Your Favorite Hobby].", "[Your Favorite Hobby]"),
        ("Welcome to [Company Name]!", "[company name]"),
        ("[insert a story]", "[insert a story]"),
        ("From [YOUR CITY]", "[YOUR CITY]"),
        ("[Enter your reason]", "[enter your reason]"),
        ("Mit freundlichen Grüßen\n[Ihr Name]", "[ihr name]"),
        ("Guten Tag,\n[Datum einfügen]", "[datum einfügen]"),
        ("{your name} was here", "{your name}"),
        ("Dear {your name}", "{your name}"),
        ("{{answer}}", "{{answer}}"),
        ("{{ row.response }}\n", "{{ row.response }}"),
        ("<placeholder>", "<placeholder>"),
        ("<answer>", "<answer>"),
        ("<your answer>", "<your answer>"),
        ("No. <nooutput>", "<nooutput>"),
        ("Lorem ipsum dolor sit amet", "lorem ipsum"),
        ("Lorem ipsum.", "lorem ipsum"),
        ("TODO", "TODO"),
        ("TBD.", "TBD."),
        ("TODO: write this answer", "TODO"),
        ("The first part.\nFIXME: the second part", "FIXME"),
        ("INSERT THE ANSWER HERE", "INSERT THE ANSWER HERE"),
        ("PUT YOUR TEXT IN HERE", "PUT YOUR TEXT IN HERE"),
        ("Your text here", "your text here"),
        ("Your answer goes here.", "your answer goes here"),
        ("Content to be added", "content to be added"),
        ("As an AI language model, I cannot.", "as an ai language model"),
        ("As an AI language model, it is not possible for me to say.", "as an ai language model"),
        ("I'm sorry, but as an AI language model, I cannot.", "as an ai language model"),
        ("As an AI, I don’t know.", "as an ai"),
        ("As a large language model trained by X, I cannot.", "as a large language model"),
        ("I’m just an AI assistant and so on", "i'm just an ai assistant"),
        ("I am an AI.", "i am an ai"),
        ("My knowledge cutoff is 2021.", "my knowledge cutoff"),
        ("Yes.\nRegenerate response", "regenerate response"),
    ],
)
def test_an_answer_that_is_none(answer: str, what: str) -> None:
    assert found(answer) == [what]


@pytest.mark.parametrize(
    "answer",
    [
        "SELECT [name], [date] FROM [company]",
        "SELECT\n    [First Name],\n    [Phone Number]\nFROM people",
        "select [company name] from people",
        "return [number]",
        "[name]",
        "names = [name]",
        "Use [name] or [date].",
        "{{ message }}",
        "<p>{{ message }}</p>",
        "Hello {{ user.name }}!",
        "f'{{name}}'",
        "{% if name %}[Your Name]{% endif %}",
        "# TODO",
        "# TODO: sort the list",
        "total = 0  # TODO: count",
        "// Your code goes here",
        "```python\n# TODO: this\nTODO: that\n[Your Name]\n```",
        "~~~\n[Your Name]\n```\n[Your Name]",
        "Put `[Your Name]` there.",
        'print("[Your Name]")',
        'name = "[Your Name]";',
        "<div>[Your Name]</div>",
        "<think>2 + 2</think>\n<answer>4</answer>",
        "<answer>\n4\n</answer>",
        "<response><code>200</code></response>",
        r"\frac{1}{the denominator}",
        r"\author{[Your Name]}",
        '"[The president] never asked [the Senate]"',
        '"I want to hold [your hand]"',
        '"Ask not what [your country] can do for you"',
        '"[Your Majesty] is kind."',
        "[Enter a messenger]",
        "Press [Insert key].",
        "{the denominator}",
        "TODO ESTÁ BIEN",
        "Everything on my TODO list is done.",
        "The venue is TBA.",
        "The price is TBD.",
        "Siri works as an AI assistant, and answers questions.",
        "As an AI language model, GPT-3 writes texts.",
        "docker run <your-image>",
        "git clone <your_repository>",
        "rows[name] and [name](https://example.com)",
        "[Your Name](https://example.com)",
        "<title>Tea</title><address>Rome</address>",
        "print(f'{name} is {age}')",
        "runs-on: ${{ matrix.os }}",
        "Here is my todo list.",
        "The dog, as an aide, helps.",
        "As a language teacher, I teach. An AI language model learns.",
        "I'm an artificial intelligence researcher.",
        "Sign your name here and there.",
        "It allows content to be added by users.",
        "Lorem ipsum is a text without a meaning.",
        "PUT THE CHAIR DOWN HERE",
        "The answer is here.",
        "Come HERE!",
        "[1] and [citation needed]",
        "{'answer': 3}",
    ],
)
def test_an_answer_that_is_one(answer: str) -> None:
    assert found(answer) == []


def test_a_mark_is_the_whole_answer_in_up_to_60_characters() -> None:
    assert found(f"TODO{'!' * 56}\n") == [f"TODO{'!' * 56}"]
    assert found(f"TODO{'!' * 57}\n") == []


def test_what_is_left_to_fill_in_is_found_beside_code() -> None:
    assert found("```\nx = [name]\n```\nBest, [Your Name]") == ["[your name]"]


def test_what_the_prompt_holds_too_may_be_in_the_answer() -> None:
    assert found("Dear [Your Name]", instruction="Write a letter to [your name].") == []
    assert found("Dear [Your Name]", input="[YOUR NAME]") == []
    assert found("Dear [Recipient’s Name]", input="[Recipient’s Name]") == []
    assert found("TODO", instruction="Which word marks unfinished code: TODO or DONE?") == []
    assert found("Dear [Your Name]", instruction="Write a letter to [my name].") == ["[your name]"]


def test_a_text_is_told_once() -> None:
    assert found("[Your Name], [Your Name] and [Your Age]") == ["[your name]", "[Your Age]"]


@pytest.mark.parametrize(
    "answer",
    [
        "[Your Name] " * 17_000,
        "".join(f"[Your Name {number}] " for number in range(11_000)),
        "as an ai model " * 14_000,
        "[your a a a a " * 15_000,
        "select " * 29_000,
        "`" * 200_001,
        "\n" * 200_000 + "{your",
        "INSERT YOUR TEXT A " * 11_000 + " HERE",
    ],
    ids=["equal", "different", "model", "brackets", "select", "ticks", "lines", "capitals"],
)
def test_a_long_answer_that_the_prompt_has_too_is_no_finding(answer: str) -> None:
    assert found(answer, instruction=answer) == []


def test_of_many_different_texts_a_hundred_are_looked_for_and_equal_ones_count_once() -> None:
    different = "".join(f"[Your Name {number}] " for number in range(11_000))
    assert len(found(different)) == 100
    assert found("[Your Name] " * 17_000) == ["[your name]"]


@pytest.mark.parametrize("path", DATASETS, ids=["bundled", "book"])
def test_no_answer_at_hand_is_taken_for_none(path: Path) -> None:
    if not path.is_file():
        pytest.skip(f"no file {path.relative_to(ROOT)}")
    rows = json.loads(path.read_text(encoding="utf-8"))

    assert [row for row in rows if found(row["output"], row["instruction"], row.get("input") or "")] == []
