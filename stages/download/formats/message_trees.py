"""Trees of messages, one message a row, as OpenAssistant writes them: each becomes the conversation that leads to it.

The columns are message_id, parent_id, role (prompter or assistant) and text, and rank, 0 for the best of several
replies to one message (https://huggingface.co/datasets/OpenAssistant/oasst1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from stages.download import dataset
from stages.download.formats.values import Value

#: The columns that make a row a message of a tree.
COLUMNS = frozenset({"message_id", "parent_id", "role", "text"})


def conversations(values: Iterable[Value]) -> Iterator[Value]:
    """One conversation for each message of a prompter that has replies: down to the best of them.

    Of several replies the one of the lowest rank is taken, then an unranked one; of equal ones the first in the file.
    The earlier answers of a conversation have rows of their own, and so are not learnt again here. A value that is no
    message is handed on as broken.

    Args:
        values: rows of the file.
    """
    messages: dict[str, Mapping[str, Any]] = {}
    best: dict[str, Value] = {}
    for value in values:
        if wrong := value.broken or _mistake(value.value, messages):
            yield replace(value, broken=wrong)
            continue
        message = value.value
        messages[message["message_id"]] = message
        parent = message.get("parent_id")
        if message.get("role") == "assistant":
            key = parent if isinstance(parent, str) else message["message_id"]
            if key not in best or _rank(message) < _rank(best[key].value):
                best[key] = value
    for value in best.values():
        yield value.holding(_conversation(value.value, messages))


def _mistake(message: Any, messages: Mapping[str, Any]) -> str | None:
    """What is wrong with a row that should be a message; its text is checked in the conversation."""
    if not isinstance(message, dict) or not isinstance(name := message.get("message_id"), str):
        return f"expected an object with {', '.join(sorted(COLUMNS))}; found {dataset.describe(message)}"
    if repeated := dataset.of_repeated_keys(message):
        return repeated[0]
    if name in messages:
        return f"message_id: expected another one for each message; found {name!r} twice"
    if (role := message.get("role")) not in ("prompter", "assistant"):
        return f"role: expected prompter or assistant; found {dataset.describe(role)}"
    return None


def _rank(message: Mapping[str, Any]) -> float:
    rank = message.get("rank")
    return rank if isinstance(rank, int | float) and rank == rank else float("inf")


def _conversation(reply: Mapping[str, Any], messages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The messages down to a reply, as OpenAI writes them: one whose parent is not in the file begins there."""
    path = [reply]
    seen = {reply["message_id"]}
    while isinstance(parent := path[-1].get("parent_id"), str) and parent in messages and parent not in seen:
        seen.add(parent)
        path.append(messages[parent])
    turns = [{"role": one.get("role"), "content": one.get("text"), "weight": int(one is reply)} for one in path]
    return {"messages": turns[::-1]}
