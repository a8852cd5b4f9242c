"""Conversations as rows: the turns in three forms, the history as input, and what is no conversation."""

from __future__ import annotations

from typing import Any

import pytest

from stages.download.formats import chats
from stages.download.formats.reader import LeftOut
from tests.download.formats.reading import lines, read, refused, row


def turn(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def rows_of(*turns: Any) -> list[dict[str, str]]:
    rows, problems, _ = chats.rows_of(list(turns), "messages", None)
    assert problems == []
    return rows


def problems_of(*turns: Any) -> list[str]:
    rows, problems, _ = chats.rows_of(list(turns), "messages", None)
    assert rows == []
    return problems


def test_each_answer_is_a_row_and_what_was_said_before_its_input() -> None:
    found = rows_of(
        turn("system", "Be short."),
        turn("user", "Is it warm?"),
        turn("assistant", "Yes."),
        turn("user", "And in winter?"),
        turn("assistant", "No."),
    )
    assert found == [
        row("Is it warm?", "Yes.", "System: Be short."),
        row("And in winter?", "No.", "System: Be short.\nUser: Is it warm?\nAssistant: Yes."),
    ]


@pytest.mark.parametrize(
    "turns",
    [
        [turn("user", "a"), turn("assistant", "b")],
        [turn("system", ""), turn("user", "a"), turn("assistant", "b")],
        [turn(" User", "a"), turn("ASSISTANT", "b")],
        [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
        [turn("user", [{"type": "text", "text": "a"}]), turn("assistant", "b")],
        ["a", "b"],
    ],
)
def test_the_forms_of_a_turn(turns: list[Any]) -> None:
    assert rows_of(*turns) == [row("a", "b")]


def test_parts_of_a_text_are_joined_and_questions_in_a_row_are_kept() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert rows_of(turn("user", parts), turn("user", "c"), turn("assistant", "d")) == [row("c", "d", "User: a\nb")]


def test_an_answer_of_weight_0_is_only_history() -> None:
    found = rows_of(
        turn("user", "a"), turn("assistant", "b", weight=0), turn("user", "c"), turn("assistant", "d", weight=1)
    )
    assert found == [row("c", "d", "User: a\nAssistant: b")]


def test_a_question_without_an_answer_is_counted() -> None:
    turns = [turn("user", "a"), turn("assistant", "b"), turn("user", "c")]
    assert chats.rows_of(turns, "messages", "talk") == ([row("a", "b", "", "talk")], [], 1)
    assert read(lines(*[{"messages": turns}] * 3)).unanswered == 3


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([turn("tool", "a")], "messages.1.role: expected system, user or assistant; found the text 'tool'"),
        ([{"content": "a"}], "messages.1.role: expected system, user or assistant; found null"),
        ([turn("user", None)], "messages.1.content: expected a text that is not empty; found null"),
        (
            [turn("user", "a"), turn("assistant", " ")],
            "messages.2.content: expected a text that is not empty; found an ",
        ),
        (
            [turn("user", [{"type": "image_url"}])],
            "messages.1.content: expected a text that is not empty; found a list, ",
        ),
        ([turn("user", "a\x00")], "messages.1.content: expected no control characters; found '\\x00' at character 1"),
        (
            [turn("user", "a"), turn("assistant", "N/A")],
            "messages.2.content: expected a text; found the placeholder 'N/A'",
        ),
        (
            [turn("user", "<|end|>")],
            "messages.1.content: expected no markers of a prompt; found '<|end|>' at character 0",
        ),
        ([turn("assistant", "a")], "messages: expected a user's text before each answer; found none before answer 'a'"),
        (
            [turn("user", "a"), turn("assistant", "b"), turn("assistant", "c")],
            "messages: expected a user's text before each answer; found one of assistant before answer 'c'",
        ),
        ([turn("user", "a")], "messages: expected an answer of the assistant; found none"),
        (
            [turn("user", "a"), turn("assistant", "b", weight=0), turn("user", "c"), turn("assistant", "d", weight=0)],
            "messages: expected an answer to learn; found weight 0 in each answer",
        ),
        ([5], "messages.1: expected role and content, or from and value; found a number, 5"),
        ([], "messages: expected a list of turns, each with role and content, or from and value; found a list, []"),
    ],
)
def test_what_is_no_conversation_is_told_by_turn_and_field(turns: list[Any], said: str) -> None:
    [problem] = problems_of(*turns)
    assert problem.startswith(said)


def test_a_conversation_is_known_by_its_turns_under_any_key() -> None:
    turns = [turn("user", "a"), turn("assistant", "b")]
    assert read(lines(*[{"dialog": turns, "id": 1}] * 3)).rows == [row("a", "b")] * 3
    assert not chats.is_conversation("tags", ["a", "b"])
    assert chats.is_conversation("conversations", ["a", "b"])


def test_a_conversation_without_an_answer_to_learn_is_told_or_left_out() -> None:
    good = {"messages": [turn("user", "a"), turn("assistant", "b", weight=1)]}
    none = {"messages": [turn("user", "a"), turn("assistant", "b", weight=0)]}
    problem = "messages: expected an answer to learn; found weight 0 in each answer"
    content = lines(good, none, good, good)
    assert refused(content).what == f"rows.csv: 1 problem in 4 rows:\n  - row 2 (line 2): {problem}"
    found = read(content, on_invalid="drop")
    assert found.rows == [row("a", "b")] * 3
    assert found.left_out == [LeftOut(2, 2, None, [problem])]
