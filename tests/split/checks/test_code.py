"""What a text says apart from the code in it."""

from __future__ import annotations

import pytest

from stages.split.checks.code import prose


@pytest.mark.parametrize(
    "code",
    [
        "```\na [b]\n\n```",
        "```python\na [b]",
        "~~~\n```\n~~~",
        "x = 1",
        "go();",
        "go(); // at once",
        "{% for x in y %}",
        "SELECT a,\n    b\nFROM c",
        "select a from b",
        "# a comment",
        "// a comment",
        "<p>a</p>",
        "print('a')",
        r"\frac{a}{b}",
        "if (a) {",
        "$ ls",
        "return a",
    ],
)
def test_code_is_left_out(code: str) -> None:
    assert prose(f"Before.\n{code}") == "Before."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Eat apples; they are good.",
        "See https://example.com/a for more.",
        "# [Your Name]",
        "Select a colour.\n\nUpdate it.",
        "I return at five.",
        "yes/no (or maybe)",
    ],
)
def test_prose_is_kept(text: str) -> None:
    assert prose(text) == text


def test_a_statement_of_sql_ends_at_an_empty_line() -> None:
    assert prose("SELECT [a],\n[b]\n\nIt reads two columns.") == "\nIt reads two columns."


def test_a_span_is_left_out() -> None:
    assert prose("Call `go` here.") == "Call  here."


def test_a_fence_may_be_indented_unlike_the_one_that_it_closes() -> None:
    assert prose("  ```\na [b]\n```\nAfter.") == "After."
    assert prose("```\na [b]\n  ```\nAfter.") == "After."
