"""Conversations as rows: one for each answer, with the question as the instruction and what came before as the input.

    system: Be short.          instruction  And in winter?
    user: Is it warm?          input        System: Be short.
    assistant: Yes.                         User: Is it warm?
    user: And in winter?                    Assistant: Yes.
    assistant: No.             output       No.

Three forms are read: OpenAI's ``{"role": ..., "content": ...}`` (https://platform.openai.com/docs/guides/fine-tuning),
ShareGPT's ``{"from": ..., "value": ...}``, and LIMA's plain texts in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.download import dataset
from stages.download.dataset import Row
from stages.download.formats import hard

#: The keys under which a conversation's texts in turn are looked for.
KEYS = ("messages", "conversations", "conversation")
_FORMS = (("role", "content"), ("from", "value"))
_ROLES = {
    "System": ("system", "developer"),
    "User": ("user", "human", "prompter"),
    "Assistant": ("assistant", "gpt", "chatgpt", "bard", "bing", "model"),
}
_LABELS = {role: label for label, roles in _ROLES.items() for role in roles}


@dataclass(frozen=True)
class _Turn:
    """One text of a conversation: who says it, what, and whether an answer is to be learnt (OpenAI's ``weight``)."""

    label: str
    text: str
    learnt: bool = True


def is_turn(value: Any) -> bool:
    """Whether a value is one text of a conversation with its speaker."""
    return isinstance(value, dict) and any(who in value and what in value for who, what in _FORMS)


def is_conversation(key: str, value: Any) -> bool:
    """Whether a row's value is a conversation: a list of turns, or of plain texts under a key that says so."""
    if not isinstance(value, list) or not value:
        return False
    return all(map(is_turn, value)) or (key in KEYS and all(isinstance(one, str) for one in value))


def rows_of(
    value: Any, key: str, category: Any, *, placeholder_answers: bool = False
) -> tuple[list[Row], list[str], int]:
    """The rows of a conversation, what is wrong with it, and how many questions at its end have no answer.

    Args:
        value: the conversation.
        key: the key that holds it, for messages.
        category: the rows' category; None or an empty text: none.
        placeholder_answers: whether an answer may be a word for "nothing".
    """
    expected = f"{key}: expected a list of turns, each with role and content, or from and value"
    if not isinstance(value, list) or not value:
        return [], [f"{expected}; found {dataset.describe(value)}"], 0
    turns: list[_Turn] = []
    problems: list[str] = []
    for number, one in enumerate(value, 1):
        turn, wrong = _turn(one, number, placeholder_answers)
        turns += [turn] if turn else []
        problems += [f"{key}.{number}{problem}" for problem in wrong]
    if problems:
        return [], problems, 0
    return _answered(turns, key, category or dataset.NO_CATEGORY)


def _turn(value: Any, number: int, placeholders: bool) -> tuple[_Turn | None, list[str]]:
    """One turn; None for a system text that is empty, or where something is wrong."""
    if isinstance(value, str):
        label = "User" if number % 2 else "Assistant"
        return _checked(label, value, "", placeholders, learnt=True)
    if not isinstance(value, dict):
        return None, [f": expected role and content, or from and value; found {dataset.describe(value)}"]
    who, what = next((form for form in _FORMS if form[0] in value), _FORMS[0])
    role = value.get(who)
    found = _LABELS.get(role.strip().lower()) if isinstance(role, str) else None
    if found is None:
        return None, [f".{who}: expected system, user or assistant; found {dataset.describe(role)}"]
    return _checked(found, _joined(value.get(what)), f".{what}", placeholders, learnt=value.get("weight") != 0)


def _joined(content: Any) -> Any:
    """OpenAI's content in parts as one text, if all parts are texts; anything else as it is."""
    if isinstance(content, list) and content and all(isinstance(one, dict) for one in content):
        texts = [one.get("text") for one in content if one.get("type") == "text"]
        if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
            return "\n".join(map(str, texts))
    return content


def _checked(label: str, text: Any, key: str, placeholders: bool, *, learnt: bool) -> tuple[_Turn | None, list[str]]:
    if label == "System" and (text is None or text == ""):
        return None, []
    problem = dataset.mistake(text, required=True) or hard.mistake(
        text, may_be_placeholder=placeholders or label != "Assistant"
    )
    return (None, [f"{key}: {problem}"]) if problem else (_Turn(label, text, learnt), [])


def _answered(turns: Sequence[_Turn], key: str, category: str) -> tuple[list[Row], list[str], int]:
    rows: list[Row] = []
    for index, turn in enumerate(turns):
        if turn.label != "Assistant":
            continue
        before = turns[:index]
        if not before or before[-1].label != "User":
            said = f"one of {before[-1].label.lower()}" if before else "none"
            return (
                [],
                [f"{key}: expected a user's text before each answer; found {said} before answer {turn.text[:40]!r}"],
                0,
            )
        if turn.learnt:
            history = "\n".join(f"{one.label}: {one.text}" for one in before[:-1])
            question = before[-1].text
            rows.append({"instruction": question, "input": history, "output": turn.text, "category": category})
    if not any(turn.label == "Assistant" for turn in turns):
        return [], [f"{key}: expected an answer of the assistant; found none"], 0
    if not rows:
        return [], [f"{key}: expected an answer to learn; found weight 0 in each answer"], 0
    return rows, [], int(turns[-1].label == "User")
