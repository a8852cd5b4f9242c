"""Messages of a tree: the best reply to each, with the path that leads to it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.download.formats.reading import lines, read, refused, row


def message(name: str, parent: str | None, text: str, rank: int | None = None, **more: Any) -> dict[str, Any]:
    role = "prompter" if name.startswith("q") else "assistant"
    return {"message_id": name, "parent_id": parent, "role": role, "text": text, "rank": rank, **more}


def test_the_best_reply_to_each_message_is_a_row() -> None:
    found = read(
        lines(
            message("q1", None, "Is it warm?"),
            message("a2", "q1", "Perhaps.", 1),
            message("a1", "q1", "Yes.", 0),
            message("q2", "a2", "And in winter?"),
            message("a3", "q2", "No."),
            message("a4", "q2", "Never."),
            message("q3", None, "Hello?"),
            message("q4", None, "Who?"),
            message("a5", "q4", "Me."),
        )
    )
    assert found.rows == [
        row("Is it warm?", "Yes."),
        row("And in winter?", "No.", "User: Is it warm?\nAssistant: Perhaps."),
        row("Who?", "Me."),
    ]
    assert found.total == 9


def test_a_reply_whose_question_is_not_in_the_file_and_a_circle_are_told() -> None:
    good = [one for n in range(3) for one in (message(f"q{n}", None, "a"), message(f"a{n}", f"q{n}", "b"))]
    error = refused(lines(*good, message("a9", "q9", "b")))
    assert "row 7 (line 7): messages: expected a user's text before each answer; found none" in error.what
    circle = [message("q8", "a8", "c"), message("a8", "q8", "d")]
    assert read(lines(*good, *circle)).rows[-1] == row("c", "d")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"message_id": 5},
            "expected an object with message_id, parent_id, role, text; found an object, ",
        ),
        (message("a0", "q1", "b"), "message_id: expected another one for each message; found 'a0' twice"),
        ({**message("a9", "q1", "b"), "role": "bot"}, "role: expected prompter or assistant; found the text 'bot'"),
        (message("a9", "q1", "N/A", 0), "messages.2.content: expected a text; found the placeholder 'N/A'"),
    ],
)
def test_a_wrong_message_is_told_by_its_row(wrong: dict[str, Any], said: str) -> None:
    good = [one for n in range(3) for one in (message(f"q{n}", None, "a"), message(f"a{n}", f"q{n}", "b"))]
    assert f"row 7 (line 7): {said}" in refused(lines(*good, wrong)).what
